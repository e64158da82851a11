"""A query in, hits out: recall → complete → fuse → rerank → trim. It opens no store and loads no model; both are handed in."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Unpack, cast

import numpy as np
from qdrant_client import models
from qdrant_client.client_base import QdrantBase

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.base import EmbedderLike, RerankerLike, ResultArray, embed_queries_async
from qwen3_rag.retrieval.diversity import maximal_marginal_relevance
from qwen3_rag.retrieval.fusion import completed, distribution_based, ranked, reciprocal_rank
from qwen3_rag.retrieval.options import SearchKeywords, check_instruction, check_query, resolve
from qwen3_rag.retrieval.recall import Queries, Recalled, complete, recall
from qwen3_rag.retrieval.reranking import Reranked, arerank
from qwen3_rag.retrieval.reranking import rerank as rerank_documents
from qwen3_rag.retrieval.second_stage import placed
from qwen3_rag.retrieval.tracing import Step
from qwen3_rag.retrieval.under_way import Search, finished
from qwen3_rag.settings import RetrievalSettings
from qwen3_rag.store.filters import Filters, build_filter
from qwen3_rag.store.language import query_languages
from qwen3_rag.store.points import DENSE, embedding_text, to_hit
from qwen3_rag.store.sparse import Bm25Encoder
from qwen3_rag.types import Fusion, Hit, Hits, Mode, Stage

ATTEMPTS = 4
"""Of recall, while documents that it found are replaced before they are fetched."""


class Retriever:
    """Searches one collection.

    `embedder` and `reranker` are objects or functions that give them when first needed; a lexical search never asks for the embedder.
    `languages` tells how many passages the collection holds in each language, so that a query is taken for one of those; `hidden` which
    points must not be found just now.
    """

    def __init__(
        self,
        client: QdrantBase,
        collection: str,
        embedder: EmbedderLike | Callable[[], EmbedderLike],
        reranker: RerankerLike | Callable[[], RerankerLike | None] | None,
        settings: RetrievalSettings,
        languages: Callable[[], Mapping[str, int]],
        instruction: str | None = None,
        hidden: Callable[[], Collection[str]] = frozenset,
    ) -> None:
        self._client = client
        self._collection = collection
        self._embedder: Callable[[], EmbedderLike] = _provider(embedder, "embed_queries")
        self._reranker: Callable[[], RerankerLike | None] = _provider(reranker, "score")
        self._settings = settings
        self._languages = languages
        self._instruction = instruction
        self.hidden = hidden
        self._bm25 = Bm25Encoder()

    @property
    def instruction(self) -> str | None:
        """The task of queries that bring none of their own; None is the models' usual one."""
        return self._instruction

    def search(
        self,
        query: str | None,
        *,
        top_k: int | None = None,
        filters: Filters = None,
        instruction: str | None = None,
        mode: Mode | str | None = None,
        rerank: bool | None = None,
        candidates: int | None = None,
        fusion: Fusion | str | None = None,
        dense_weight: float | None = None,
        rrf_k: int | None = None,
        recall_threshold: float | None = None,
        rerank_weight: float | None = None,
        rerank_threshold: float | None = None,
        rerank_deadline: float | None = None,
        vector: Sequence[float] | None = None,
        explain: bool = False,
    ) -> Hits:
        """The `top_k` best passages, best first. What is None is as the settings say.

        `candidates` is how many each ranker recalls and how many at most are reranked (default: the larger of 50 and five times
        `top_k`). `recall_threshold` is the least score of a candidate in recall: cosine in dense mode, BM25 in lexical mode, the fused
        score in hybrid mode (with completed fusion a z-score: 0 is an average candidate). `dense_weight` is the dense ranker's share in
        fusion, 0 to 1; `rrf_k` the constant of fusion by ranks. `vector` is the query's embedding where it is known already; dense mode
        without reranking then needs no words, and `query` may be None or empty. `rerank_weight` is the reranker's share in the order of the
        hits that it scored, 0 to 1, and recall has the rest: both are standardised over these hits, the reranker by its log-odds. Below 1
        it adds the stage `blended`; a hit's score stays P(yes). `rerank_threshold` is the least P(yes) of a hit that was reranked, whatever
        the weight; hits the deadline left unscored are kept. `explain` adds `hits.trace`.

        Raises:
            ConfigurationError: an empty query, or an option out of range.
            FilterError: a filter that cannot be expressed.
        """
        search = self._asked(
            query,
            top_k=top_k,
            filters=filters,
            instruction=instruction,
            mode=mode,
            rerank=rerank,
            candidates=candidates,
            fusion=fusion,
            dense_weight=dense_weight,
            rrf_k=rrf_k,
            recall_threshold=recall_threshold,
            rerank_weight=rerank_weight,
            rerank_threshold=rerank_threshold,
            rerank_deadline=rerank_deadline,
            vector=vector,
            explain=explain,
        )
        reranker, hits = self._first_stage(search)
        if reranker is not None:
            with search.recorder.step("rerank", len(hits)) as step:
                hits = _place(search, step, hits, rerank_documents(reranker, **_to_score(search, hits)))
        return finished(search, hits)

    def nothing(self, query: str | None, **keywords: Unpack[SearchKeywords]) -> Hits:
        """What `search` finds where there is no collection; what cannot be meant is refused all the same."""
        return finished(self._asked(query, **keywords), [])

    async def asearch(self, query: str | None, **keywords: Unpack[SearchKeywords]) -> Hits:
        """`search` without blocking the event loop.

        Queries of many tasks are embedded in shared batches, and so are their candidates reranked where the reranker has an `ascore`;
        neither waits for a thread.
        """
        search = self._asked(query, **keywords)
        if search.vector is None and search.options.mode is not Mode.LEXICAL:
            with search.recorder.step("embed", 1) as step:
                search.vector = await self._aembed(search.query, search.instruction)
                step.returned = 1
        reranker, hits = await asyncio.to_thread(self._first_stage, search)
        if reranker is not None:
            with search.recorder.step("rerank", len(hits)) as step:
                hits = _place(search, step, hits, await arerank(reranker, **_to_score(search, hits)))
        return finished(search, hits)

    def search_diverse(
        self,
        query: str | None,
        *,
        top_k: int | None = None,
        candidates: int | None = None,
        lambda_mult: float = 0.5,
        filters: Filters = None,
        instruction: str | None = None,
        vector: Sequence[float] | None = None,
    ) -> Hits:
        """`top_k` of the `candidates` nearest passages that differ from each other, by maximal marginal relevance.

        `lambda_mult` is 1 for relevance alone, 0 for the most diverse. `query` may be None where its `vector` is given. Hits come in the
        order chosen; their score is the cosine with the query. Where the settings' mode is dense, none is below their `recall_threshold`.

        Raises:
            ConfigurationError: an empty query, or an option out of range.
            FilterError: a filter that cannot be expressed.
        """
        if not 0 <= lambda_mult <= 1:
            raise ConfigurationError(f"lambda_mult={lambda_mult} is not between 0 (diverse) and 1 (relevant).")
        check_instruction(instruction)
        options = resolve(self._settings, top_k=top_k, candidates=candidates, mode=Mode.DENSE, rerank=False)
        conditions = build_filter(filters)
        if vector is None:
            check_query(query)
            vector = self._embed(cast("str", query), instruction or self._instruction)
        queries = Queries(list(vector), None)
        for _ in range(ATTEMPTS):
            recalled = recall(self._client, self._collection, queries, self.visible(conditions), options.depth)
            if options.recall_threshold is not None and Mode(self._settings.mode) is Mode.DENSE:  # in other modes it is no cosine
                near = {point: score for point, score in recalled.dense.items() if score >= options.recall_threshold}
                recalled = Recalled(near, {})
            records = self._records(recalled.ids, self.hidden(), with_vectors=[DENSE])
            if len(records) == len(recalled.ids):
                break
        return Hits(_diverse(records, recalled, options.top_k, lambda_mult))

    async def asearch_diverse(self, query: str | None, **keywords: Any) -> Hits:
        """`search_diverse` without blocking the event loop. Queries of many tasks are embedded in shared batches."""
        if keywords.get("vector") is None:
            check_query(query)
            keywords["vector"] = await self._aembed(cast("str", query), keywords.get("instruction") or self._instruction)
        return await asyncio.to_thread(self.search_diverse, query, **keywords)

    def visible(self, conditions: models.Filter | None) -> models.Filter | None:
        """What may be found now. Asked right before recall: loading a model or embedding takes long enough for documents to change."""
        hidden = self.hidden()
        if not hidden:
            return conditions
        seen = models.Filter(must_not=[models.HasIdCondition(has_id=list(hidden))])
        return seen if conditions is None else models.Filter(must=[conditions, seen])

    def _asked(
        self,
        query: str | None,
        *,
        filters: Filters = None,
        instruction: str | None = None,
        vector: Sequence[float] | None = None,
        explain: bool = False,
        **given: Any,
    ) -> Search:
        options = resolve(self._settings, **given)
        if query or vector is None or options.mode is not Mode.DENSE or options.rerank is not False:
            check_query(query)
        check_instruction(instruction)
        search = Search(query or "", options, instruction or self._instruction, build_filter(filters), vector, explain)
        if vector is not None and options.mode is not Mode.LEXICAL:
            with search.recorder.step("embed", 1) as step:
                step.returned, step.note = 1, "known already"
        return search

    def _first_stage(self, search: Search) -> tuple[RerankerLike | None, list[Hit]]:
        """The candidates in recall order, as many as are returned or reranked, and the reranker if there is to be one."""
        reranker = self._load_reranker(search)
        queries = self._encode(search)
        for _ in range(ATTEMPTS):
            stages, order = self._rank(search, queries)
            order = _above_recall_threshold(search, order)
            hits, gone = self._fetch(search, order, stages, len(order) if reranker else search.options.top_k)
            if not gone:
                break  # else documents have changed since recall, which therefore left out their new versions
        return reranker, hits

    def _load_reranker(self, search: Search) -> RerankerLike | None:
        """The reranker, if this search wants one; loaded before the deadline's clock runs."""
        if search.options.rerank is False:
            return None
        with search.recorder.step("load reranker", 0):
            reranker = self._reranker()
        if reranker is None and search.options.rerank:
            raise ConfigurationError(
                "rerank=True, but there is no reranker. Open the knowledge base with reranker=…, or QWEN3_RAG_RERANKER."
            )
        return reranker

    def _encode(self, search: Search) -> Queries:
        dense: list[float] | None = None
        if search.options.mode is not Mode.LEXICAL:
            dense = list(self._vector(search))
        if search.options.mode is Mode.DENSE:
            return Queries(dense, None)
        with search.recorder.step("analyse", 1) as step:
            held = self._languages()
            likely = query_languages(search.query, held)
            search.language = likely[0]
            lexical = self._bm25.query_in(search.query, likely)
            step.returned = 1 if lexical.indices else 0
            step.note = f"{len(lexical.indices)} terms in {', '.join(likely)}"
        return Queries(dense, lexical, likely if len(held) > 1 else ())

    def _vector(self, search: Search) -> Sequence[float]:
        if search.vector is None:
            with search.recorder.step("embed", 1) as step:
                search.vector = self._embed(search.query, search.instruction)
                step.returned = 1
        return search.vector

    def _embed(self, query: str, instruction: str | None) -> list[float]:
        return _as_list(self._embedder().embed_queries([query], instruction))

    async def _aembed(self, query: str, instruction: str | None) -> list[float]:
        embedder = await asyncio.to_thread(self._embedder)  # which may have to be loaded
        return _as_list(await embed_queries_async(embedder, [query], instruction))

    def _rank(self, search: Search, queries: Queries) -> tuple[dict[str, dict[str, Stage]], list[tuple[str, float]]]:
        """Each ranker's stages by point, and the points in recall order with the score that ordered them."""
        options = search.options
        with search.recorder.step("recall", 0) as step:
            recalled = recall(self._client, self._collection, queries, self.visible(search.conditions), options.depth)
            step.returned = len(recalled.ids)
            step.note = f"dense {len(recalled.dense)}, lexical {len(recalled.lexical)}"
        if options.mode is not Mode.HYBRID:
            name = options.mode.value
            best = ranked(recalled.dense or recalled.lexical)
            return {point: {name: stage} for point, stage in best.items()}, [(point, stage.score) for point, stage in best.items()]
        if options.fusion is Fusion.COMPLETED:
            recalled = self._complete(search, queries, recalled)
        return _fuse(search, recalled)

    def _complete(self, search: Search, queries: Queries, recalled: Recalled) -> Recalled:
        with search.recorder.step("complete", len(recalled.ids)) as step:
            full = complete(self._client, self._collection, queries, recalled)
            step.returned = len(full.ids)
            gained = len(full.dense) - len(recalled.dense), len(full.lexical) - len(recalled.lexical)
            step.note = f"scores added: dense {gained[0]}, lexical {gained[1]}"
        return full

    def _fetch(
        self, search: Search, order: list[tuple[str, float]], stages: dict[str, dict[str, Stage]], wanted: int
    ) -> tuple[list[Hit], int]:
        """Hits of the first `wanted` points that are still served, in recall order, and how many before them are not any more."""
        hits: list[Hit] = []
        asked, hidden = 0, self.hidden()  # read once, or a document could be met in its old version and then in its new one
        with search.recorder.step("fetch", len(order)) as step:
            while len(hits) < wanted and asked < len(order):
                part = order[asked : asked + wanted - len(hits)]
                asked += len(part)
                records = self._records([point for point, _ in part], hidden)
                found = {str(record.id): record for record in records}
                hits += [to_hit(found[point], score=score, stages=stages[point]) for point, score in part if point in found]
            step.returned = len(hits)
            gone = asked - len(hits)
            step.note = f"{gone} deleted or replaced since recall" if gone else ""
        return hits, gone

    def _records(self, points: Sequence[str], hidden: Collection[str], with_vectors: bool | list[str] = False) -> list[models.Record]:
        """What is still there of `points`, and not hidden since recall.

        Recall may have begun before a document's new version was hidden and written, and found both.
        """
        served = [point for point in points if point not in hidden]
        return self._client.retrieve(self._collection, served, with_payload=True, with_vectors=with_vectors)


def _provider(value: Any, method: str) -> Callable[[], Any]:
    """A function that gives the model: `value` itself if it is one (a function or a class), else a function that gives `value`."""
    return value if callable(value) and (isinstance(value, type) or not hasattr(value, method)) else lambda: value


def _as_list(vectors: ResultArray) -> list[float]:
    return cast("list[float]", np.asarray(vectors[0], dtype=np.float32).tolist())


def _diverse(records: Sequence[models.Record], recalled: Recalled, top_k: int, lambda_mult: float) -> list[Hit]:
    """Hits of the records chosen, which may be fewer than recalled: some were deleted since."""
    stages = ranked(recalled.dense)
    found = {str(record.id): record for record in records}
    points = [point for point in stages if point in found]
    if not points:
        return []
    vectors = np.array([cast("dict[str, list[float]]", found[point].vector)[DENSE] for point in points], dtype=np.float32)
    relevance = np.array([stages[point].score for point in points], dtype=np.float32)
    chosen = [points[index] for index in maximal_marginal_relevance(relevance, vectors, top_k, lambda_mult)]
    return [to_hit(found[point], score=stages[point].score, stages={Mode.DENSE.value: stages[point]}) for point in chosen]


def _fuse(search: Search, recalled: Recalled) -> tuple[dict[str, dict[str, Stage]], list[tuple[str, float]]]:
    options = search.options
    with search.recorder.step("fuse", len(recalled.ids)) as step:
        match options.fusion:
            case Fusion.COMPLETED:
                scores = completed(recalled.dense, recalled.lexical, options.dense_weight)
            case Fusion.RRF:
                scores = reciprocal_rank(recalled.dense, recalled.lexical, options.dense_weight, options.rrf_k)
            case Fusion.DBSF:
                scores = distribution_based(recalled.dense, recalled.lexical, options.dense_weight)
        by_stage = {Mode.DENSE.value: ranked(recalled.dense), Mode.LEXICAL.value: ranked(recalled.lexical), "fused": ranked(scores)}
        kept = list(by_stage["fused"])[: options.depth]
        stages = {point: {name: ranks[point] for name, ranks in by_stage.items() if point in ranks} for point in kept}
        step.returned, step.note = len(kept), f"{options.fusion.value}, the best {options.depth}"
    return stages, [(point, scores[point]) for point in kept]


def _above_recall_threshold(search: Search, order: list[tuple[str, float]]) -> list[tuple[str, float]]:
    threshold = search.options.recall_threshold
    if threshold is None:
        return order
    with search.recorder.step("recall threshold", len(order)) as step:
        kept = [(point, score) for point, score in order if score >= threshold]
        step.returned, step.note = len(kept), f"score below {threshold:g}"
    return kept


def _to_score(search: Search, hits: Sequence[Hit]) -> dict[str, Any]:
    """What `rerank` and `arerank` take of a search."""
    documents, deadline = [embedding_text(hit) for hit in hits], search.options.rerank_deadline
    return {"query": search.query, "documents": documents, "instruction": search.instruction, "deadline": deadline}


def _place(search: Search, step: Step, hits: Sequence[Hit], result: Reranked) -> list[Hit]:
    after = placed(hits, result, search.options)
    search.deadline_reached = after.unscored > 0
    step.returned, step.note = len(after.hits), after.note
    return after.hits
