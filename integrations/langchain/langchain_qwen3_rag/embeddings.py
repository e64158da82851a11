"""Qwen3 embeddings as LangChain's `Embeddings`. It holds an embedder of the core and knows no template, no tensor and no store."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Self

from langchain_core.embeddings import Embeddings

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.base import EmbedderLike, ResultArray, embed_documents_async, embed_queries_async
from qwen3_rag.models.binding import AtDim
from qwen3_rag.settings import DEFAULT_EMBEDDER


class Qwen3Embeddings(Embeddings):
    """Embeds queries after their instruction and documents as they are, into L2-normalised vectors of any Matryoshka dimension.

    Example:
        >>> embeddings = Qwen3Embeddings("nano", dim=128, instruction="Find the runbook for an alarm")
        >>> len(embeddings.embed_query("disk is full"))
        128
    """

    _embedder: EmbedderLike | None

    def __init__(
        self,
        model: str | None = None,
        *,
        embedder: EmbedderLike | None = None,
        dim: int | None = None,
        instruction: str | None = None,
        device: str = "auto",
        dtype: str = "auto",
        quantization: str = "none",
    ) -> None:
        """Load a model, or take an embedder that is loaded already.

        Args:
            model: a hub id, a local folder, or `"nano"`; `Qwen/Qwen3-Embedding-0.6B` where neither it nor `embedder` is given.
            embedder: an object instead, such as `qwen3_rag.RemoteEmbedder` or the `Embedder` that something else uses too.
            dim: length of the vectors; None is the embedder's own.
            instruction: the task of queries, in English; None is the model's usual one, web search.
            device: `"auto"`, `"cpu"`, `"cuda"` or `"mps"`.
            dtype: `"auto"`, `"float32"`, `"bfloat16"` or `"float16"`.
            quantization: `"none"`, or `"int8"` on the CPU.

        Raises:
            ConfigurationError: both a model and an embedder, or an unknown device, dtype or quantization.
            DimensionError: `dim` outside what the model offers.
            ModelNotFoundError: no such folder, and the hub does not have it or cannot be reached.
        """
        if embedder is None:
            from qwen3_rag.models.embedder import Embedder

            embedder = Embedder.load(model or DEFAULT_EMBEDDER, dim=dim, device=device, dtype=dtype, quantization=quantization)
        elif model is not None:
            raise ConfigurationError(f"Give either model={model!r} or embedder=…, not both.")
        elif dim is not None:
            embedder = AtDim(embedder, dim)
        ready = embedder
        self._set(embedder.model, instruction, lambda: ready)
        self._embedder = embedder

    @classmethod
    def lazily(cls, model: str, load: Callable[[], EmbedderLike], instruction: str | None = None) -> Self:
        """Embeddings whose embedder `load` gives when it is first needed."""
        embeddings = cls.__new__(cls)
        embeddings._set(model, instruction, load)
        return embeddings

    @property
    def embedder(self) -> EmbedderLike:
        """The core's embedder behind this."""
        if self._embedder is None:
            self._embedder = self._load()
        return self._embedder

    @property
    def dim(self) -> int:
        """Length of the vectors."""
        return self.embedder.dim

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        """One vector a text, of texts as they are stored."""
        return _as_lists(self.embedder.embed_documents(texts))

    def embed_query(self, text: str, *, instruction: str | None = None) -> list[float]:
        """The vector of a query, with the instance's instruction or another one for this query."""
        return _as_lists(self.embedder.embed_queries([text], instruction or self.instruction))[0]

    async def aembed_documents(self, texts: list[str]) -> list[list[float]]:
        """`embed_documents` without blocking the event loop; concurrent calls share batches."""
        return _as_lists(await embed_documents_async(await self._aembedder(), texts))

    async def aembed_query(self, text: str, *, instruction: str | None = None) -> list[float]:
        """`embed_query` without blocking the event loop; concurrent calls share batches."""
        return _as_lists(await embed_queries_async(await self._aembedder(), [text], instruction or self.instruction))[0]

    def __repr__(self) -> str:
        return f"Qwen3Embeddings(model={self.model!r}, instruction={self.instruction!r})"

    def __getstate__(self) -> dict[str, Any]:
        """For copies and worker processes: the embedder itself instead of how to get it. A Qwen3 model is loaded there by its name."""
        return {name: value for name, value in vars(self).items() if name != "_load"} | {"_embedder": self.embedder}

    def _set(self, model: str, instruction: str | None, load: Callable[[], EmbedderLike]) -> None:
        self.model = model
        self.instruction = instruction
        self._load = load
        self._embedder = None

    async def _aembedder(self) -> EmbedderLike:
        return await asyncio.to_thread(lambda: self.embedder) if self._embedder is None else self._embedder


def _as_lists(vectors: ResultArray) -> list[list[float]]:
    lists: list[list[float]] = vectors.tolist()
    return lists
