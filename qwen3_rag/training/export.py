"""The end of a training: models merged, compared with what they started from, and written for use.

An export is a Hugging Face folder that transformers, sentence-transformers and this project read alike, with a card of data, settings and
scores. A model that is worse than before is not written unless that is forced.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from rich.console import Console
from rich.table import Table

from qwen3_rag.errors import ConfigurationError, WorseModelError
from qwen3_rag.models.checkpoint import WEIGHTS_FILE, Checkpoint
from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.hub import ModelKind, locate
from qwen3_rag.models.reranker import Reranker
from qwen3_rag.settings import NANO
from qwen3_rag.training.card import model_card
from qwen3_rag.training.data import open_dev
from qwen3_rag.training.evaluation import (
    Figures,
    Judged,
    embedder_rankings,
    judge_embedder,
    judge_reranker,
    judged_folder,
    judged_pairs,
)
from qwen3_rag.training.merge import merge_checkpoints
from qwen3_rag.training.network import require_training
from qwen3_rag.training.pairs import deduplicated, read_pairs
from qwen3_rag.training.sentence_transformers import write_modules
from qwen3_rag.training.settings import EmbedderTraining, Exporting, Merging, RerankerTraining, Training
from qwen3_rag.training.weights import RECORD, copy_description, read_record, replaced_folder, write_json


@dataclass(frozen=True, slots=True)
class Comparison:
    """One set's figures of the model before and after training."""

    name: str
    before: Figures
    after: Figures
    may_lose: float

    @property
    def is_worse(self) -> bool:
        """Whether nDCG@10 fell by more than is allowed."""
        return self.after.ndcg < self.before.ndcg - self.may_lose

    def to_dict(self) -> dict[str, Any]:
        """For the record."""
        return {"set": self.name, "before": self.before.to_dict(), "after": self.after.to_dict()}


def merge_models(settings: Merging) -> Path:
    """Merge trained models, and where named the one they started from, and record of what. Returns the folder.

    Raises:
        ConfigurationError: too few, weights that do not fit, models of different kinds or origins, one without a record that is not the
            others' origin, or an output that is not empty.
        ModelFormatError: a folder without weights, or of another shape than the first.
        ModelNotFoundError: neither a folder nor the name of a model.
    """
    require_training()
    kind = _kind(settings.checkpoints)
    folders = [locate(str(name), kind).folder for name in settings.checkpoints]
    records = [read_record(folder) for folder in folders]
    _check_origins(settings.checkpoints, folders, records)
    place = merge_checkpoints(folders, settings.output, settings.weights or None)
    first = next((record for record in records if record), {})
    weights = list(settings.weights or [1.0] * len(records))
    merged = [
        {"checkpoint": str(name), "weight": w, "record": r} for name, w, r in zip(settings.checkpoints, weights, records, strict=True)
    ]
    write_json(place / RECORD, {**first, "merged": merged})
    return place


def _kind(names: Sequence[Path]) -> ModelKind:
    """What the trained ones among models are for: nano is then that of this kind."""
    records = [read_record(name.expanduser()) for name in names if str(name) != NANO]
    return ModelKind(next((record["kind"] for record in records if "kind" in record), ModelKind.EMBEDDER))


def _check_origins(names: Sequence[Path], folders: Sequence[Path], records: Sequence[dict[str, Any]]) -> None:
    """Refuse models that did not start from the same weights. One without a record may be these weights themselves.

    Raises:
        ConfigurationError: naming those that do not fit.
    """
    origins = {(record.get("kind"), record.get("origin", {}).get("revision")) for record in records if record}
    if len(origins) > 1:
        raise ConfigurationError(f"These models did not start from the same one: {_listed(names)}. Merge models that did.")
    origin = next((record["origin"] for record in records if "origin" in record), None)
    if origin is None:
        return
    for name, folder, record in zip(names, folders, records, strict=True):
        if not record and Checkpoint.open(folder).revision != origin["revision"]:
            raise ConfigurationError(
                f"{name} has no {RECORD}, and its weights are not those of {origin['model']} that the others started from. Leave it out, "
                "or name the very model that they started from."
            )


def export_model(settings: Exporting, console: Console | None = None, *, force: bool = False) -> Path:
    """Compare, and write the model if it is no worse. Returns the folder.

    Raises:
        ConfigurationError: the output exists, or nothing says what the model is compared with or judged by.
        TrainingDataError: a set to judge by cannot be used.
        WorseModelError: it is worse on a set, and `force` is not given; nothing is written.
    """
    require_training()
    console = console or Console()
    if settings.output.exists():
        raise ConfigurationError(f"{settings.output} exists already. Name a new folder for the export, or delete that one.")
    record = read_record(settings.checkpoint)
    kind, base, training = _origin(settings, record)
    revision = Checkpoint.open(locate(base, kind).folder).revision
    if record.get("origin", {}).get("model") == base and record["origin"]["revision"] != revision:
        console.print(_changed(base, settings.checkpoint), style="yellow", highlight=False, markup=False)
    sets = _sets(settings, training)
    compared = _compare(kind, base, settings, sets, training)
    _show(console, compared, general=len(sets) > 1)
    worse = [item.name for item in compared if item.is_worse]
    if worse and not force:
        raise WorseModelError(
            f"{settings.checkpoint} is worse than {base} on {', '.join(worse)}, and was not exported. Train it otherwise, merge it with an "
            "earlier model, or write it all the same: --force"
        )
    record |= {"kind": kind.value, "base": base, "base_revision": revision}
    record |= {"compared": [item.to_dict() for item in compared], "forced": bool(worse)}
    with replaced_folder(settings.output) as partial:
        _write(partial, settings, kind, record)
    console.print(f"{settings.output}", highlight=False, markup=False)
    return settings.output


def _changed(base: str, checkpoint: Path) -> str:
    return (
        f"{base} has other weights now than when {checkpoint} was trained from it, and it is compared with those of now. Name a copy of "
        "the earlier ones: --base FOLDER"
    )


def _origin(settings: Exporting, record: dict[str, Any]) -> tuple[ModelKind, str, Training | None]:
    if not settings.checkpoint.is_dir():
        raise ConfigurationError(f"There is no folder {settings.checkpoint}. Name the one that holds the model: --checkpoint")
    base = settings.base or record.get("origin", {}).get("model")
    if base is None:
        raise ConfigurationError(f"{settings.checkpoint} does not say what it was trained from. Name the model to compare with: --base")
    kind = ModelKind(record.get("kind", ModelKind.EMBEDDER))
    value: type[Training] = EmbedderTraining if kind is ModelKind.EMBEDDER else RerankerTraining
    if "settings" not in record:
        return kind, base, None
    # On which device it was trained, a number of a GPU too, does not matter any more.
    return kind, base, TypeAdapter(value).validate_python({**record["settings"], "device": "auto"})


def _sets(settings: Exporting, training: Training | None) -> list[tuple[Judged, float]]:
    """What is judged by, and how much may be lost on each."""
    if settings.dev:
        dev = judged_pairs("dev", deduplicated(read_pairs(*settings.dev)))
    elif training is not None:
        dev = open_dev(training)
    else:
        raise ConfigurationError(f"{settings.checkpoint} does not say what it is judged by. Give a file of pairs: --dev")
    folders = settings.general or (training.general if training is not None else ())
    return [(dev, 0.0), *((judged_folder(folder), settings.general_loss) for folder in folders)]


def _compare(
    kind: ModelKind, base: str, settings: Exporting, sets: Sequence[tuple[Judged, float]], training: Training | None
) -> list[Comparison]:
    names = (base, str(settings.checkpoint))
    if kind is ModelKind.EMBEDDER:
        embedders = [Embedder.load(name) for name in names]
        both = [[judge_embedder(embedder, judged) for embedder in embedders] for judged, _ in sets]
    else:
        chosen = training if isinstance(training, RerankerTraining) else None
        recall = Embedder.load(chosen.recall if chosen else "nano")
        candidates = [embedder_rankings(recall, judged, chosen.candidates if chosen else 20) for judged, _ in sets]
        rerankers = [Reranker.load(name) for name in names]
        both = [[judge_reranker(one, judged, found) for one in rerankers] for (judged, _), found in zip(sets, candidates, strict=True)]
    return [Comparison(judged.name, before, after, may_lose) for (judged, may_lose), (before, after) in zip(sets, both, strict=True)]


def _show(console: Console, compared: Sequence[Comparison], *, general: bool) -> None:
    table = Table("set", "questions", "nDCG@10 before", "after", "recall@10 before", "after")
    for item in compared:
        before, after = item.before, item.after
        numbers = (f"{value:.4f}" for value in (before.ndcg, after.ndcg, before.recall, after.recall))
        table.add_row(item.name, str(after.questions), *numbers, style="red" if item.is_worse else None)
    console.print(table)
    if not general:
        console.print(
            "No general set was given: what the model lost on other texts is not known. Give one: --general FOLDER", highlight=False
        )


def _write(target: Path, settings: Exporting, kind: ModelKind, record: dict[str, Any]) -> None:
    checkpoint = Checkpoint.open(settings.checkpoint)
    shutil.copyfile(settings.checkpoint / WEIGHTS_FILE, target / WEIGHTS_FILE)
    copy_description(settings.checkpoint, target)
    if kind is ModelKind.EMBEDDER:
        write_modules(target, checkpoint)
    write_json(target / RECORD, record)
    name = settings.name or settings.output.name
    (target / "README.md").write_text(model_card(name, record, settings, checkpoint.hidden_size), encoding="utf-8")


def _listed(folders: Sequence[Path]) -> str:
    return ", ".join(map(str, folders))
