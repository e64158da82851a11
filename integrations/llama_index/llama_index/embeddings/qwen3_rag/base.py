"""`Qwen3Embedding`: the core's embedder as LlamaIndex wants one. It batches nothing itself and knows no vector store."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Self

from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.embeddings.qwen3_rag.cache import KeyedCache, Role, as_query

from qwen3_rag.errors import ConfigurationError, EmbeddingSpaceError
from qwen3_rag.models.base import EmbedderLike, embed_documents_async, embed_queries_async
from qwen3_rag.models.tokenization import TextTokenizer
from qwen3_rag.settings import DEFAULT_EMBEDDER

DEFAULT_BATCH_SIZE = 64
DEFAULT_WORKERS = 8
"""Batches of one asynchronous call that are under way together: the model's own batches are shared among them."""

LEAST_LENGTH = 8
_OF_THIS_PROCESS = ("embeddings_cache", "callback_manager", "rate_limiter")


class Qwen3Embedding(BaseEmbedding):
    """Qwen3 embeddings. Queries carry their instruction, documents do not; both are L2-normalised.

    Everything that decides what a vector means is a field, so that LlamaIndex's caches tell two spaces apart.

    Example:
        >>> embed_model = Qwen3Embedding("nano")  # doctest: +SKIP
        >>> embed_model.get_query_embedding("how are keys rotated?")  # doctest: +SKIP
    """

    revision: str = Field(description="Of the weights, as the model itself tells.")
    dim: int = Field(description="Dimensions of the vectors.")
    max_length: int = Field(description="Texts are cut to so many tokens, the end-of-text token included.")
    instruction: str | None = Field(default=None, description="The task of queries, in English. None is the paper's web search task.")
    fingerprint: str = Field(description="Of the embedding space: vectors of two fingerprints do not compare.")
    dtype: str = Field(default="auto", description="auto, float32, bfloat16 or float16.")
    device: str = Field(default="auto", description="auto, cpu, cuda or mps.")
    quantization: str = Field(default="none", description="none, or int8 on the CPU.")

    _embedder: EmbedderLike = PrivateAttr()

    def __init__(
        self,
        model_name: str | None = None,
        *,
        embedder: EmbedderLike | None = None,
        dim: int | None = None,
        max_length: int | None = None,
        instruction: str | None = None,
        embed_batch_size: int = DEFAULT_BATCH_SIZE,
        num_workers: int | None = DEFAULT_WORKERS,
        dtype: str = "auto",
        device: str = "auto",
        quantization: str = "none",
        revision: str | None = None,
        fingerprint: str | None = None,
        **base: Any,
    ) -> None:
        """Load a model by name, or take one that is loaded, or that a server runs.

        Args:
            model_name: a hub id, a local folder or `"nano"`; None is `Qwen/Qwen3-Embedding-0.6B`.
            embedder: an `Embedder`, a `RemoteEmbedder` or anything like them, instead of a name.
            dim: 32 to the model's own; None is the embedder's default.
            max_length: tokens; None is what the model reads.
            instruction: the task of queries, in English.
            embed_batch_size: texts a call to the model.
            num_workers: batches of one asynchronous call under way together.
            dtype: as in `Embedder.load`.
            device: as in `Embedder.load`.
            quantization: as in `Embedder.load`.
            revision: where given, the weights must be of this one.
            fingerprint: where given, the vectors must be of this space.
            base: what every LlamaIndex embedding takes, such as `embeddings_cache`.

        Raises:
            EmbeddingSpaceError: another revision or space than the one asked for.
            ModelError, ConfigurationError: as `Embedder.load`.
        """
        loaded = embedder if embedder is not None else _load(model_name or DEFAULT_EMBEDDER, dtype, device, quantization)
        space = loaded.space if dim in (None, loaded.dim) else replace(loaded.space, dim=_checked_dim(loaded, dim))
        _same_space(f"{space}", (revision, space.revision), (fingerprint, space.fingerprint))
        fields: dict[str, Any] = {
            "model_name": loaded.model,
            "embed_batch_size": embed_batch_size,
            "num_workers": num_workers,
            "revision": space.revision,
            "dim": space.dim,
            "max_length": _checked_length(loaded, max_length),
            "instruction": instruction,
            "fingerprint": space.fingerprint,
            "dtype": dtype,
            "device": device,
            "quantization": quantization,
        }
        super().__init__(**fields, **base)
        self._embedder = loaded
        self.embeddings_cache = self.embeddings_cache  # in its keyed form, now that there is a key

    @classmethod
    def class_name(cls) -> str:
        """The name in serialised form."""
        return "Qwen3Embedding"

    @property
    def embedder(self) -> EmbedderLike:
        """The core's embedder."""
        return self._embedder

    def __setattr__(self, name: str, value: Any) -> None:
        """A cache of embeddings is always used through keys of role, instruction and space."""
        if name == "embeddings_cache" and value is not None and not isinstance(value, KeyedCache):
            value = KeyedCache(value, self._cache_key)
        super().__setattr__(name, value)

    def __copy__(self) -> Self:
        """A copy, which may be given another instruction, looks its own vectors up."""
        copied = super().__copy__()
        if isinstance(copied.embeddings_cache, KeyedCache):
            copied.embeddings_cache = copied.embeddings_cache.store
        return copied

    def __reduce__(self) -> tuple[Any, ...]:
        """For worker processes: a model of this package is loaded there by its name, any other goes along. Caches stay here."""
        fields = {name: value for name, value in self.__dict__.items() if name not in _OF_THIS_PROCESS}
        return _rebuilt, (fields, None if _is_by_name(self._embedder) else self._embedder)

    def get_query_embedding(self, query: str) -> list[float]:
        """The embedding of a query, after its instruction."""
        with as_query():
            return super().get_query_embedding(query)

    async def aget_query_embedding(self, query: str) -> list[float]:
        """`get_query_embedding` without blocking the event loop; concurrent queries share batches."""
        with as_query():
            return await super().aget_query_embedding(query)

    def _get_query_embedding(self, query: str) -> list[float]:
        return _row(self._embedder.embed_queries(self._cut([query]), self.instruction, self.dim))

    async def _aget_query_embedding(self, query: str) -> list[float]:
        texts = await self._acut([query])
        return _row(await embed_queries_async(self._embedder, texts, self.instruction, self.dim))

    def _get_text_embedding(self, text: str) -> list[float]:
        return self._get_text_embeddings([text])[0]

    async def _aget_text_embedding(self, text: str) -> list[float]:
        return (await self._aget_text_embeddings([text]))[0]

    def _get_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return _rows(self._embedder.embed_documents(self._cut(texts), self.dim))

    async def _aget_text_embeddings(self, texts: list[str]) -> list[list[float]]:
        return _rows(await embed_documents_async(self._embedder, await self._acut(texts), self.dim))

    def _cut(self, texts: Sequence[str]) -> list[str]:
        """Texts as long as `max_length` allows; the model itself cuts at what it reads."""
        if self.max_length >= self._embedder.max_tokens:
            return list(texts)
        tokenizer = TextTokenizer(self._embedder.tokenizer, {}, Path())
        return [tokenizer.head(text, self.max_length - 1) for text in texts]

    async def _acut(self, texts: Sequence[str]) -> list[str]:
        if self.max_length >= self._embedder.max_tokens:
            return list(texts)
        return await asyncio.to_thread(self._cut, texts)

    def _cache_key(self, role: Role, text: str) -> str:
        instruction = self.instruction if role is Role.QUERY else None
        facts = [role, instruction, self.fingerprint, self.dim, self.max_length, self.quantization, text]
        return hashlib.sha256(json.dumps(facts).encode()).hexdigest()


def _rebuilt(fields: dict[str, Any], embedder: EmbedderLike | None) -> Qwen3Embedding:
    return Qwen3Embedding(**fields, embedder=embedder)


def _is_by_name(embedder: EmbedderLike) -> bool:
    from qwen3_rag.models.embedder import Embedder

    return isinstance(embedder, Embedder)


def _load(model: str, dtype: str, device: str, quantization: str) -> EmbedderLike:
    from qwen3_rag.models.embedder import Embedder

    return Embedder.load(model, dtype=dtype, device=device, quantization=quantization)


def _checked_dim(embedder: EmbedderLike, dim: int | None) -> int:
    """`dim`, if the model offers it: it says so itself, before a document is embedded."""
    embedder.embed_documents([], dim)
    return dim or embedder.dim


def _checked_length(embedder: EmbedderLike, length: int | None) -> int:
    if length is None:
        return embedder.max_tokens
    if not LEAST_LENGTH <= length <= embedder.max_tokens:
        raise ConfigurationError(
            f"max_length={length} is not possible with {embedder.model}, which reads {LEAST_LENGTH} to {embedder.max_tokens} tokens."
        )
    return length


def _same_space(space: str, *pairs: tuple[str | None, str]) -> None:
    if any(asked not in (None, actual) for asked, actual in pairs):
        raise EmbeddingSpaceError(
            f"The model makes vectors of {space}, which is not the revision or fingerprint that was asked for. "
            "Leave both away to use the model as it is, and embed again what was embedded with another."
        )


def _rows(vectors: Any) -> list[list[float]]:
    rows: list[list[float]] = vectors.tolist()
    return rows


def _row(vectors: Any) -> list[float]:
    return _rows(vectors)[0]
