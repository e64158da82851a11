"""The core's collection as LangChain's vector store: documents go in whole under ids of their own, hybrid search finds them.

Everything is done by `Passages` of the core; here are LangChain's names, its defaults, and its idea of relevance between 0 and 1.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from typing import Any, Self

from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.vectorstores import VectorStore

from langchain_qwen3_rag.documents import to_document, to_documents, to_passages
from langchain_qwen3_rag.embeddings import Qwen3Embeddings
from langchain_qwen3_rag.filters import to_filter
from langchain_qwen3_rag.opening import Where, open_passages
from langchain_qwen3_rag.rerankers import Qwen3Reranker
from langchain_qwen3_rag.wrapping import EmbeddingLike
from qwen3_rag import Passages, Settings
from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.base import RerankerLike
from qwen3_rag.retrieval.options import of_reranking
from qwen3_rag.store.filters import Filters
from qwen3_rag.types import Hit, Hits, Mode

Scored = list[tuple[Document, float]]

_RENAMED = {"filters": "filter", "top_k": "k"}
"""Keywords of the core's search → what LangChain calls them."""


class Qwen3VectorStore(VectorStore):
    """A vector store on the embedded Qdrant engine, a Qdrant server or memory, with hybrid search.

    Search is hybrid: dense and lexical scores of each candidate are completed and fused. `mode="dense"` or `"lexical"`, here or for one
    call, asks one of them alone. Reranking is another stage in LangChain (`Qwen3Reranker`, `Qwen3Retriever`), so that a search reranks
    only when it is told to: `rerank=True`. Search methods take `filter` (a mapping, with `$` operators or without, or a Qdrant filter) and
    the keywords of the core's search: `instruction`, `mode`, `rerank`, `candidates`, `fusion`, `dense_weight`, `rrf_k`, `recall_threshold`,
    and with `rerank=True` also `rerank_weight`, `rerank_threshold`, `rerank_deadline`.

    Example:
        >>> store = Qwen3VectorStore(":memory:", Qwen3Embeddings("nano"))
        >>> _ = store.add_texts(["Keys are rotated every 90 days.", "Lunch is at noon."], ids=["keys", "lunch"])
        >>> store.similarity_search("how often are keys rotated?", k=1)[0].id
        'keys'
    """

    def __init__(
        self,
        where: Where = None,
        embedding: EmbeddingLike | None = None,
        *,
        collection: str | None = None,
        reranker: Qwen3Reranker | RerankerLike | str | None = None,
        mode: str | None = None,
        instruction: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Open a collection; it is made when the first document is added.

        Args:
            where: a folder, `":memory:"`, a `QdrantClient`, an open `KnowledgeBase` or `Passages`; None takes the folder from `settings`.
            embedding: `Qwen3Embeddings`, other LangChain embeddings, an embedder of the core or a model name. Only needed where the
                collection is new; it remembers. Embeddings of other makers take no instruction and count no tokens.
            collection: its name; None takes it from `settings`.
            reranker: for `rerank=True`: a `Qwen3Reranker`, whose model is taken, a reranker of the core or a model name; None is the
                embedder's own companion.
            mode: hybrid, dense or lexical; None takes it from `settings`, which say hybrid.
            instruction: the task of queries, in English; None is that of `embedding`, or the model's usual one.
            settings: anything beyond the defaults; None reads the environment and `qwen3-rag.toml`.

        Raises:
            ConfigurationError: models, collection or settings for a knowledge base that is open already; or a `Qwen3Reranker` with options
                that a search takes, such as `top_n` and `deadline`.
            EmbeddingSpaceError: the collection was made with another embedder or dim.
        """
        self._resources = ExitStack()
        self.passages: Passages = open_passages(where, embedding, reranker, collection, settings, self._resources)
        self.mode = mode
        self.instruction = instruction or (embedding.instruction if isinstance(embedding, Qwen3Embeddings) else None)
        self._embeddings = embedding if isinstance(embedding, Embeddings) else None

    @classmethod
    def from_texts(
        cls,
        texts: list[str],
        embedding: EmbeddingLike | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """A store with these texts in it; `kwargs` are the constructor's."""
        store = cls(embedding=embedding, **kwargs)
        try:
            store.add_texts(texts, metadatas, ids=ids)
        except BaseException:
            store.close()
            raise
        return store

    @classmethod
    async def afrom_texts(
        cls,
        texts: list[str],
        embedding: EmbeddingLike | None = None,
        metadatas: list[dict[str, Any]] | None = None,
        *,
        ids: list[str] | None = None,
        **kwargs: Any,
    ) -> Self:
        """`from_texts` without blocking the event loop."""
        store = await asyncio.to_thread(lambda: cls(embedding=embedding, **kwargs))
        try:
            await store.aadd_texts(texts, metadatas, ids=ids)
        except BaseException:
            store.close()
            raise
        return store

    @property
    def embeddings(self) -> Embeddings:
        """The embeddings; those of the collection are loaded when they are used."""
        return self._embeddings or Qwen3Embeddings.lazily(
            self.passages.embedder_name, self.passages.embedder, self.instruction or self.passages.instruction
        )

    def add_texts(
        self, texts: Iterable[str], metadatas: list[dict[str, Any]] | None = None, *, ids: Sequence[str | None] | None = None, **kwargs: Any
    ) -> list[str]:
        """Add texts; returns their ids. Arguments as `add_documents`."""
        return self.add_documents(to_documents(texts, metadatas, ids), **kwargs)

    async def aadd_texts(
        self, texts: Iterable[str], metadatas: list[dict[str, Any]] | None = None, *, ids: Sequence[str | None] | None = None, **kwargs: Any
    ) -> list[str]:
        """`add_texts` without blocking the event loop."""
        return await self.aadd_documents(to_documents(texts, metadatas, ids), **kwargs)

    def add_documents(self, documents: list[Document], *, ids: Sequence[str | None] | None = None, **kwargs: Any) -> list[str]:
        """Add documents, or replace those of the same id; returns their ids, in order.

        Args:
            documents: any number; they are embedded and written in parts.
            ids: any text, before the documents' own ids; None leaves a document its own. One without an id gets a random one.
            kwargs: `batch_size` may be given, as LangChain's `index` does, and changes nothing.

        Raises:
            ValueError: another number of ids than of documents.
            ConfigurationError: an empty id, or metadata that cannot be stored as JSON. Nothing of that part was written.
        """
        _refuse_unknown(kwargs)
        return self.passages.put(to_passages(documents, ids))

    async def aadd_documents(self, documents: list[Document], *, ids: Sequence[str | None] | None = None, **kwargs: Any) -> list[str]:
        """`add_documents` without blocking the event loop; concurrent calls are embedded in shared batches."""
        _refuse_unknown(kwargs)
        return await self.passages.aput(to_passages(documents, ids))

    def get_by_ids(self, ids: Sequence[str], /) -> list[Document]:
        """The documents of these ids, each once, in order; unknown ones are left out."""
        return [to_document(hit) for hit in self.passages.get(ids)]

    def delete(self, ids: list[str] | None = None, *, filter: Filters = None, **kwargs: Any) -> bool:
        """Delete documents by id or filter; without either, all of them, as LangChain says. Unknown ids are left alone.

        Chunks of documents that the core ingested stay in any case: `KnowledgeBase.delete` deletes those.
        """
        _refuse_unknown(kwargs)
        if ids is not None and filter is not None:
            raise ConfigurationError("Delete by ids or by filter, not by both.")
        if ids is not None:
            self.passages.delete(ids)
        elif filter is not None:
            self._delete_where(filter)
        else:
            self.passages.clear()
        return True

    def similarity_search(self, query: str, k: int = 4, filter: Filters = None, **kwargs: Any) -> list[Document]:
        """The `k` best documents, best first. Their metadata is as it was given."""
        return _documents(self._search(query, k, filter, kwargs))

    async def asimilarity_search(self, query: str, k: int = 4, filter: Filters = None, **kwargs: Any) -> list[Document]:
        """`similarity_search` without blocking the event loop; concurrent queries are embedded in shared batches."""
        return _documents(await self._asearch(query, k, filter, kwargs))

    def similarity_search_with_score(self, query: str, k: int = 4, filter: Filters = None, **kwargs: Any) -> Scored:
        """The `k` best documents with the score that ordered them, best first.

        It is the fused score in hybrid mode (a z-score: 0 is an average candidate), the cosine in dense and BM25 in lexical mode, and the
        reranker's P(yes) with `rerank=True`. More is better in each of them.
        """
        return _scored(self._search(query, k, filter, kwargs))

    async def asimilarity_search_with_score(self, query: str, k: int = 4, filter: Filters = None, **kwargs: Any) -> Scored:
        """`similarity_search_with_score` without blocking the event loop."""
        return _scored(await self._asearch(query, k, filter, kwargs))

    def _similarity_search_with_relevance_scores(self, query: str, k: int = 4, filter: Filters = None, **kwargs: Any) -> Scored:
        """In the order of the search, with a relevance that means the same for every query: P(yes), else the cosine, cut to 0 to 1."""
        return _scored(self._search(query, k, filter, kwargs), _relevance)

    async def _asimilarity_search_with_relevance_scores(self, query: str, k: int = 4, filter: Filters = None, **kwargs: Any) -> Scored:
        return _scored(await self._asearch(query, k, filter, kwargs), _relevance)

    def similarity_search_by_vector(self, embedding: list[float], k: int = 4, filter: Filters = None, **kwargs: Any) -> list[Document]:
        """The `k` documents nearest to a vector."""
        return _documents(self._nearest(embedding, k, filter, kwargs))

    def similarity_search_with_score_by_vector(self, embedding: list[float], k: int = 4, filter: Filters = None, **kwargs: Any) -> Scored:
        """The `k` documents nearest to a vector, with their cosine."""
        return _scored(self._nearest(embedding, k, filter, kwargs))

    def max_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filters = None,
        *,
        instruction: str | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """`k` of the `fetch_k` nearest documents that differ from each other.

        `lambda_mult` is 1 for relevance alone and 0 for the most diverse.
        """
        keywords = _diverse(k, fetch_k, lambda_mult, filter, kwargs)
        return _documents(self.passages.search_diverse(query, instruction=instruction or self.instruction, **keywords))

    async def amax_marginal_relevance_search(
        self,
        query: str,
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filters = None,
        *,
        instruction: str | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        """`max_marginal_relevance_search` without blocking the event loop."""
        keywords = _diverse(k, fetch_k, lambda_mult, filter, kwargs)
        return _documents(await self.passages.asearch_diverse(query, instruction=instruction or self.instruction, **keywords))

    def max_marginal_relevance_search_by_vector(
        self,
        embedding: list[float],
        k: int = 4,
        fetch_k: int = 20,
        lambda_mult: float = 0.5,
        filter: Filters = None,
        **kwargs: Any,
    ) -> list[Document]:
        """`max_marginal_relevance_search` for a query whose vector is known."""
        return _documents(self.passages.search_diverse(None, vector=embedding, **_diverse(k, fetch_k, lambda_mult, filter, kwargs)))

    def close(self) -> None:
        """Close what was opened here: not a client, a knowledge base or passages that were handed in. Safe to repeat."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Qwen3VectorStore(embedder={self.passages.embedder_name!r}, mode={self.mode!r})"

    def _search(self, query: str, k: int, filter: Filters, keywords: dict[str, Any]) -> Hits:
        return self.passages.search(query, **self._keywords(k, filter, **keywords))

    async def _asearch(self, query: str, k: int, filter: Filters, keywords: dict[str, Any]) -> Hits:
        return await self.passages.asearch(query, **self._keywords(k, filter, **keywords))

    def _keywords(self, k: int, filter: Filters, *, score_threshold: float | None = None, **keywords: Any) -> Any:
        """The core's keywords: its own pass through, LangChain's are renamed, and what is not said is as this store says."""
        _refuse_renamed(keywords)
        given = {"instruction": self.instruction, "mode": self.mode, "rerank": False} | keywords
        _refuse_idle(given)
        if score_threshold is not None:
            given.setdefault("rerank_threshold" if given["rerank"] else "recall_threshold", score_threshold)
        return {**given, "top_k": k, "filters": to_filter(filter)}

    def _delete_where(self, filter: Filters) -> None:
        conditions = to_filter(filter)
        if conditions is None:
            raise ConfigurationError("An empty filter deletes nothing. To delete every document call delete() without arguments.")
        self.passages.delete_where(conditions)

    def _nearest(self, vector: list[float], k: int, filter: Filters, others: dict[str, Any]) -> Hits:
        _refuse_renamed(others)
        _refuse_unknown(others)
        return self.passages.search(None, vector=vector, mode=Mode.DENSE, rerank=False, top_k=k, filters=to_filter(filter))


def _diverse(k: int, fetch_k: int, lambda_mult: float, filter: Filters, others: dict[str, Any]) -> dict[str, Any]:
    """The core's keywords of a diverse search, which takes no `others`."""
    _refuse_renamed(others)
    _refuse_unknown(others)
    return {"top_k": k, "candidates": max(k, fetch_k), "lambda_mult": lambda_mult, "filters": to_filter(filter)}


def _documents(hits: Hits) -> list[Document]:
    return [to_document(hit) for hit in hits]


def _scored(hits: Hits, score: Callable[[Hit], float] = lambda hit: hit.score) -> Scored:
    return [(to_document(hit), score(hit)) for hit in hits]


def _relevance(hit: Hit) -> float:
    stage = hit.stages.get("rerank") or hit.stages.get("dense")
    if stage is None:
        raise ConfigurationError(
            "A document found by its words alone has no relevance between 0 and 1. Search with mode='dense', hybrid with "
            "fusion='completed', or with rerank=True."
        )
    return min(max(stage.score, 0.0), 1.0)


def _refuse_renamed(keywords: dict[str, Any]) -> None:
    """A search must not pass over the core's name of what LangChain names otherwise: unfiltered, it shows what nobody asked for."""
    for name, instead in _RENAMED.items():
        if name in keywords:
            raise ConfigurationError(f"A search of Qwen3VectorStore takes {instead}=… instead of {name}=…, as LangChain names it.")


def _refuse_idle(keywords: dict[str, Any]) -> None:
    """A search that does not rerank must not pass over a threshold that asks for P(yes)."""
    idle = of_reranking(keywords)
    if idle and keywords["rerank"] is False:
        raise ConfigurationError(f"{', '.join(idle)} needs rerank=True: without it a search of Qwen3VectorStore does not rerank.")


def _refuse_unknown(keywords: dict[str, Any]) -> None:
    unknown = sorted(set(keywords) - {"batch_size"})
    if unknown:
        raise ConfigurationError(f"Qwen3VectorStore does not take {', '.join(unknown)} here.")
