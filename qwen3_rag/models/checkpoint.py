"""What a checkpoint folder holds, read from its files without torch: configuration, tensors and a digest of the weights.

Everything that can be wrong with a folder is found here, before gigabytes are loaded. Format of safetensors files:
https://huggingface.co/docs/safetensors (8 bytes little-endian header length, JSON header, tensor bytes).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from qwen3_rag.errors import ModelFormatError

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
INDEX_FILE = "model.safetensors.index.json"
CONTEXT = 32_768
"""The context that the Qwen3 Embedding paper states for all its models; a configuration may say less, and then that counts."""

_HEAD = "lm_head.weight"
_EMBEDDINGS = ("embed_tokens.weight", "model.embed_tokens.weight")
_BLOCK = 4096
_BLOCKS = 16
_WHOLE = 64 * 1024 * 1024
_HEADER_LIMIT = 100_000_000


@dataclass(frozen=True, slots=True)
class TensorSpan:
    """Where the bytes of one tensor are: [start, end) of `file`."""

    file: Path
    dtype: str
    shape: tuple[int, ...]
    start: int
    end: int


@dataclass(frozen=True)
class Checkpoint:
    """A Qwen3 checkpoint folder that passed inspection."""

    folder: Path
    config: Mapping[str, Any]
    tensors: Mapping[str, TensorSpan]

    @classmethod
    def open(cls, folder: Path) -> Checkpoint:
        """Inspect a folder.

        Raises:
            ModelFormatError: naming the file that is missing, damaged or not of a Qwen3 model.
        """
        config = _read_json(folder / CONFIG_FILE)
        if config.get("model_type") != "qwen3":
            raise ModelFormatError(
                f"{folder / CONFIG_FILE} describes a model of type {config.get('model_type')!r}, not 'qwen3'. "
                "Give the folder of a Qwen3 embedding or reranking checkpoint."
            )
        tensors = {name: span for file in weight_files(folder) for name, span in _read_header(file).items()}
        checkpoint = cls(folder, config, tensors)
        if checkpoint._embeddings is None:
            raise ModelFormatError(
                f"The weights in {folder} hold no token embeddings (embed_tokens.weight). Download the checkpoint again."
            )
        return checkpoint

    @property
    def hidden_size(self) -> int:
        """Width of the hidden states, which is the largest embedding dimension."""
        return int(self._tensor.shape[1])

    @property
    def vocabulary(self) -> int:
        """Rows of the token embedding matrix: ids below this can be read."""
        return int(self._tensor.shape[0])

    @property
    def context(self) -> int:
        """Most tokens of one sequence."""
        return min(int(self.config.get("max_position_embeddings", CONTEXT)), CONTEXT)

    @property
    def stored_dtype(self) -> str:
        """Format of the weights as safetensors spells it."""
        return self._tensor.dtype

    @property
    def head(self) -> TensorSpan | None:
        """The language-model head, where the checkpoint has one of its own."""
        return self.tensors.get(_HEAD)

    @property
    def is_tied(self) -> bool:
        """Whether the token embeddings serve as the head; a checkpoint saved without its head (`Qwen3Model`) has none at all."""
        return bool(self.config.get("tie_word_embeddings", False)) and _EMBEDDINGS[1] in self.tensors

    @cached_property
    def revision(self) -> str:
        """SHA-256 over names, formats, shapes and sampled bytes of all tensors, in the order of their names.

        The same weights have the same revision wherever they lie and however they are split over files. Files up to 64 MiB are read
        whole, of larger ones 16 evenly spaced blocks of 4 KiB of every tensor: training moves values everywhere.
        """
        digest = hashlib.sha256()
        for name in sorted(self.tensors):
            span = self.tensors[name]
            digest.update(json.dumps([name, span.dtype, span.shape, span.end - span.start]).encode())
            for block in _sample(span):
                digest.update(block)
        return digest.hexdigest()

    @property
    def _embeddings(self) -> TensorSpan | None:
        return next((self.tensors[name] for name in _EMBEDDINGS if name in self.tensors), None)

    @property
    def _tensor(self) -> TensorSpan:
        tensor = self._embeddings
        if tensor is None or len(tensor.shape) != 2:
            raise ModelFormatError(f"The token embeddings in {self.folder} are not a matrix. Download the checkpoint again.")
        return tensor


def weight_files(folder: Path) -> list[Path]:
    """The safetensors files of a checkpoint, by its index if it is split.

    Raises:
        ModelFormatError: there are none, or some that the index names are missing.
    """
    if (folder / WEIGHTS_FILE).is_file():
        return [folder / WEIGHTS_FILE]
    if not (folder / INDEX_FILE).is_file():
        raise ModelFormatError(
            f"{folder} has neither {WEIGHTS_FILE} nor {INDEX_FILE}. Only safetensors weights are read; download the checkpoint completely."
        )
    weight_map = _read_json(folder / INDEX_FILE).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map:
        raise ModelFormatError(f"{folder / INDEX_FILE} has no weight map. Download the checkpoint again.")
    files = [folder / name for name in sorted(set(weight_map.values()))]
    missing = [file.name for file in files if not file.is_file()]
    if missing:
        raise ModelFormatError(f"{folder} lacks {', '.join(missing)}, which {INDEX_FILE} names. Download the checkpoint completely.")
    return files


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, NotADirectoryError):
        raise ModelFormatError(f"{path} is missing. Give the folder of a complete Qwen3 checkpoint in Hugging Face format.") from None
    except (OSError, ValueError) as error:
        raise ModelFormatError(f"{path} cannot be read as JSON ({error}). Download the checkpoint again.") from error
    if not isinstance(content, dict):
        raise ModelFormatError(f"{path} does not hold a JSON object. Download the checkpoint again.")
    return content


def _read_header(path: Path) -> dict[str, TensorSpan]:
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_HEADER_LIMIT, size - 8):
                raise ValueError("its header is not that of a safetensors file")  # noqa: TRY301 - one handler names the file
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        spans = {name: _span(path, 8 + length, entry) for name, entry in header.items()}
        end = max((span.end for span in spans.values()), default=8 + length)
        if end != size:
            raise ValueError(f"it has {size} bytes and should have {end}")  # noqa: TRY301
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFormatError(f"{path} is damaged or incomplete: {error}. Download the checkpoint again.") from error
    return spans


def _span(path: Path, base: int, entry: Mapping[str, Any]) -> TensorSpan:
    start, end = entry["data_offsets"]
    return TensorSpan(path, str(entry["dtype"]), tuple(int(n) for n in entry["shape"]), base + int(start), base + int(end))


def _sample(span: TensorSpan) -> Iterator[bytes]:
    length = span.end - span.start
    with span.file.open("rb") as file:
        if length <= _BLOCK * _BLOCKS or span.file.stat().st_size <= _WHOLE:
            file.seek(span.start)
            yield file.read(length)
            return
        for number in range(_BLOCKS):
            file.seek(span.start + number * (length - _BLOCK) // (_BLOCKS - 1))
            yield file.read(_BLOCK)
