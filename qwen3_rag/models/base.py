"""What the other rooms may expect of an embedder and a reranker, and the arrays they return.

This module knows nothing of torch: a remote or a test double implements the same two protocols.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Protocol, Self, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from qwen3_rag.types import EmbeddingSpace


class ResultArray(np.ndarray[Any, np.dtype[np.float32]]):
    """A float32 array, one row a text, that also tells which texts were cut: `truncated`, booleans of shape (n,).

    Everything computed from it (slices, sums) is a plain view without `truncated`, which is then None.
    """

    truncated: NDArray[np.bool_] | None

    @classmethod
    def of(cls, values: NDArray[np.float32], truncated: Sequence[bool]) -> Self:
        """View `values` and remember `truncated`."""
        result = np.ascontiguousarray(values, dtype=np.float32).view(cls)
        result.truncated = np.asarray(truncated, dtype=np.bool_)
        return result

    def __array_finalize__(self, obj: object) -> None:
        self.truncated = None


@runtime_checkable
class EmbedderLike(Protocol):
    """Embeds queries and documents into one space; rows are L2-normalised float32 of shape (n, dim)."""

    @property
    def model(self) -> str:
        """The name it was loaded by."""

    @property
    def space(self) -> EmbeddingSpace:
        """What makes its vectors comparable, at its default dim."""

    @property
    def dim(self) -> int:
        """Default dimension of its vectors."""

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens, the end-of-text token included."""

    @property
    def tokenizer(self) -> Tokenizer:
        """Its own tokenizer, without truncation, padding or special tokens of its own."""

    def embed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        """Embed queries with the instruction template."""

    def embed_documents(self, texts: Sequence[str], dim: int | None = None) -> ResultArray:
        """Embed documents as they are."""


@runtime_checkable
class RerankerLike(Protocol):
    """Scores documents against a query: P(yes) of shape (n,)."""

    @property
    def model(self) -> str:
        """The name it was loaded by."""

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None, deadline: float | None = None) -> ResultArray:
        """Score each document, in their order as far as `deadline` seconds go; NaN for those not scored in time.

        `deadline` may be missing: then documents come in slices. A coroutine method `ascore` of the same parameters, where there is one, is
        awaited by asynchronous searches.
        """


async def embed_queries_async(
    embedder: EmbedderLike, texts: Sequence[str], instruction: str | None = None, dim: int | None = None
) -> ResultArray:
    """`embedder.embed_queries` without blocking the event loop: its own `aembed_queries` where it has one, else in a thread."""
    native = getattr(embedder, "aembed_queries", None)
    if native is None:
        return await asyncio.to_thread(embedder.embed_queries, texts, instruction, dim)
    vectors: ResultArray = await native(texts, instruction, dim)
    return vectors


async def embed_documents_async(embedder: EmbedderLike, texts: Sequence[str], dim: int | None = None) -> ResultArray:
    """`embedder.embed_documents` without blocking the event loop: its own `aembed_documents` where it has one, else in a thread."""
    native = getattr(embedder, "aembed_documents", None)
    if native is None:
        return await asyncio.to_thread(embedder.embed_documents, texts, dim)
    vectors: ResultArray = await native(texts, dim)
    return vectors
