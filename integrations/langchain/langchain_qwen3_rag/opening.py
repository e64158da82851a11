"""Where a vector store's documents are: a folder, memory, a client or something open already → `Passages` of the core."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from qdrant_client import QdrantClient

from langchain_qwen3_rag.rerankers import Qwen3Reranker
from langchain_qwen3_rag.wrapping import EmbeddingLike, as_embedder, as_reranker
from qwen3_rag import KnowledgeBase, Passages, Settings
from qwen3_rag.errors import ConfigurationError, EmbeddingSpaceError
from qwen3_rag.models.base import EmbedderLike, RerankerLike

Where = str | Path | QdrantClient | KnowledgeBase | Passages | None
"""A folder, `":memory:"`, a client, something that is open, or None for the folder of the settings."""


def open_passages(
    where: Where,
    embedding: EmbeddingLike | None,
    reranker: Qwen3Reranker | RerankerLike | str | None,
    collection: str | None,
    settings: Settings | None,
    resources: ExitStack,
) -> Passages:
    """The passages there. What is opened for it is closed with `resources`; what was open stays so.

    Raises:
        ConfigurationError: no such place, or a reranker, collection or settings for something that has its own.
        EmbeddingSpaceError: the vectors there are not of `embedding`.
    """
    embedder = as_embedder(embedding)
    if isinstance(where, KnowledgeBase | Passages):
        if reranker is not None or collection is not None or settings is not None:
            kind = type(where).__name__
            raise ConfigurationError(f"An open {kind} has its reranker, collection and settings. Give them when opening it.")
        return _checked(where.passages() if isinstance(where, KnowledgeBase) else where, embedder)
    if where is not None and not isinstance(where, str | Path | QdrantClient):
        raise ConfigurationError(
            f"{type(where).__name__} is no place for documents. Give a folder, ':memory:', a qdrant_client.QdrantClient or a KnowledgeBase."
        )
    settings = settings or Settings.load()
    if collection is not None:
        settings = settings.model_copy(update={"collection": collection})
    opened = Passages.open(where, embedder=embedder, reranker=as_reranker(reranker), settings=settings)
    return resources.enter_context(opened)


def _checked(passages: Passages, embedder: EmbedderLike | str | None) -> Passages:
    """LangChain hands embeddings to every constructor; those of an open knowledge base must be its own."""
    if embedder is None or embedder == passages.embedder_name:
        return passages
    held = passages.embedder().space
    if isinstance(embedder, str) or embedder.space.fingerprint != held.fingerprint:
        given = embedder if isinstance(embedder, str) else embedder.space
        raise EmbeddingSpaceError(
            f"What is open there makes vectors of {held}, which do not compare with those of {given}. Leave the embedding away, or open "
            "another place with it."
        )
    return passages
