"""One training run from settings to a model folder; the same settings again go on where it stopped.

    runs/weak/checkpoint-200/   what a killed run goes on from
    runs/weak/log.jsonl         losses and dev figures
    runs/weak/model/            the trained model, LoRA merged: an ordinary Hugging Face folder, with `training.json`

Several processes (torchrun, accelerate) train together; the first of them judges and writes.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from transformers.utils import logging as noise

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.checkpoint import Checkpoint
from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.hardware import select_device
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.training import processes
from qwen3_rag.training.batches import Batches, left_out, plan
from qwen3_rag.training.current import current_embedder, current_reranker
from qwen3_rag.training.data import RunData, open_data
from qwen3_rag.training.embedder_trainer import EmbedderTrainer
from qwen3_rag.training.evaluation import Figures, embedder_rankings, judge_embedder, judge_reranker
from qwen3_rag.training.network import Network, require_training, select_training_dtype
from qwen3_rag.training.reranker_trainer import RerankerTrainer
from qwen3_rag.training.settings import EmbedderTraining, RerankerTraining, Training
from qwen3_rag.training.teachers import open_similarities, open_teacher
from qwen3_rag.training.trainer import PackedTrainer, last_checkpoint, start_processes
from qwen3_rag.training.watch import Watch
from qwen3_rag.training.weights import RECORD, read_record, write_json, write_model

MODEL = "model"
_FREE = frozenset(("output", "log_every", "evaluate_every", "save_every", "part_tokens", "device", "gradient_checkpointing", "compiled"))
"""Settings that may change between the parts of an interrupted run: they do not change what is learned."""

Judge = Callable[[], Figures]


def train_embedder(settings: EmbedderTraining, console: Console | None = None) -> Path:
    """Train an embedder, or finish its training. Returns the model's folder.

    Raises:
        MissingExtraError: the extra `train` is not installed.
        TrainingDataError: pairs, dev or general sets cannot be used.
        ConfigurationError: the output belongs to another run, or settings do not fit the model.
        ModelError: the model cannot be found or used.
        TrainingError: the network computes NaN or infinity.
    """

    def parts(network: Network, data: RunData, batches: Batches) -> tuple[PackedTrainer, Judge]:
        trainer = EmbedderTrainer(network, settings, batches, open_teacher(settings), open_similarities(settings))
        return trainer, lambda: judge_embedder(current_embedder(network), data.dev)

    return _train(settings, ModelKind.EMBEDDER, parts, console or Console())


def train_reranker(settings: RerankerTraining, console: Console | None = None) -> Path:
    """Train a reranker, or finish its training. Returns and raises as `train_embedder`."""

    def parts(network: Network, data: RunData, batches: Batches) -> tuple[PackedTrainer, Judge]:
        trainer = RerankerTrainer(network, settings, batches)
        candidates = embedder_rankings(Embedder.load(settings.recall), data.dev, settings.candidates) if processes.rank() == 0 else []
        return trainer, lambda: judge_reranker(current_reranker(network), data.dev, candidates)

    return _train(settings, ModelKind.RERANKER, parts, console or Console())


Parts = Callable[[Network, RunData, Batches], tuple[PackedTrainer, Judge]]


def _train(settings: Training, kind: ModelKind, parts: Parts, console: Console) -> Path:
    require_training()
    started, place = time.monotonic(), settings.output / MODEL
    start_processes(settings)
    data = open_data(settings)
    network = Network.load(settings.model, kind)
    record = _record(settings, kind, network, data)
    _check_folder(settings.output, record)
    if read_record(place).get("finished"):
        _say(console, f"{place} is finished already. Name another output to train again.")
        return place
    batches = _batches(settings, data, console)
    with _quiet():
        trainer, judge = parts(_adapted(network, settings), data, batches)
        _keep(settings.output, record)
        dev = _go(trainer, judge, settings, console, f"{len(data.pairs)} pairs ({data.leaked} leaked), judged by {data.dev.name}")
    if processes.rank() == 0:
        record |= {"finished": True, "steps": trainer.state.global_step, "seconds": round(time.monotonic() - started, 1), "dev": dev}
        answers = None if network.answers is None else _rows(network)
        write_model(place, network.checkpoint, network.merged(), record, answers)
        _say(console, f"{place}: dev nDCG@10 {dev['before']['ndcg@10']:.4f} → {dev['after']['ndcg@10']:.4f}")
    processes.wait()
    return place


def _record(settings: Training, kind: ModelKind, network: Network, data: RunData) -> dict[str, Any]:
    return {
        "kind": kind.value,
        "base": settings.model,
        "base_revision": network.checkpoint.revision,
        "origin": origin_of(settings.model, network.checkpoint),
        "settings": json.loads(json.dumps(dataclasses.asdict(settings), default=str)),
        "data": {
            "pairs": len(data.pairs),
            "leaked": data.leaked,
            "digest": data.digest,
            "dev": data.dev.name,
            "dev_digest": data.dev_digest,
        },
    }


def _check_folder(output: Path, record: dict[str, Any]) -> None:
    """Refuse a folder that holds another run.

    Raises:
        ConfigurationError: it does.
    """
    known = read_record(output)
    if known and _lasting(known) != _lasting(record):
        raise ConfigurationError(
            f"{output.absolute()} holds a run with other settings, pairs or dev questions. Name a new output folder, or delete it."
        )


def _keep(output: Path, record: dict[str, Any]) -> None:
    """The folder belongs to this run from now on: only once all of its settings were found to fit, so that a wrong one can be corrected."""
    if processes.rank() == 0:
        output.mkdir(parents=True, exist_ok=True)
        write_json(output / RECORD, read_record(output) | record)
    processes.wait()


def origin_of(model: str, checkpoint: Checkpoint) -> dict[str, str]:
    """What a training goes back to in the end: the model before its first stage."""
    before = read_record(checkpoint.folder).get("origin")
    return dict(before) if before else {"model": model, "revision": checkpoint.revision}


def _lasting(record: dict[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in record["settings"].items() if name not in _FREE}
    digests = [record["data"].get(name) for name in ("digest", "dev_digest")]
    return {"settings": kept, "digests": digests, "base": record["base_revision"], "kind": record["kind"]}


def _batches(settings: Training, data: RunData, console: Console) -> Batches:
    planned = plan(
        data.pairs,
        settings.batch_size,
        settings.epochs,
        settings.seed,
        by_source=settings.by_source,
        sources_per_batch=settings.sources_per_batch,
    )
    if left := left_out(data.pairs, planned, settings.epochs):
        _say(console, f"{left.total()} of {settings.epochs * len(data.pairs)} draws are left out: {_why(left, settings.batch_size)}")
    planned = planned[: settings.max_steps] if settings.max_steps else planned
    return Batches(data.pairs, planned, settings.negatives, settings.seed, processes.count(), data.scores)


def _why(left: Counter[str], size: int) -> str:
    if left.total() < size:
        return f"they do not fill a batch of {size}."
    most = ", ".join(f"{count} {name}" for name, count in left.most_common(5))
    return f"a batch of {size} would have their document or query twice ({most}). A smaller batch_size takes more of them."


def _adapted(network: Network, settings: Training) -> Network:
    if settings.compiled and settings.gradient_checkpointing:
        raise ConfigurationError(
            "`compiled` keeps activations: choose it or `gradient_checkpointing`. A smaller `part_tokens` saves memory with both."
        )
    if settings.lora_rank:
        network.add_adapters(settings.lora_rank, settings.lora_alpha, settings.lora_dropout, settings.seed)
    device = select_device(settings.device)
    network.compute_in(select_training_dtype(settings.dtype, device, network.checkpoint.stored_dtype))
    if settings.compiled:
        network.compile_layers(device)
    return network


def _go(trainer: PackedTrainer, judge: Judge, settings: Training, console: Console, about: str) -> dict[str, dict[str, float]]:
    """Train to the end. Returns the dev figures before and after it; of processes that do not judge, nothing."""
    first = processes.rank() == 0
    checkpoint = last_checkpoint(settings.output)
    processes.wait()
    record = read_record(settings.output)
    if first and "before" not in record:
        record["before"] = judge().to_dict()
        write_json(settings.output / RECORD, record)
    if first:
        where = f", goes on from {checkpoint.name}" if checkpoint else ""
        _say(console, f"{about}; {trainer.args.max_steps} steps{where}; dev nDCG@10 before: {record['before']['ndcg@10']:.4f}")
    watch = Watch(settings.output, judge, settings.evaluate_every, console if first else None)
    watch.trainer = trainer
    trainer.add_callback(watch)
    trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    # The last step was judged, unless all steps had been done by an earlier part of the run.
    return {"before": record["before"], "after": (watch.latest or judge()).to_dict()} if first else {}


def _rows(network: Network) -> dict[int, torch.Tensor]:
    yes, no = (network.tokenizer.word_id(word) for word in ("yes", "no"))
    rows = network.answer_rows(yes, no)
    return {yes: rows[0], no: rows[1]}


def _say(console: Console, text: str) -> None:
    if processes.rank() == 0:
        console.print(text, highlight=False, markup=False, soft_wrap=True)


@contextmanager
def _quiet() -> Iterator[None]:
    """What transformers says of its own progress is shown by our lines."""
    verbosity = noise.get_verbosity()
    noise.set_verbosity(logging.ERROR)
    try:
        yield
    finally:
        noise.set_verbosity(verbosity)
