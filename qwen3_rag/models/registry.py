"""The models this package knows by name: what they are for, their sizes, and whether they are here already. Imports no torch.

Numbers of the official models are those of their model cards. Other Qwen3 checkpoints load as well; they need no entry here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

from qwen3_rag.errors import ConfigurationError, ModelFormatError
from qwen3_rag.models.checkpoint import CONFIG_FILE, CONTEXT, Checkpoint
from qwen3_rag.models.hub import ModelKind, cached_folder, nano_folder
from qwen3_rag.settings import DEFAULT_RERANKER, NANO

_LANGUAGES = "100+ languages"


@dataclass(frozen=True, slots=True)
class KnownModel:
    """A model by name. `dim` is the largest embedding dimension, None for rerankers; `context` is in tokens.

    `cached` tells that its files are on this machine, so that it loads without a network.
    """

    name: str
    kind: ModelKind
    parameters: str
    dim: int | None
    context: int
    languages: str
    cached: bool = False


_OFFICIAL = tuple(
    [
        KnownModel(f"Qwen/Qwen3-Embedding-{size}", ModelKind.EMBEDDER, size, dim, CONTEXT, _LANGUAGES)
        for size, dim in (("0.6B", 1024), ("4B", 2560), ("8B", 4096))
    ]
    + [KnownModel(f"Qwen/Qwen3-Reranker-{size}", ModelKind.RERANKER, size, None, CONTEXT, _LANGUAGES) for size in ("0.6B", "4B", "8B")]
)


def known_models() -> tuple[KnownModel, ...]:
    """The six official models, and the built-in ones that are part of the installation."""
    official = tuple(replace(model, cached=cached_folder(model.name) is not None) for model in _OFFICIAL)
    return (*official, *(model for model in map(_nano, ModelKind) if model))


def default_reranker_for(embedder: str) -> str | None:
    """The reranker that goes with an embedder unless the caller says otherwise; None if none does."""
    is_official = any(model.name == embedder and model.kind is ModelKind.EMBEDDER for model in _OFFICIAL)
    return DEFAULT_RERANKER if is_official else None


def check_kind(name: str, kind: ModelKind) -> None:
    """Refuse a known model for what it is not made for, before anything is downloaded.

    Raises:
        ConfigurationError: naming what the model is and what to use instead.
    """
    if kind is ModelKind.RERANKER and name == NANO and not (nano_folder(kind) / CONFIG_FILE).is_file():
        raise ConfigurationError(
            "The weights of the reranker 'nano' are not part of this installation. Build them with `python -m "
            "qwen3_rag.models.nano.reranker_build --output FOLDER` and give that folder, or use reranker='off' or --rerank off."
        )
    model = next((model for model in _OFFICIAL if model.name == name), None)
    if model and model.kind is not kind:
        other = name.replace("Embedding", "Reranker") if kind is ModelKind.RERANKER else name.replace("Reranker", "Embedding")
        raise ConfigurationError(f"{name!r} is a Qwen3 {model.kind} and cannot be used as {kind}. The {kind} of that size is {other!r}.")


def _nano(kind: ModelKind) -> KnownModel | None:
    try:
        checkpoint = Checkpoint.open(nano_folder(kind))
    except ModelFormatError:
        return None
    millions = sum(math.prod(span.shape) for span in checkpoint.tensors.values()) / 1e6
    dim = checkpoint.hidden_size if kind is ModelKind.EMBEDDER else None
    return KnownModel(NANO, kind, f"{millions:.0f}M", dim, checkpoint.context, "English", cached=True)
