"""Puts a trained nano where it ships: weights, configuration, tokenizer, and a record of what went in, hashes and numbers only."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from qwen3_rag.training.weights import read_record

SHIPPED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")
RECORDED = (
    *("epochs", "max_steps", "batch_size", "negatives", "by_source", "sources_per_batch", "max_tokens"),
    *("learning_rate", "rates", "weight_decay", "beta2", "warmup", "schedule", "clip"),
    *("seed", "temperature", "margin", "dims", "dim_weights", "contrastive_weight", "distillation_weight", "distillation_temperature"),
    "direct_weight",
)
"""Settings of a stage that decide what it learns; paths do not."""


def release(trained: Path, static: Path, stages: Mapping[str, Path], merged: Mapping[str, Mapping[str, float]], target: Path) -> Path:
    """Copy a trained checkpoint to `target` and write its `build.json`.

    Args:
        trained: the folder of the model that ships.
        static: the constructed checkpoint, whose own record goes into the new one.
        stages: models of the finished stages by name, in their order.
        merged: by the name of a merged model, what went into it and how much each counts.
        target: the folder; files of these names in it are replaced.

    Returns:
        `target`.
    """
    target.mkdir(parents=True, exist_ok=True)
    for name in SHIPPED:
        shutil.copyfile(trained / name, target / name)
    constructed = json.loads((static / "build.json").read_text(encoding="utf-8"))
    record = {
        "constructed": {key: value for key, value in constructed.items() if key != "files_sha256"},
        "stages": {name: _stage(read_record(folder)) for name, folder in stages.items()},
        "merged": {name: dict(shares) for name, shares in merged.items()},
        "files_sha256": {name: _sha256(target / name) for name in SHIPPED if name != "tokenizer_config.json"},
    }
    (target / "build.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    return target


def _stage(record: Mapping[str, Any]) -> dict[str, Any]:
    settings, data, dev = record["settings"], record["data"], record["dev"]
    return {
        "settings": {name: settings[name] for name in RECORDED if name in settings},
        "pairs": data["pairs"],
        "pairs_sha256": data["digest"],
        "dev": {when: dev[when] for when in ("before", "after")},
    }


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
