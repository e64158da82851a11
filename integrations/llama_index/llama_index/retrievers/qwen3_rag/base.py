"""`Qwen3Retriever`: the core's two-stage search as a LlamaIndex retriever. It builds no index and writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import numpy as np
from llama_index.core.base.base_retriever import BaseRetriever
from llama_index.core.callbacks.base import CallbackManager
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.schema import NodeWithScore, QueryBundle
from llama_index.core.vector_stores.types import MetadataFilters
from llama_index.postprocessor.qwen3_rag.base import RELEVANCE_SCORE, RETRIEVAL_SCORE, with_scores
from llama_index.postprocessor.qwen3_rag.query import instruction_of
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore
from llama_index.vector_stores.qwen3_rag.base import Place
from llama_index.vector_stores.qwen3_rag.nodes import to_node
from qdrant_client import models

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.base import ResultArray, embed_queries_async
from qwen3_rag.retrieval.options import SearchKeywords
from qwen3_rag.types import Hit, Hits

dispatcher = get_dispatcher(__name__)

_OPTIONS = SearchKeywords.__annotations__.keys() - {"filters", "vector", "explain"}
_RECALL = ("fused", "dense", "lexical")
"""Stages of recall; the first that ran gave the order."""


class Qwen3Retriever(BaseRetriever):
    """Recall, fuse, rerank, over a knowledge base, passages or a vector store: what was ingested and what frameworks put there.

    Nodes come with `retrieval_score` and, where they were reranked, `relevance_score` in their metadata, which neither models nor prompts
    are shown. An `InstructedQuery` brings its own instruction; a query bundle with an embedding, or with `custom_embedding_strs`, is
    searched by these.

    Example:
        >>> retriever = Qwen3Retriever(kb, top_k=5, filters={"team": "search"})  # doctest: +SKIP
        >>> nodes = retriever.retrieve("how are keys rotated?")  # doctest: +SKIP
    """

    def __init__(
        self,
        where: Place | Qwen3VectorStore,
        *,
        filters: MetadataFilters | models.Filter | Mapping[str, Any] | None = None,
        callback_manager: CallbackManager | None = None,
        verbose: bool = False,
        **options: Any,
    ) -> None:
        """Retrieve from an open place, or open one; `close` closes only what was opened here.

        Args:
            where: a `KnowledgeBase`, `Passages`, `Qwen3VectorStore`, folder or `QdrantClient`.
            filters: LlamaIndex's `MetadataFilters`, the core's mapping, or a Qdrant `Filter`.
            callback_manager: as in every LlamaIndex retriever.
            verbose: as in every LlamaIndex retriever.
            options: `top_k`, `mode`, `rerank`, `instruction` and the other keywords of `KnowledgeBase.search`.

        Raises:
            ConfigurationError: an option that is not known.
        """
        unknown = options.keys() - _OPTIONS
        if unknown:
            raise ConfigurationError(f"Qwen3Retriever does not take {', '.join(sorted(unknown))}. It takes {', '.join(sorted(_OPTIONS))}.")
        self._owned = not isinstance(where, Qwen3VectorStore)
        self._store = where if isinstance(where, Qwen3VectorStore) else Qwen3VectorStore(where)
        self._filters = filters
        self._options = options
        super().__init__(callback_manager=callback_manager, verbose=verbose)

    def close(self) -> None:
        """Close what was opened here. Safe to repeat."""
        if self._owned:
            self._store.close()

    @dispatcher.span
    def _retrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        keywords = self._keywords(query_bundle)
        if _replaced(query_bundle):
            keywords["vector"] = _mean(self._store.passages.embedder().embed_queries(query_bundle.embedding_strs, keywords["instruction"]))
        return _scored(self._store.passages.search(query_bundle.query_str, **keywords))

    @dispatcher.span
    async def _aretrieve(self, query_bundle: QueryBundle) -> list[NodeWithScore]:
        keywords = await asyncio.to_thread(self._keywords, query_bundle)
        if _replaced(query_bundle):
            embedder = await asyncio.to_thread(self._store.passages.embedder)
            keywords["vector"] = _mean(await embed_queries_async(embedder, query_bundle.embedding_strs, keywords["instruction"]))
        return _scored(await self._store.passages.asearch(query_bundle.query_str, **keywords))

    def _keywords(self, query: QueryBundle) -> dict[str, Any]:
        filters = self._filters
        return {
            **self._options,
            "instruction": instruction_of(query) or self._options.get("instruction") or self._store.passages.instruction,
            "filters": self._store.filter(filters) if isinstance(filters, MetadataFilters) else filters,
            "vector": query.embedding,
        }


def _replaced(query: QueryBundle) -> bool:
    """Whether other texts than the query itself are to be embedded, as query transformations ask for."""
    return query.embedding is None and bool(query.custom_embedding_strs)


def _mean(vectors: ResultArray) -> list[float]:
    mean: list[float] = np.asarray(vectors).mean(axis=0).tolist()
    return mean


def _scored(hits: Hits) -> list[NodeWithScore]:
    return [NodeWithScore(node=with_scores(to_node(hit), _scores(hit)), score=hit.score) for hit in hits]


def _scores(hit: Hit) -> dict[str, float | None]:
    recalled = next((hit.stages[stage].score for stage in _RECALL if stage in hit.stages), None)
    return {RETRIEVAL_SCORE: recalled, RELEVANCE_SCORE: hit.score if hit.reranked else None}
