"""The two-stage retriever of the core as LangChain's retriever: recall, fusion and reranking in one call, with their scores."""

from __future__ import annotations

from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForRetrieverRun, CallbackManagerForRetrieverRun
from langchain_core.documents import Document
from langchain_core.retrievers import BaseRetriever, LangSmithRetrieverParams
from pydantic import ConfigDict, Field
from qdrant_client import models

from langchain_qwen3_rag.documents import to_scored_document
from langchain_qwen3_rag.filters import to_filter
from langchain_qwen3_rag.vector_stores import Qwen3VectorStore
from qwen3_rag import KnowledgeBase, Passages
from qwen3_rag.errors import ConfigurationError
from qwen3_rag.types import Hits

_SAME = ("instruction", "mode", "rerank", "candidates", "fusion", "dense_weight", "rrf_k", "rerank_weight", "rerank_deadline", "explain")
"""Fields with the core's own names."""
_PER_CALL = ("k", "filter", "score_threshold", *_SAME)


class Qwen3Retriever(BaseRetriever):
    """Finds the documents that answer a query in two stages: dense and lexical recall with fused scores, then reranking.

    Documents come with `retrieval_score` in their metadata, and with `relevance_score` where they were reranked. Every field below but
    `store` can be given for one call: `retriever.invoke(query, k=3, filter={"team": "payments"})`.

    Example:
        >>> with KnowledgeBase.open("kb", embedder="nano") as kb:  # doctest: +SKIP
        ...     documents = Qwen3Retriever(store=kb, k=3).invoke("how are keys rotated?")
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    store: KnowledgeBase | Passages | Qwen3VectorStore = Field(exclude=True, repr=False)
    """Where to look; it stays open and is never serialised."""
    k: int = Field(default=4, ge=1)
    """How many documents."""
    filter: dict[str, Any] | models.Filter | None = None
    """A plain mapping, one with `$` operators, or a Qdrant filter."""
    instruction: str | None = None
    """The task in English, for embedder and reranker; None is that of the vector store, or as the knowledge base is set."""
    mode: str | None = None
    """hybrid, dense or lexical; None is as the vector store or the knowledge base is set."""
    rerank: bool | None = None
    """None reranks where there is a reranker, True insists on one, False does not."""
    candidates: int | None = None
    """How many documents are recalled for reranking; None is several times `k`."""
    fusion: str | None = None
    """completed, rrf or dbsf; None is as the knowledge base is set, and so it is with the two below."""
    dense_weight: float | None = Field(default=None, ge=0, le=1)
    """The vectors' share in fusion; BM25 has the rest."""
    rrf_k: int | None = Field(default=None, ge=1)
    """The constant of fusion by ranks."""
    score_threshold: float | None = None
    """Least score: the reranker's where it ran, else that of recall."""
    rerank_weight: float | None = Field(default=None, ge=0, le=1)
    """The reranker's share in the order; recall has the rest. None is as the knowledge base is set."""
    rerank_deadline: float | None = None
    """Seconds that reranking may take; what was not scored in time follows in recall order."""
    explain: bool = False
    """Whether each document's metadata tells how it was found: `stages` and `trace`."""

    def _get_relevant_documents(self, query: str, *, run_manager: CallbackManagerForRetrieverRun, **kwargs: Any) -> list[Document]:
        asked = self._asked(kwargs)
        return _documents(self._place().search(query, **_keywords(asked)), asked)

    async def _aget_relevant_documents(
        self, query: str, *, run_manager: AsyncCallbackManagerForRetrieverRun, **kwargs: Any
    ) -> list[Document]:
        asked = self._asked(kwargs)
        return _documents(await self._place().asearch(query, **_keywords(asked)), asked)

    def _get_ls_params(self, **kwargs: Any) -> LangSmithRetrieverParams:
        """What LangSmith shows of each run; no model is loaded for it."""
        params = super()._get_ls_params(**kwargs)
        passages = self._passages()
        params["ls_vector_store_provider"] = "Qwen3VectorStore"
        params["ls_embedding_provider"] = "Qwen3Embeddings"
        params["ls_embedding_model"] = passages.embedder_name
        return params

    def _place(self) -> KnowledgeBase | Passages:
        return self.store.passages if isinstance(self.store, Qwen3VectorStore) else self.store

    def _passages(self) -> Passages:
        place = self._place()
        return place if isinstance(place, Passages) else place.passages()

    def _asked(self, given: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(given) - set(_PER_CALL))
        if unknown:
            raise ConfigurationError(f"A call of Qwen3Retriever does not take {', '.join(unknown)}. It takes {', '.join(_PER_CALL)}.")
        return self._as_the_store_says({name: getattr(self, name) for name in _PER_CALL} | given)

    def _as_the_store_says(self, asked: dict[str, Any]) -> dict[str, Any]:
        """What neither the call nor this retriever says is as a vector store was opened."""
        store = self.store
        if not isinstance(store, Qwen3VectorStore):
            return asked
        return asked | {"mode": asked["mode"] or store.mode, "instruction": asked["instruction"] or store.instruction}


def _keywords(asked: dict[str, Any]) -> dict[str, Any]:
    """The core's keywords. Recall has no threshold here: whether reranking follows is known afterwards."""
    renamed = {"top_k": asked["k"], "filters": to_filter(asked["filter"]), "rerank_threshold": asked["score_threshold"]}
    return renamed | {name: asked[name] for name in _SAME}


def _documents(hits: Hits, asked: dict[str, Any]) -> list[Document]:
    least = asked["score_threshold"]
    return [to_scored_document(hit, hits.trace) for hit in hits if least is None or hit.reranked is not None or hit.score >= least]
