"""Qwen3 embedding and reranking models. Importing this package does not import torch; its classes are loaded when first asked for."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwen3_rag.models.embedder import Embedder
    from qwen3_rag.models.registry import default_reranker_for, known_models
    from qwen3_rag.models.remote import RemoteEmbedder, RemoteReranker
    from qwen3_rag.models.reranker import Reranker

__all__ = ["Embedder", "RemoteEmbedder", "RemoteReranker", "Reranker", "default_reranker_for", "known_models"]

_HOMES = {
    "Embedder": "embedder",
    "RemoteEmbedder": "remote",
    "RemoteReranker": "remote",
    "Reranker": "reranker",
    "default_reranker_for": "registry",
    "known_models": "registry",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
