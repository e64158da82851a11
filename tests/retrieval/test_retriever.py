from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NoReturn

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from qwen3_rag.errors import ConfigurationError, FilterError
from qwen3_rag.models.base import ResultArray
from qwen3_rag.retrieval import Retriever
from qwen3_rag.retrieval.blending import blended
from qwen3_rag.retrieval.options import resolve
from qwen3_rag.settings import RetrievalSettings, StoreSettings
from qwen3_rag.store import open_client
from qwen3_rag.store.points import assign_point_ids, to_point
from qwen3_rag.store.schema import ensure_collection
from qwen3_rag.store.sparse import Bm25Encoder
from qwen3_rag.types import Chunk, Document, Fusion, Hits, Mode
from tests.fakes import HashEmbedder, OverlapReranker

TEXTS = {
    "keys": "Signing keys are rotated every ninety days by the platform team.",
    "locks": "Door locks are changed when a key is lost.",
    "lunch": "Lunch is served at noon in the canteen.",
    "dinner": "Dinner is served in the canteen on Fridays.",
    "backup": "Backups are encrypted with keys kept in the vault.",
    "vault": "The vault keeps signing keys and secrets of every team.",
    "bikes": "Bikes are parked behind the canteen.",
}
EMBEDDER = HashEmbedder()


def index(client: QdrantClient, documents: Sequence[Document]) -> None:
    ensure_collection(client, StoreSettings(), EMBEDDER.space)
    chunks = [Chunk(document.id, 0, document.text, 0, len(document.text), (), document.title, 0, "en") for document in documents]
    dense = EMBEDDER.embed_documents([chunk.embedding_text for chunk in chunks])
    lexical = Bm25Encoder().documents([chunk.embedding_text for chunk in chunks], ["en"] * len(chunks))
    ids = assign_point_ids(chunks)
    points = [to_point(*parts) for parts in zip(ids, chunks, documents, dense, lexical, strict=True)]
    client.upsert("documents", points, wait=True)


@pytest.fixture(scope="module", params=["memory", "embedded"])
def client(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QdrantClient]:
    path = ":memory:" if request.param == "memory" else str(tmp_path_factory.mktemp("retriever"))
    client = open_client(StoreSettings(path=path))
    index(client, [Document(name, text, metadata={"length": len(text)}, source=f"{name}.md") for name, text in TEXTS.items()])
    yield client
    client.close()


def retriever(client: QdrantClient, reranker: Any = None, embedder: Any = EMBEDDER, **settings: Any) -> Retriever:
    return Retriever(client, "documents", embedder, reranker, RetrievalSettings(**settings), lambda: {"en": 1})


def names(hits: Hits) -> list[str]:
    return [hit.document_id for hit in hits]


def never() -> NoReturn:
    raise AssertionError("asked for a model that this search does not need")


def brute_force(query: str) -> tuple[dict[str, float], dict[str, float]]:
    """Every document's dense and BM25 score, without a store."""
    names, texts = list(TEXTS), list(TEXTS.values())
    dense = EMBEDDER.embed_documents(texts) @ EMBEDDER.embed_queries([query])[0]
    encoder = Bm25Encoder()
    vectors = [dict(zip(v.indices, v.values, strict=True)) for v in encoder.documents(texts, ["en"] * len(texts))]
    terms = encoder.query(query, "en").indices

    def idf(term: int) -> float:
        holding = sum(term in vector for vector in vectors)
        return float(np.log((len(vectors) - holding + 0.5) / (holding + 0.5) + 1))

    lexical = {name: sum(vector.get(term, 0.0) * idf(term) for term in terms) for name, vector in zip(names, vectors, strict=True)}
    return dict(zip(names, map(float, dense), strict=True)), lexical


@pytest.mark.parametrize("depth", [2, 50])
def test_hybrid_scores_every_candidate_by_both_rankers(client: QdrantClient, depth: int) -> None:
    query = "rotated signing keys"
    dense, lexical = brute_force(query)
    hits = retriever(client).search(query, top_k=2, candidates=depth)
    assert names(hits)[0] == "keys"
    for hit in hits:
        assert hit.stages["dense"].score == pytest.approx(dense[hit.document_id], abs=1e-5)
        assert hit.stages.get("lexical") is None or hit.stages["lexical"].score == pytest.approx(lexical[hit.document_id], abs=1e-4)
        assert ("lexical" in hit.stages) == (lexical[hit.document_id] > 0)
        assert hit.score == hit.stages["fused"].score
    assert [hit.stages["fused"].rank for hit in hits] == [1, 2]


def test_completion_asks_for_what_one_ranker_missed(client: QdrantClient) -> None:
    query = "canteen team of the vault"
    hits = retriever(client).search(query, top_k=1, candidates=2, explain=True)
    trace = hits.trace
    assert trace is not None
    assert [step.name for step in trace.steps] == ["load reranker", "embed", "analyse", "recall", "complete", "fuse", "fetch", "trim"]
    assert trace.mode is Mode.HYBRID
    assert trace.fusion is Fusion.COMPLETED
    assert trace.language == "en"
    assert all(step.seconds >= 0 for step in trace.steps)
    fuse = next(step for step in trace.steps if step.name == "fuse")
    assert fuse.returned == 2


@pytest.mark.parametrize(("mode", "stage"), [("dense", "dense"), ("lexical", "lexical")])
def test_one_ranker_alone(client: QdrantClient, mode: str, stage: str) -> None:
    query = "keys in the vault"
    scores = brute_force(query)[0 if mode == "dense" else 1]
    expected = sorted((name for name in TEXTS if mode == "dense" or scores[name] > 0), key=lambda name: -scores[name])
    hits = retriever(client).search(query, mode=mode, explain=True)
    assert names(hits)[:3] == expected[:3]
    assert len(hits) == len(expected)
    assert all(set(hit.stages) == {stage} for hit in hits)
    assert [hit.stages[stage].rank for hit in hits] == list(range(1, len(hits) + 1))
    assert hits.trace is not None
    assert hits.trace.fusion is None


def test_lexical_mode_needs_no_model(client: QdrantClient) -> None:
    assert names(retriever(client, embedder=never).search("canteen", mode=Mode.LEXICAL, rerank=False))


def test_models_are_asked_for_when_first_needed(client: QdrantClient) -> None:
    hits = retriever(client, embedder=lambda: EMBEDDER, reranker=OverlapReranker).search("signing keys", top_k=2)
    assert all(hit.reranked for hit in hits)
    assert retriever(client, reranker=lambda: None).search("signing keys", top_k=1)[0].reranked is None


@pytest.mark.parametrize("fusion", list(Fusion))
def test_every_fusion_finds_the_answer(client: QdrantClient, fusion: Fusion) -> None:
    hits = retriever(client, fusion=fusion).search("signing keys rotated")
    assert names(hits)[0] == "keys"
    assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
    assert all({"fused"} < set(hit.stages) <= {"dense", "lexical", "fused"} for hit in hits)


def test_fusion_weight_is_a_setting(client: QdrantClient) -> None:
    query = "keys in the vault"
    dense_only = retriever(client, dense_weight=1.0).search(query)
    assert names(dense_only) == names(retriever(client).search(query, mode="dense"))


def test_filters_hold_in_both_rankers(client: QdrantClient) -> None:
    found = retriever(client).search("signing keys", filters={"source": ["locks.md", "lunch.md"]})
    assert set(names(found)) == {"locks", "lunch"}
    same = models.Filter(must=[models.FieldCondition(key="source", match=models.MatchAny(any=["locks.md", "lunch.md"]))])
    assert names(retriever(client).search("signing keys", filters=same)) == names(found)
    assert retriever(client).search("signing keys", filters={"length": {"$gt": 1000}}) == []


def test_a_query_of_stopwords_is_searched_by_meaning_alone(client: QdrantClient) -> None:
    assert len(retriever(client).search("who is it", top_k=3)) == 3
    assert retriever(client).search("who is it", mode="lexical") == []


def test_reranking_orders_and_keeps_every_stage(client: QdrantClient) -> None:
    reranker = OverlapReranker()
    hits = retriever(client, reranker).search("vault keeps signing keys", top_k=3, candidates=5, explain=True)
    assert hits[0].document_id == "vault"
    assert [hit.stages["rerank"].rank for hit in hits] == [1, 2, 3]
    assert all(hit.score == hit.stages["rerank"].score for hit in hits)
    assert all({"dense", "fused", "rerank"} <= set(hit.stages) for hit in hits)
    assert len(reranker.scored) == 5


def test_the_reranker_reads_title_and_text() -> None:
    client, reranker = QdrantClient(":memory:"), OverlapReranker()
    index(client, [Document("a", "They are changed yearly.", title="Door locks")])
    retriever(client, reranker).search("locks")
    assert reranker.scored == ["Door locks\nThey are changed yearly."]


class CuttingReranker(OverlapReranker):
    """Cuts every document, and remembers its instruction."""

    instruction: str | None = None

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None) -> ResultArray:
        self.instruction = instruction
        return ResultArray.of(super().score(query, documents), [True] * len(documents))


def test_truncation_and_instruction_reach_the_right_place(client: QdrantClient) -> None:
    reranker = CuttingReranker()
    searcher = Retriever(client, "documents", EMBEDDER, reranker, RetrievalSettings(), lambda: {"en": 1}, instruction="Find rules")
    hits = searcher.search("keys", explain=True)
    assert all(hit.truncated for hit in hits)
    assert reranker.instruction == "Find rules"
    searcher.search("keys", instruction="Find facts")
    assert reranker.instruction == "Find facts"
    assert hits.trace is not None
    assert hits.trace.instruction == "Find rules"


def test_what_the_deadline_leaves_follows_in_recall_order(client: QdrantClient) -> None:
    class Sluggish(OverlapReranker):
        def score(self, query: str, documents: Sequence[str], instruction: str | None = None) -> ResultArray:
            import time

            time.sleep(0.02)
            return super().score(query, documents)

    recalled = names(retriever(client).search("signing keys", top_k=7))
    hits = retriever(client, Sluggish()).search("signing keys", top_k=7, rerank_deadline=0.001, explain=True)
    assert [hit.reranked for hit in hits] == [True] * 4 + [False] * 3
    assert names(hits)[4:] == recalled[4:]
    assert set(names(hits)[:4]) == set(recalled[:4])
    assert all("rerank" not in hit.stages and hit.score == hit.stages["fused"].score for hit in hits[4:])
    assert hits.trace is not None
    assert hits.trace.deadline_reached
    assert "left 3 unscored" in next(step.note for step in hits.trace.steps if step.name == "rerank")


def test_thresholds_apply_to_their_own_stage(client: QdrantClient) -> None:
    above = retriever(client).search("signing keys", recall_threshold=0.5)
    assert 0 < len(above) < len(TEXTS)
    assert all(hit.stages["fused"].score >= 0.5 for hit in above)
    reranked = retriever(client, OverlapReranker()).search("signing keys", rerank_threshold=0.9, explain=True)
    assert names(reranked)
    assert all(hit.stages["rerank"].score >= 0.9 for hit in reranked)
    assert retriever(client, OverlapReranker()).search("signing keys", recall_threshold=100.0) == []
    assert reranked.trace is not None
    assert "below 0.9" in next(step.note for step in reranked.trace.steps if step.name == "rerank")


def blends(hits: Hits) -> list[float]:
    return [hit.stages["blended"].score for hit in hits]


def test_recall_has_a_say_in_the_order_where_it_is_given_one(client: QdrantClient) -> None:
    query = "keys are in the canteen by the team"
    recalled, alone = retriever(client).search(query, top_k=7), retriever(client, OverlapReranker()).search(query, top_k=7)
    hits = retriever(client, OverlapReranker(), rerank_weight=0.5).search(query, top_k=7, explain=True)
    fused, shares = [hit.stages["fused"].score for hit in hits], [hit.stages["rerank"].score for hit in hits]
    assert blends(hits) == pytest.approx(blended(shares, fused, 0.5))
    assert blends(hits) == sorted(blends(hits), reverse=True)
    assert [hit.stages["blended"].rank for hit in hits] == list(range(1, 8))
    assert names(hits) not in (names(recalled), names(alone))
    assert {hit.document_id: hit.stages["rerank"] for hit in hits} == {hit.document_id: hit.stages["rerank"] for hit in alone}
    assert all(hit.reranked and hit.score == hit.stages["rerank"].score for hit in hits)
    assert hits.trace is not None
    assert next(step.note for step in hits.trace.steps if step.name == "rerank") == "blended with recall, rerank_weight 0.5"


@pytest.mark.parametrize(("mode", "stage"), [("hybrid", "fused"), ("dense", "dense"), ("lexical", "lexical")])
def test_the_score_that_ordered_recall_is_blended(client: QdrantClient, mode: str, stage: str) -> None:
    hits = retriever(client, OverlapReranker()).search("canteen keys", mode=mode, rerank_weight=0.3)
    assert blends(hits) == pytest.approx(
        blended([hit.stages["rerank"].score for hit in hits], [hit.stages[stage].score for hit in hits], 0.3)
    )


def test_the_whole_weight_and_none(client: QdrantClient) -> None:
    searcher = retriever(client, OverlapReranker(), rerank_weight=0.5)
    plain = retriever(client, OverlapReranker()).search("keys are in the canteen by the team", explain=True)
    whole = searcher.search("keys are in the canteen by the team", rerank_weight=1, explain=True)
    assert whole == plain
    assert all("blended" not in hit.stages for hit in whole)
    assert whole.trace is not None
    assert all("blended" not in step.note for step in whole.trace.steps)
    assert names(searcher.search("keys are in the canteen by the team", rerank_weight=0)) == names(
        searcher.search("keys are in the canteen by the team", rerank=False)
    )


def test_a_threshold_drops_hits_and_reorders_none(client: QdrantClient) -> None:
    searcher = retriever(client, OverlapReranker(), rerank_weight=0.4)
    every = searcher.search("keys are in the canteen by the team")
    above = searcher.search("keys are in the canteen by the team", rerank_threshold=0.3)
    assert 0 < len(above) < len(every)
    assert above == [hit for hit in every if hit.score >= 0.3]


def test_what_the_deadline_leaves_is_not_blended(client: QdrantClient) -> None:
    class HalfDone(OverlapReranker):
        def score(self, query: str, documents: Sequence[str], instruction: str | None = None, deadline: float | None = None) -> ResultArray:
            scores = np.array(super().score(query, documents))
            scores[4:] = np.nan
            return ResultArray.of(scores, [False] * len(scores))

    recalled = names(retriever(client).search("keys are in the canteen by the team"))
    hits = retriever(client, HalfDone()).search("keys are in the canteen by the team", rerank_deadline=1.0, rerank_weight=0.5)
    assert ["blended" in hit.stages for hit in hits] == [hit.reranked for hit in hits] == [True] * 4 + [False] * 3
    assert blends(Hits(hits[:4])) == pytest.approx(
        blended([hit.stages["rerank"].score for hit in hits[:4]], [hit.stages["fused"].score for hit in hits[:4]], 0.5)
    )
    assert names(hits)[4:] == recalled[4:]
    assert (
        names(retriever(client, HalfDone()).search("keys are in the canteen by the team", rerank_deadline=1.0, rerank_weight=0)) == recalled
    )


def test_points_deleted_meanwhile_make_room_for_the_next(client: QdrantClient) -> None:
    class Forgetful:
        """Has lost the best point between recall and fetch."""

        def __init__(self, lost: str) -> None:
            self._lost = lost

        def __getattr__(self, name: str) -> Any:
            return getattr(client, name)

        def retrieve(self, collection: str, ids: list[str], **options: Any) -> list[models.Record]:
            return [record for record in client.retrieve(collection, ids, **options) if str(record.id) != self._lost]

    best = retriever(client).search("signing keys", top_k=3)
    forgetful: Any = Forgetful(best[0].point_id)
    forgetful._client = client._client
    hits = retriever(forgetful).search("signing keys", top_k=2, explain=True)
    assert names(hits) == names(best)[1:]
    assert hits.trace is not None
    assert any("1 deleted or replaced since recall" in step.note for step in hits.trace.steps)


@pytest.mark.parametrize("diverse", [False, True])
def test_points_hidden_while_recall_ran_are_left_out_and_recall_is_asked_again(client: QdrantClient, diverse: bool) -> None:
    def found(hidden: Callable[[], frozenset[str]]) -> list[str]:
        searching = Retriever(client, "documents", EMBEDDER, None, RetrievalSettings(), lambda: {"en": 1}, hidden=hidden)
        search = searching.search_diverse if diverse else searching.search
        return [hit.point_id for hit in search("signing keys", top_k=3)]

    before = found(frozenset)
    read: list[int] = []

    def late() -> frozenset[str]:  # a batch begins right behind the first look
        read.append(1)
        return frozenset(before[:1] if len(read) > 1 else ())

    def restless() -> frozenset[str]:  # and another one with every look
        read.append(1)
        return frozenset(before[:1] if len(read) % 2 == 0 else ())

    assert len(before) == 3
    assert found(late) == found(lambda: frozenset(before[:1]))
    read.clear()
    assert not set(found(restless)) & set(before[:1])


def test_equal_passages_keep_one_order_and_are_all_returned() -> None:
    client = QdrantClient(":memory:")
    index(client, [Document(name, "The same passage.") for name in "abcde"])
    first = retriever(client).search("same passage")
    assert len(first) == 5
    assert [hit.point_id for hit in first] == sorted(hit.point_id for hit in first)
    assert first == retriever(client).search("same passage")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"top_k": 0}, "top_k=0"),
        ({"top_k": 1.5}, "top_k=1.5"),
        ({"candidates": 0}, "candidates=0"),
        ({"candidates": 3, "top_k": 5}, "less than top_k=5"),
        ({"mode": "fuzzy"}, "hybrid, dense, lexical"),
        ({"fusion": "sum"}, "completed, rrf, dbsf"),
        ({"rerank": True}, "no reranker"),
        ({"rerank_deadline": 0.0}, "rerank_deadline"),
        ({"rerank_weight": 1.5}, r"rerank_weight=1\.5 is not a number between 0 and 1"),
        ({"rerank_weight": -0.1}, "rerank_weight"),
        ({"rerank_weight": float("nan")}, "rerank_weight"),
        ({"rerank_weight": "half"}, "rerank_weight='half'"),
        ({"recall_threshold": float("nan")}, "recall_threshold"),
    ],
)
def test_bad_arguments_are_named(client: QdrantClient, arguments: dict[str, Any], says: str) -> None:
    with pytest.raises(ConfigurationError, match=says):
        retriever(client).search("keys", **arguments)
    with pytest.raises(ConfigurationError, match=says):
        asyncio.run(retriever(client).asearch("keys", **arguments))


@pytest.mark.parametrize("query", ["", "  \n\t"])
def test_an_empty_query_is_refused(client: QdrantClient, query: str) -> None:
    with pytest.raises(ConfigurationError, match="empty"):
        retriever(client).search(query)


def test_a_bad_filter_is_refused_before_any_model_loads(client: QdrantClient) -> None:
    with pytest.raises(FilterError, match=r"\$near"):
        retriever(client, embedder=never).search("keys", filters={"a": {"$near": 1}})
    with pytest.raises(FilterError, match=r"\$near"):
        asyncio.run(retriever(client, embedder=never).asearch("keys", filters={"a": {"$near": 1}}))
    with pytest.raises(FilterError, match=r"\$near"):
        retriever(client, embedder=never).search_diverse("keys", filters={"a": {"$near": 1}})


@pytest.mark.parametrize("search", [Retriever.search, Retriever.search_diverse])
def test_what_is_hidden_while_the_query_is_embedded_is_not_found(client: QdrantClient, search: Callable[..., Hits]) -> None:
    hidden: set[str] = set()

    class Slow(HashEmbedder):
        def embed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
            hidden.add(first)
            return super().embed_queries(texts, instruction, dim)

    first = search(retriever(client), "signing keys", top_k=1)[0].point_id
    searcher = Retriever(client, "documents", Slow(), None, RetrievalSettings(), lambda: {"en": 1}, hidden=lambda: hidden)
    assert first not in {hit.point_id for hit in search(searcher, "signing keys")}


def test_an_empty_collection_gives_no_hits() -> None:
    client = QdrantClient(":memory:")
    ensure_collection(client, StoreSettings(), EMBEDDER.space)
    assert retriever(client, OverlapReranker()).search("anything") == []


def test_depth_is_several_times_top_k() -> None:
    assert resolve(RetrievalSettings()).depth == 50
    assert resolve(RetrievalSettings(), top_k=30).depth == 150
    assert resolve(RetrievalSettings(candidates=20), top_k=10).depth == 20


def test_languages_are_asked_for_at_each_search(client: QdrantClient) -> None:
    held = {"en": 1}
    searcher = Retriever(client, "documents", EMBEDDER, None, RetrievalSettings(), lambda: held)
    assert searcher.search("Wo sind die Schlüssel?", explain=True).trace.language == "en"  # type: ignore[union-attr]
    held["de"] = 1
    assert searcher.search("Wo sind die Schlüssel?", explain=True).trace.language == "de"  # type: ignore[union-attr]


@pytest.mark.parametrize("query", ["illness", "number", "partner", "january"])
def test_one_foreign_passage_does_not_change_how_a_word_is_read(query: str) -> None:
    client = QdrantClient(":memory:")
    text = "Call in case of illness. The numbers of both partners are in the January list."
    index(client, [Document("rules", text)])
    searcher = Retriever(client, "documents", EMBEDDER, None, RetrievalSettings(mode="lexical"), lambda: {"en": 200, "sv": 1})
    assert names(searcher.search(query)) == ["rules"]


def test_a_setting_of_recall_holds_for_diverse_hits_too(client: QdrantClient) -> None:
    assert len(retriever(client, recall_threshold=0.3).search_diverse("signing keys", top_k=7)) == len(TEXTS)  # hybrid: no cosine
    near = retriever(client, mode="dense", recall_threshold=0.3).search_diverse("signing keys", top_k=7)
    every = retriever(client).search_diverse("signing keys", top_k=7)
    assert 0 < len(near) < len(every) == len(TEXTS)
    assert {hit.document_id for hit in near} == {hit.document_id for hit in every if hit.score >= 0.3}


def test_fusion_is_weighted_by_the_call(client: QdrantClient) -> None:
    query, searcher = "signing keys in the canteen", retriever(client)
    for mode, weight in (("dense", 1.0), ("lexical", 0.0)):
        hits = searcher.search(query, dense_weight=weight, top_k=7)
        scores = [hit.stages[mode].score if mode in hit.stages else 0.0 for hit in hits]
        assert scores == sorted(scores, reverse=True)
    for k in (1, 60):
        best = searcher.search(query, fusion="rrf", rrf_k=k, top_k=1)[0]
        assert best.score == pytest.approx(sum(1 / (k + best.stages[mode].rank) for mode in ("dense", "lexical")))


@pytest.mark.parametrize("off", [False, 0, np.False_])
def test_reranking_is_turned_off_by_whatever_is_false(client: QdrantClient, off: Any) -> None:
    reranker = OverlapReranker()
    assert all(hit.reranked is None for hit in retriever(client, reranker).search("keys", rerank=off))
    assert reranker.scored == []


class AsyncReranker(OverlapReranker):
    """Counts how many calls are under way at once, and takes its time."""

    def __init__(self) -> None:
        super().__init__()
        self.running = self.most = 0

    async def ascore(
        self, query: str, documents: Sequence[str], instruction: str | None = None, deadline: float | None = None
    ) -> ResultArray:
        self.running += 1
        self.most = max(self.most, self.running)
        await asyncio.sleep(0.5)
        self.running -= 1
        return OverlapReranker.score(self, query, documents)

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None) -> ResultArray:
        raise AssertionError("an async search has the async method")


async def test_concurrent_searches_are_reranked_together(client: QdrantClient) -> None:
    reranker, plain = AsyncReranker(), retriever(client, OverlapReranker()).search("signing keys", top_k=3)
    found = await asyncio.gather(*(retriever(client, reranker).asearch("signing keys", top_k=3, explain=True) for _ in range(20)))
    assert reranker.most > 10
    assert all([(hit.document_id, hit.score) for hit in hits] == [(hit.document_id, hit.score) for hit in plain] for hits in found)


async def test_an_async_trace_has_every_step(client: QdrantClient) -> None:
    searcher = retriever(client, OverlapReranker())
    there, here = await searcher.asearch("signing keys", explain=True), searcher.search("signing keys", explain=True)
    assert there.trace is not None
    assert here.trace is not None
    assert {step.name: step.note for step in there.trace.steps} == {step.name: step.note for step in here.trace.steps}
    assert "known already" not in [step.note for step in there.trace.steps]


def test_any_point_id_is_found_again() -> None:
    client = QdrantClient(":memory:")
    index(client, [Document("a", "Some words here.")])
    hit = retriever(client).search("words")[0]
    assert uuid.UUID(hit.point_id).version == 5
    assert client.retrieve("documents", [hit.point_id])[0].payload["document_id"] == "a"  # type: ignore[index]
