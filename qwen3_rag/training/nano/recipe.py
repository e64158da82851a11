"""The recipe of the nano embedder, from the constructed checkpoint to the exported model; each step is done once and found again.

    static/      the constructed checkpoint (models/nano/build.py)
    archive/     weak pairs from Debian; encyclopedia.jsonl beside it
    grown/       the same with layers to train
    data/        weak.jsonl, supervised.jsonl, dev.jsonl, and the first two in groups of alike passages: alike.jsonl
    teacher/     the teacher's vectors
    distilled/   follows the teacher's vectors, on all pairs
    weak/        stage 1: contrastive, weak pairs
    mined.jsonl  people's questions with hard negatives
    supervised/  stage 2: contrastive, these
    no-weak/     stage 2 without stage 1, to compare
    merged/      slerp of the three stages: what ships

All settings of a run stand here. It runs in the room's own functions, those that the command line calls.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.nano.checkpoint import FEATURES
from qwen3_rag.models.nano.teacher import Teacher, teacher_folder
from qwen3_rag.models.nano.vectors import Recipe
from qwen3_rag.training.export import merge_models
from qwen3_rag.training.nano.data import Files, write_data
from qwen3_rag.training.nano.encyclopedia import articles_file, encyclopedia_pairs
from qwen3_rag.training.nano.grouping import grouped
from qwen3_rag.training.nano.growth import grow
from qwen3_rag.training.nano.release import release
from qwen3_rag.training.nano.teaching import drawn, kept_vectors, texts_of, turned, write_teacher
from qwen3_rag.training.pairs import read_pairs, write_pairs
from qwen3_rag.training.run import train_embedder
from qwen3_rag.training.settings import EmbedderTraining, Merging, MiningSettings, Schedule
from qwen3_rag.training.sources import mine_files
from qwen3_rag.training.teachers import StoredTeacher

LAYERS = 2
"""Before the one that averages."""
INTERMEDIATE = 448
CONTENT = Recipe().content
"""Dimensions that the constructed checkpoint fills."""
SEED = 0
GROUPS = 400
"""Of alike passages: a hundred pairs each."""
RATES = {
    "embed_tokens": 3.0,
    f"layers.{LAYERS}.self_attn.q_": 0.0,
    f"layers.{LAYERS}.self_attn.k_": 0.0,
    "body.norm": 0.0,
}
"""The attention that averages is exact from the start: noise in its keys would take the log weights' place in their norm. What may change
the weights in the mean is what earlier layers write into the features that keys read. The last norm keeps features out of the vectors."""
LEAST_PASSAGE = 200
"""Characters of what may be a hard negative of a question: a definition is no passage."""
STAGES = ("distilled", "weak", "supervised")
"""What comes after each other on the way to what ships."""
MERGED = {"distilled": 1.0, "weak": 1.0, "supervised": 1.0}
"""Stages that are merged, and how much each counts."""
Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Places:
    """Where the recipe reads and writes."""

    output: Path
    static: Path
    weak: Path
    supervised: Path

    @property
    def grown(self) -> Path:
        """The constructed checkpoint with layers to train."""
        return self.output / "grown"

    @property
    def teacher(self) -> Path:
        """The teacher's vectors, and the two files that training reads."""
        return self.output / "teacher"

    def model(self, stage: str) -> Path:
        """What a stage has trained."""
        return self.output / stage / "model"


def prepare(places: Places, say: Say = print) -> Files:
    """Everything before the first step of training."""
    grow(places.static, places.grown, LAYERS, INTERMEDIATE, SEED)
    encyclopedia = places.output / "encyclopedia.jsonl"
    if not encyclopedia.is_file():
        write_pairs(encyclopedia, encyclopedia_pairs(articles_file(), SEED))
    files = write_data((places.weak, encyclopedia), places.supervised, places.output / "data", SEED)
    texts = texts_of(read_pairs(files.weak, files.supervised))
    say(f"{len(texts):,} texts")
    vectors = kept_vectors(texts, Teacher(teacher_folder()).text_vectors, places.teacher / "blocks", say)
    sample = drawn(len(texts), SEED)
    student = Embedder.load(str(places.static))
    known = np.asarray(student.embed_documents([texts[place] for place in sample], CONTENT))
    write_teacher(texts, turned(vectors, known, sample, student.dim), places.teacher)
    return files


def distillation(places: Places, files: Files) -> EmbedderTraining:
    """Follow the teacher; a batch holds four groups of passages that are hard to tell apart."""
    return EmbedderTraining(
        model=str(places.grown),
        pairs=(places.output / "data" / "alike.jsonl",),
        output=places.output / "distilled",
        dev=(files.dev,),
        max_steps=3400,
        epochs=6,
        batch_size=64,
        negatives=0,
        by_source=True,
        sources_per_batch=4,
        learning_rate=1e-3,
        rates=RATES,
        weight_decay=0.0,
        beta2=0.98,
        warmup=0.03,
        schedule=Schedule.COSINE,
        dims=(CONTENT + FEATURES, 128, 64, 32),
        dim_weights=(1.0, 0.3, 0.3, 0.1),
        contrastive_weight=0.0,
        distillation_weight=1.0,
        teacher_texts=places.teacher / "texts.jsonl",
        teacher_vectors=places.teacher / "vectors.npy",
        part_tokens=65_536,
        max_tokens=256,
        device="cpu",
        seed=SEED,
        log_every=50,
        evaluate_every=500,
        save_every=250,
    )


def weak(places: Places, files: Files) -> EmbedderTraining:
    """Stage 1: passages of the batch against each other, the teacher still followed."""
    return replace(
        distillation(places, files),
        model=str(places.model("distilled")),
        pairs=(files.weak,),
        output=places.output / "weak",
        by_source=False,
        sources_per_batch=1,
        max_steps=150,
        learning_rate=2e-4,
        contrastive_weight=1.0,
        distillation_weight=0.5,
    )


def supervised(places: Places, files: Files, start: str, name: str) -> EmbedderTraining:
    """Stage 2: people's questions, each with a passage that is found and is no answer; batches of one source."""
    return replace(
        weak(places, files),
        model=str(places.model(start)),
        pairs=(places.output / "mined.jsonl",),
        output=places.output / name,
        max_steps=100,
        batch_size=32,
        negatives=1,
        by_source=True,
        distillation_weight=0.5,
    )


def mining(places: Places, files: Files) -> MiningSettings:
    """Hard negatives for stage 2, found by the distilled model among all passages of the pairs."""
    return MiningSettings(
        pairs=(files.supervised,),
        passages=places.output / "data" / "passages.jsonl",
        output=places.output / "mined.jsonl",
        embedder=str(places.model("distilled")),
        first_rank=2,
        last_rank=50,
        negatives=6,
        relative=0.95,
        seed=SEED,
    )


def train(places: Places, say: Say = print) -> Path:
    """All stages; what is finished is found again. Returns the folder of the merged model."""
    files = prepare(places, say)
    if not (places.output / "data" / "alike.jsonl").is_file():
        write_alike(files, places)
    train_embedder(distillation(places, files))
    train_embedder(weak(places, files))
    negatives = mining(places, files)
    if not negatives.output.is_file():
        write_passages(files, places)
        say("Mining: {} pairs, {} hard negatives".format(*mine_files(negatives)))
    train_embedder(supervised(places, files, "weak", "supervised"))
    train_embedder(supervised(places, files, "distilled", "no-weak"))
    merged = places.output / "merged"
    if not (merged / "model.safetensors").is_file():
        merge_models(Merging(checkpoints=tuple(places.model(stage) for stage in MERGED), output=merged, weights=tuple(MERGED.values())))
    return merged


def ship(places: Places, target: Path) -> Path:
    """Put the merged model and its record into `target`."""
    stages = {name: places.model(name) for name in STAGES}
    return release(places.output / "merged", places.static, stages, MERGED, target)


def write_alike(files: Files, places: Places) -> None:
    """All pairs, each with its group of alike passages."""
    pairs = list(read_pairs(files.weak, files.supervised))
    teacher = StoredTeacher(places.teacher / "texts.jsonl", places.teacher / "vectors.npy")
    vectors = teacher([pair.positive for pair in pairs])
    write_pairs(places.output / "data" / "alike.jsonl", grouped(pairs, vectors, GROUPS, SEED))


def write_passages(files: Files, places: Places) -> None:
    """What hard negatives are found among: the passages that questions were asked about, and half as many of the others."""
    asked = {pair.document: pair.positive for pair in read_pairs(files.supervised)}
    others = {pair.document: pair.positive for pair in read_pairs(files.weak) if len(pair.positive) >= LEAST_PASSAGE}
    kept = sorted(others)[: len(asked) // 2]
    lines = [json.dumps({"text": text}) for text in (*asked.values(), *(others[key] for key in kept))]
    (places.output / "data" / "passages.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
