"""The recipe of the nano embedder, from the constructed checkpoint to the exported model; each step is done once and found again.

    static/      the constructed checkpoint (models/nano/build.py)
    archive/     weak pairs from Debian; encyclopedia.jsonl and almanac.jsonl beside it
    grown/       the same with layers to train
    blocks/      the teacher's vectors
    first/       the first round's pairs, also in groups of alike passages, and the teacher's vectors on the student's axes
    distilled/   follows the teacher's vectors, on all pairs
    weak/        stage 1: contrastive, weak pairs
    mined.jsonl  people's questions with hard negatives
    supervised/  stage 2: contrastive, these
    no-weak/     stage 2 without stage 1, to compare
    merged/      slerp of the three stages
    second/      the second round's pairs, more of them as long as a passage
    further/     goes on from merged/, following the teacher on these
    meaning/     slerp of the two
    signatures/  the same with codes of words in place of its last dimensions
    third/       the third round's pairs, less of the archive, and their words beside the teacher's vectors
    signed/      goes on from signatures/, following both
    mixed/       slerp of the two
    shipped/     the same with words toned down

All settings of a run stand here. It runs in the room's own functions, those that the command line calls.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.nano.checkpoint import FEATURES
from qwen3_rag.models.nano.teacher import Teacher, teacher_folder
from qwen3_rag.models.nano.vectors import Recipe
from qwen3_rag.training.export import merge_models
from qwen3_rag.training.nano.almanac import almanac_pairs
from qwen3_rag.training.nano.data import write_data
from qwen3_rag.training.nano.encyclopedia import articles_file, encyclopedia_pairs
from qwen3_rag.training.nano.grouping import grouped
from qwen3_rag.training.nano.growth import grow
from qwen3_rag.training.nano.lexicon import CODE
from qwen3_rag.training.nano.places import Places, Round
from qwen3_rag.training.nano.release import release
from qwen3_rag.training.nano.signatures import lexicon_of, sign, tone
from qwen3_rag.training.nano.teaching import drawn, joined, kept_vectors, less_mean, texts_of, turned, write_teacher
from qwen3_rag.training.pairs import Pair, read_pairs, write_pairs
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
PASSAGES = "passages.jsonl"
LEAST_PASSAGE = 200
"""Characters of what may be a hard negative of a question: a definition is no passage."""
STAGES = ("distilled", "weak", "supervised", "further", "signed")
"""What comes after each other on the way to what ships."""
MERGED = {"distilled": 1.0, "weak": 1.0, "supervised": 1.0}
"""Stages that are merged at the end of the first round, and how much each counts."""
MEANING = {"further": 1.0, "merged": 1.0}
"""Likewise at the end of the second."""
MIXED = {"signed": 3.0, "signatures": 1.0}
"""Likewise at the end of the third."""
TONE = 0.8
"""Of words in the vectors that ship: fused with lexical search, which has the words already, a little less of them is better."""
WORDS, WORDS_ALIKE = 0.15, 0.25
"""How much words count beside meaning: in the vectors that the third round follows, and in the similarities."""
Say = Callable[[str], None]
Vectors = NDArray[np.float32]


def prepare(places: Places, data: Round, weak: Sequence[Path], model: Path, say: Say = print) -> None:
    """Everything before the first step of a round's training; nothing where it is done.

    Args:
        places: of the recipe.
        data: the round.
        weak: files of weak pairs.
        model: whose axes the teacher's vectors are turned to.
        say: gets a line as it goes.
    """
    if data.alike.is_file():
        return
    pairs, texts, vectors = _taught(places, data, weak, say)
    write_teacher(texts, _on_axes_of(model, texts, vectors, CONTENT), data.texts, data.vectors)
    _write_groups(data, pairs)


def prepare_words(places: Places, weak: Sequence[Path], say: Say = print) -> None:
    """Everything before the first step of the third round; nothing where it is done. Arguments as of `prepare`."""
    data = places.third
    if data.alike.is_file():
        return
    sign(places.meaning, places.signatures, SEED)
    pairs, texts, vectors = _taught(places, data, weak, say)
    meaning = _on_axes_of(places.meaning, texts, vectors, CONTENT - CODE)[:, : CONTENT - CODE]
    words, closely = lexicon_of(places.meaning, SEED).vectors(texts)
    write_teacher(texts, joined(meaning, words, WORDS, CONTENT + FEATURES), data.texts, data.vectors)
    alike = joined(less_mean(vectors), closely, WORDS_ALIKE, vectors.shape[1] + closely.shape[1])
    np.save(data.similarities, alike.astype(np.float16))
    _write_groups(data, pairs)


def _taught(places: Places, data: Round, weak: Sequence[Path], say: Say) -> tuple[list[Pair], list[str], Vectors]:
    """The pairs of a round, their texts, and the teacher's vectors of these."""
    files = write_data(weak, places.supervised, data.folder, SEED, data.draw)
    pairs = list(read_pairs(files.weak, files.supervised))
    texts = texts_of(pairs)
    say(f"{len(pairs):,} pairs, {len(texts):,} texts")
    return pairs, texts, kept_vectors(texts, Teacher(teacher_folder()).text_vectors, places.output / "blocks", say)


def _on_axes_of(model: Path, texts: Sequence[str], vectors: Vectors, dim: int) -> Vectors:
    """The teacher's vectors turned to the first `dim` axes of a model, filled up with zeros to its width."""
    sample = drawn(len(texts), SEED)
    student = Embedder.load(str(model), dtype="float32")
    known = np.asarray(student.embed_documents([texts[place] for place in sample], dim))
    return turned(vectors, known, sample, student.dim)


def _write_groups(data: Round, pairs: Sequence[Pair]) -> None:
    passages = StoredTeacher(data.texts, data.vectors).vectors_of([pair.positive for pair in pairs])
    write_pairs(data.alike, grouped(pairs, passages, GROUPS, SEED))


def distillation(places: Places) -> EmbedderTraining:
    """Follow the teacher; a batch holds four groups of passages that are hard to tell apart."""
    return EmbedderTraining(
        model=str(places.grown),
        pairs=(places.first.alike,),
        output=places.output / "distilled",
        dev=(places.first.files.dev,),
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
        teacher_texts=places.first.texts,
        teacher_vectors=places.first.vectors,
        part_tokens=65_536,
        max_tokens=256,
        device="cpu",
        seed=SEED,
        log_every=50,
        evaluate_every=500,
        save_every=250,
    )


def weak(places: Places) -> EmbedderTraining:
    """Stage 1: passages of the batch against each other, the teacher still followed."""
    return replace(
        distillation(places),
        model=str(places.model("distilled")),
        pairs=(places.first.files.weak,),
        output=places.output / "weak",
        by_source=False,
        sources_per_batch=1,
        max_steps=150,
        learning_rate=2e-4,
        contrastive_weight=1.0,
        distillation_weight=0.5,
    )


def supervised(places: Places, start: str, name: str) -> EmbedderTraining:
    """Stage 2: people's questions, each with a passage that is found and is no answer; batches of one source."""
    return replace(
        weak(places),
        model=str(places.model(start)),
        pairs=(places.output / "mined.jsonl",),
        output=places.output / name,
        max_steps=100,
        batch_size=32,
        negatives=1,
        by_source=True,
        distillation_weight=0.5,
    )


def mining(places: Places) -> MiningSettings:
    """Hard negatives for stage 2, found by the distilled model among all passages of the pairs."""
    return MiningSettings(
        pairs=(places.first.files.supervised,),
        passages=places.first.folder / PASSAGES,
        output=places.output / "mined.jsonl",
        embedder=str(places.model("distilled")),
        first_rank=2,
        last_rank=50,
        negatives=6,
        relative=0.95,
        seed=SEED,
    )


def further(places: Places) -> EmbedderTraining:
    """Go on following the teacher, from what the first round has made, on the second round's pairs."""
    return replace(
        distillation(places),
        model=str(places.merged),
        pairs=(places.second.alike,),
        output=places.output / "further",
        max_steps=3500,
        learning_rate=5e-4,
        teacher_texts=places.second.texts,
        teacher_vectors=places.second.vectors,
    )


def signed(places: Places) -> EmbedderTraining:
    """Follow the teacher and the words, from the second round's model with signatures. The first layer's attention, which has to find
    equal words, moves slowly.
    """
    data = places.third
    return replace(
        distillation(places),
        model=str(places.signatures),
        pairs=(data.alike,),
        output=places.output / "signed",
        dev=(data.files.dev,),
        max_steps=3000,
        learning_rate=5e-4,
        rates={**RATES, "layers.0.self_attn.q_": 0.2, "layers.0.self_attn.k_": 0.2},
        dim_weights=(1.0, 0.3, 0.5, 0.1),
        teacher_texts=data.texts,
        teacher_vectors=data.vectors,
        teacher_similarities=data.similarities,
        compiled=True,
    )


def train(places: Places, say: Say = print) -> Path:
    """All rounds; what is finished is found again. Returns the folder of the model that ships."""
    encyclopedia, almanac = places.output / "encyclopedia.jsonl", places.output / "almanac.jsonl"
    if not encyclopedia.is_file():
        write_pairs(encyclopedia, encyclopedia_pairs(articles_file(), SEED))
    if not almanac.is_file():
        write_pairs(almanac, almanac_pairs(places.output / "archive", SEED))
    grow(places.static, places.grown, LAYERS, INTERMEDIATE, SEED)
    prepare(places, places.first, (places.weak, encyclopedia), places.static, say)
    first_round(places, say)
    prepare(places, places.second, (places.weak, encyclopedia, almanac), places.merged, say)
    train_embedder(further(places))
    _merge((places.model("further"), places.merged), MEANING, places.meaning)
    prepare_words(places, (places.weak, encyclopedia, almanac), say)
    train_embedder(signed(places))
    _merge((places.model("signed"), places.signatures), MIXED, places.mixed)
    return tone(places.mixed, places.shipped, TONE)


def first_round(places: Places, say: Say = print) -> None:
    """Distillation, the paper's two stages, and their merging."""
    train_embedder(distillation(places))
    train_embedder(weak(places))
    negatives = mining(places)
    if not negatives.output.is_file():
        write_passages(places)
        say("Mining: {} pairs, {} hard negatives".format(*mine_files(negatives)))
    train_embedder(supervised(places, "weak", "supervised"))
    train_embedder(supervised(places, "distilled", "no-weak"))
    _merge([places.model(stage) for stage in MERGED], MERGED, places.merged)


def _merge(checkpoints: Sequence[Path], weights: Mapping[str, float], output: Path) -> None:
    """Merge, unless that is done."""
    if not (output / "model.safetensors").is_file():
        merge_models(Merging(checkpoints=tuple(checkpoints), output=output, weights=tuple(weights.values())))


def ship(places: Places, target: Path) -> Path:
    """Put the trained model and its record into `target`."""
    stages = {name: places.model(name) for name in STAGES}
    return release(places.shipped, places.static, stages, {"merged": MERGED, "meaning": MEANING, "mixed": MIXED}, target)


def write_passages(places: Places) -> None:
    """What hard negatives are found among: the passages that questions were asked about, and half as many of the others."""
    files = places.first.files
    asked = {pair.document: pair.positive for pair in read_pairs(files.supervised)}
    others = {pair.document: pair.positive for pair in read_pairs(files.weak) if len(pair.positive) >= LEAST_PASSAGE}
    kept = sorted(others)[: len(asked) // 2]
    lines = [json.dumps({"text": text}) for text in (*asked.values(), *(others[key] for key in kept))]
    (places.first.folder / PASSAGES).write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
