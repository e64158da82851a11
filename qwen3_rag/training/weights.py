"""Writes a trained network as a Hugging Face folder of the form that it was loaded from: names, formats, configuration, tokenizer.

A folder appears whole or not at all. It knows no training and no libraries beside safetensors.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from qwen3_rag.errors import ConfigurationError, ModelFormatError
from qwen3_rag.models.checkpoint import WEIGHTS_FILE, Checkpoint

RECORD = "training.json"
"""Beside the weights: what was trained, from what, with which settings."""
COPIED = (
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "added_tokens.json",
    "vocab.json",
    "merges.txt",
    "chat_template.jinja",
)
_PREFIX = "model."
_HEAD = "lm_head.weight"


def write_model(
    target: Path,
    base: Checkpoint,
    weights: Mapping[str, torch.Tensor],
    record: Mapping[str, Any],
    answers: Mapping[int, torch.Tensor] | None = None,
) -> Path:
    """Write a folder; one that is there is replaced.

    Args:
        target: the folder.
        base: what was loaded; its names and formats are kept, tensor by tensor, but for formats of eight bits.
        weights: the body's, named as in `Qwen3Model`.
        record: goes into `training.json`.
        answers: rows of the head, by token id, where it has weights of its own; its other rows are the base's.

    Raises:
        ModelFormatError: the base has a tensor that is not among the weights.
    """
    tensors = {name: _tensor(name, base, weights, answers or {}) for name in base.tensors}
    with replaced_folder(target) as partial:
        save_file(tensors, partial / WEIGHTS_FILE, {"format": "pt"})
        (partial / WEIGHTS_FILE).chmod(0o644)
        copy_description(base.folder, partial)
        write_json(partial / RECORD, record)
    return target


def written_dtype(stored: torch.dtype) -> torch.dtype:
    """The format that changed weights are written in: that of the old ones, or float16 where that had eight bits. A step of training
    is often less than what eight bits can tell apart.
    """
    return torch.float16 if stored.itemsize == 1 else stored


def copy_description(source: Path, target: Path) -> None:
    """Configuration and tokenizer."""
    for name in COPIED:
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)


class replaced_folder:  # noqa: N801 - used as a function in a with statement
    """A folder beside `target` to write into, which takes its place when the block ends without an error."""

    def __init__(self, target: Path) -> None:
        self._target, self._partial = target, target.with_name(f".{target.name}.partial")

    def __enter__(self) -> Path:
        shutil.rmtree(self._partial, ignore_errors=True)
        self._partial.mkdir(parents=True)
        return self._partial

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self._partial, ignore_errors=True)
            return
        shutil.rmtree(self._target, ignore_errors=True)
        self._partial.rename(self._target)


def read_record(folder: Path) -> dict[str, Any]:
    """`training.json` of a trained model, empty where there is none.

    Raises:
        ConfigurationError: it cannot be read.
    """
    try:
        content = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigurationError(f"{folder / RECORD} cannot be read ({error}). Train or merge the model again.") from None
    return dict(content)


def write_json(path: Path, value: Any) -> None:
    """Write JSON, whole or not at all."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")


def write_text(path: Path, text: str) -> None:
    """Write a text, whole or not at all."""
    partial = path.with_name(f"{path.name}.partial")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def _tensor(name: str, base: Checkpoint, weights: Mapping[str, torch.Tensor], answers: Mapping[int, torch.Tensor]) -> torch.Tensor:
    with safe_open(base.tensors[name].file, framework="pt") as file:
        stored: torch.Tensor = file.get_tensor(name)
    if name == _HEAD:
        for index, row in answers.items():
            stored[index] = row.detach().to(stored)
        return stored
    trained = weights.get(name.removeprefix(_PREFIX))
    if trained is None or trained.shape != stored.shape:
        raise ModelFormatError(f"{name!r} of {base.folder} is not among the trained weights. Load the checkpoint again.")
    return trained.detach().to("cpu", written_dtype(stored.dtype)).contiguous()
