"""Turns a model's name into a folder: `nano`, a local folder, the local Hugging Face cache, and only then the hub.

A model that is in the cache is taken from there without asking the hub whether there is a newer one: vectors of two revisions do not
compare. This module does not know what is inside the folder beyond whether it is complete. It does not import torch.
"""

from __future__ import annotations

import re
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from qwen3_rag.errors import ModelFormatError, ModelNotFoundError
from qwen3_rag.models.checkpoint import CONFIG_FILE, INDEX_FILE, weight_files
from qwen3_rag.models.tokenization import TOKENIZER_FILE
from qwen3_rag.settings import NANO

REACH_SECONDS = 10.0
"""The hub has so long to answer at all before it counts as out of reach."""

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_FILES = (CONFIG_FILE, TOKENIZER_FILE, INDEX_FILE, "*.safetensors")


class ModelKind(StrEnum):
    """What a model is for."""

    EMBEDDER = "embedder"
    RERANKER = "reranker"


@dataclass(frozen=True, slots=True)
class Located:
    """A model's name, which for a local folder is its absolute path, and where its files are."""

    name: str
    folder: Path


def locate(model: str, kind: ModelKind) -> Located:
    """Find a model by name; download it if it is on the hub and not in the cache.

    Raises:
        ModelNotFoundError: there is no such folder, or the hub does not have it or cannot be reached. Decided within seconds.
    """
    if model == NANO:
        return Located(NANO, nano_folder(kind))
    path = Path(model).expanduser()
    if path.is_dir():
        return Located(str(path.resolve()), path.resolve())
    if not _REPOSITORY.fullmatch(model):
        raise ModelNotFoundError(
            f"There is no folder {str(path)!r}, and that is no name of a model on the hub either. {_ways(model, kind)}"
        )
    return Located(model, cached_folder(model) or _download(model, kind))


def tokenizer_folder(model: str, kind: ModelKind) -> Path:
    """Where the tokenizer of a model lies, whose weights may be elsewhere: as `locate`, but nothing else is looked for or downloaded.

    Raises:
        ModelNotFoundError: there is no such folder, or the hub does not have it or cannot be reached.
    """
    from huggingface_hub import try_to_load_from_cache

    if model == NANO or Path(model).expanduser().is_dir() or not _REPOSITORY.fullmatch(model):
        return locate(model, kind).folder
    cached = try_to_load_from_cache(model, TOKENIZER_FILE)
    return Path(cached).parent if isinstance(cached, str) else _download(model, kind, (TOKENIZER_FILE,))


def nano_folder(kind: ModelKind = ModelKind.EMBEDDER) -> Path:
    """Where the built-in model of a kind lies. The reranker's folder is absent where its weights are not part of the installation."""
    folder = Path(__file__).parent / NANO
    return folder if kind is ModelKind.EMBEDDER else folder / ModelKind.RERANKER


def cached_folder(repository: str) -> Path | None:
    """The complete copy of a hub model in the local Hugging Face cache, None if there is none."""
    from huggingface_hub import try_to_load_from_cache

    config = try_to_load_from_cache(repository, CONFIG_FILE)
    if not isinstance(config, str):
        return None
    folder = Path(config).parent
    try:
        weight_files(folder)
    except ModelFormatError:
        return None
    return folder if (folder / TOKENIZER_FILE).is_file() else None


def _download(repository: str, kind: ModelKind, files: tuple[str, ...] = _FILES) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import RepositoryNotFoundError

    try:
        _reach(repository)
        with _quiet_unless_terminal():
            return Path(snapshot_download(repository, allow_patterns=list(files)))
    except RepositoryNotFoundError as error:
        reason = "the hub does not have it, or it is private and HF_TOKEN is not set"
        raise ModelNotFoundError(f"The model {repository!r} was not found: {reason}. {_ways(repository, kind)}") from error
    except Exception as error:  # the hub client raises errors of its HTTP library, which changes between versions
        reason = f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}"
        raise ModelNotFoundError(
            f"The model {repository!r} is not in the local Hugging Face cache and could not be fetched from the hub ({reason}). "
            f"{_ways(repository, kind)}"
        ) from error


def _reach(repository: str) -> None:
    """Ask the hub for the model's description. In a thread of its own, because name lookup has no time limit."""
    from huggingface_hub import HfApi

    failures: list[Exception] = []

    def ask() -> None:
        try:
            HfApi().model_info(repository, timeout=REACH_SECONDS / 2)
        except Exception as error:  # noqa: BLE001 - handed to the waiting thread, which raises it
            failures.append(error)

    thread = threading.Thread(target=ask, daemon=True, name="qwen3-rag-hub")
    thread.start()
    thread.join(REACH_SECONDS)
    if thread.is_alive():
        raise TimeoutError(f"no answer within {REACH_SECONDS:g} s")
    if failures:
        raise failures[0]


@contextmanager
def _quiet_unless_terminal() -> Iterator[None]:
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled, disable_progress_bars, enable_progress_bars

    silence = not sys.stderr.isatty() and not are_progress_bars_disabled()
    if silence:
        disable_progress_bars()
    try:
        yield
    finally:
        if silence:
            enable_progress_bars()


def _ways(model: str, kind: ModelKind) -> str:
    name = model if _REPOSITORY.fullmatch(model) else f"Qwen/Qwen3-{'Embedding' if kind is ModelKind.EMBEDDER else 'Reranker'}-0.6B"
    fetch = f"Where there is a network, `hf download {name} --local-dir FOLDER` fetches a model; then give that folder as the {kind}"
    if kind is ModelKind.EMBEDDER:
        return f"{fetch}. Or use the built-in 'nano', which needs no download (small, English only): embedder='nano', --embedder nano."
    return f"{fetch}. Or search without one: reranker='off', --rerank off. Where it is installed, 'nano' is a small English one."
