"""Queries of every mode, with what narrows and cuts them; on the embedded engine and in local mode."""

from __future__ import annotations

from typing import Any

import pytest
from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore
from qdrant_client import models

from integrations.llama_index.tests.nodes import TEXTS, filled, ids, of
from qwen3_rag import Settings
from qwen3_rag.errors import ConfigurationError
from tests.fakes import HashEmbedder

Mode = VectorStoreQueryMode


@pytest.mark.parametrize("mode", [Mode.DEFAULT, Mode.SPARSE, Mode.TEXT_SEARCH, Mode.HYBRID, Mode.SEMANTIC_HYBRID, Mode.MMR])
async def test_every_mode_is_what_the_core_does(store: Qwen3VectorStore, mode: VectorStoreQueryMode):
    passages = filled(store).passages
    query = VectorStoreQuery(query_str="keys and lunch", mode=mode, similarity_top_k=3, mmr_threshold=0.3)
    expected = {
        Mode.DEFAULT: lambda: passages.search("keys and lunch", top_k=3, mode="dense", rerank=False),
        Mode.SPARSE: lambda: passages.search("keys and lunch", top_k=3, mode="lexical", rerank=False),
        Mode.TEXT_SEARCH: lambda: passages.search("keys and lunch", top_k=3, mode="lexical", rerank=False),
        Mode.HYBRID: lambda: passages.search("keys and lunch", top_k=3, mode="hybrid", rerank=False),
        Mode.SEMANTIC_HYBRID: lambda: passages.search("keys and lunch", top_k=3, mode="hybrid", rerank=True),
        Mode.MMR: lambda: passages.search_diverse("keys and lunch", top_k=3, lambda_mult=0.3),
    }[mode]()
    found, awaited = store.query(query), await store.aquery(query)
    assert found.ids == awaited.ids == [hit.id for hit in expected]
    assert found.similarities == awaited.similarities == [hit.score for hit in expected]
    assert ids(found.nodes) == found.ids


@pytest.mark.parametrize("mode", [Mode.SVM, Mode.LOGISTIC_REGRESSION, Mode.LINEAR_REGRESSION])
def test_other_modes_are_refused(store: Qwen3VectorStore, mode: VectorStoreQueryMode):
    with pytest.raises(ConfigurationError, match=f"'{mode.value}' is not implemented.*hybrid"):
        store.query(VectorStoreQuery(query_str="keys", mode=mode))


def test_semantic_hybrid_needs_a_reranker(where: str):
    with Qwen3VectorStore(where, embedder=HashEmbedder(), reranker="off") as store:
        filled(store)
        with pytest.raises(ConfigurationError, match="there is no reranker"):
            store.query(VectorStoreQuery(query_str="keys", mode=Mode.SEMANTIC_HYBRID))


def test_a_mode_that_reranks_is_not_told_otherwise(store: Qwen3VectorStore):
    filled(store)
    with pytest.raises(ConfigurationError, match="mode 'hybrid'"):
        store.query(VectorStoreQuery(query_str="keys", mode=Mode.SEMANTIC_HYBRID), rerank=False)


def test_rrf_k_is_the_constant_of_fusion_by_ranks(store: Qwen3VectorStore):
    filled(store)
    vector = HashEmbedder().embed_queries(["keys"])[0].tolist()
    query = VectorStoreQuery(query_str="keys", query_embedding=vector, mode=Mode.HYBRID, similarity_top_k=1)
    few, many = (store.query(query, fusion="rrf", rrf_k=k).similarities[0] for k in (1, 60))
    assert few == pytest.approx(many * 61 / 2)


def test_alpha_zero_is_lexical_and_one_is_dense(store: Qwen3VectorStore):
    filled(store)
    opposite = HashEmbedder().embed_queries(["lunch is served at noon"])[0].tolist()

    def best(alpha: float | None) -> str:
        query = VectorStoreQuery(query_str="keys rotated", query_embedding=opposite, mode=Mode.HYBRID, alpha=alpha, similarity_top_k=1)
        return store.query(query).ids[0]

    assert (best(0), best(0.0), best(1)) == ("keys", "keys", "lunch")
    with pytest.raises(ConfigurationError, match=r"dense_weight=1\.5"):
        best(1.5)


def test_mmr_threshold_one_is_relevance_and_zero_diversity(store: Qwen3VectorStore):
    store.add(
        [TextNode(id_=name, text=text) for name, text in (("1", "red apple"), ("2", "red apple"), ("3", "red car"), ("4", "blue sky"))]
    )

    def chosen(**given: Any) -> list[str]:
        query = VectorStoreQuery(query_str="red apple", mode=Mode.MMR, similarity_top_k=2, mmr_threshold=given.pop("threshold", None))
        return store.query(query, **given).ids

    assert set(chosen(threshold=1.0)) == set(chosen(mmr_threshold=1.0)) == {"1", "2"}
    assert chosen(threshold=0.0)[1] == chosen(mmr_threshold=0.0)[1] == "4"
    assert len(chosen(mmr_threshold=0.0, candidates=2)) == 2
    with pytest.raises(ConfigurationError, match="rerank means nothing"):
        chosen(rerank=True)


def test_numbers_of_results(store: Qwen3VectorStore):
    filled(store)

    def count(mode: VectorStoreQueryMode, **numbers: int) -> int:
        return len(store.query(VectorStoreQuery(query_str="keys lunch hall", mode=mode, **numbers)).ids)

    assert count(Mode.DEFAULT, similarity_top_k=2) == 2
    assert count(Mode.HYBRID, similarity_top_k=1, hybrid_top_k=3) == 3
    assert count(Mode.HYBRID, similarity_top_k=100, hybrid_top_k=2, sparse_top_k=200) == 2
    assert count(Mode.SPARSE, similarity_top_k=1, sparse_top_k=3) == 3
    with pytest.raises(ConfigurationError, match="top_k=0"):
        count(Mode.DEFAULT, similarity_top_k=0)


def test_hybrid_recalls_as_deep_as_the_settings_say(monkeypatch: pytest.MonkeyPatch):
    asked: list[int | None] = []
    with Qwen3VectorStore(":memory:", embedder=HashEmbedder(), reranker="off", settings=Settings.load(candidates=7)) as store:
        search = store.passages.search
        monkeypatch.setattr(
            store.passages, "search", lambda words, **options: asked.append(options["candidates"]) or search(words, **options)
        )
        filled(store).query(VectorStoreQuery(query_str="keys", mode=Mode.HYBRID, similarity_top_k=2))
        store.query(VectorStoreQuery(query_str="keys", mode=Mode.HYBRID, similarity_top_k=2, sparse_top_k=60))
    assert asked == [None, 60]


def test_an_embedding_needs_no_words(store: Qwen3VectorStore):
    vector = HashEmbedder().embed_queries(["keys"])[0].tolist()
    for mode in (Mode.DEFAULT, Mode.MMR):
        by_words = filled(store).query(VectorStoreQuery(query_str="keys", mode=mode))
        assert store.query(VectorStoreQuery(query_str="", query_embedding=vector, mode=mode)).ids == by_words.ids


def test_restricted_to_nodes_documents_and_filters(store: Qwen3VectorStore):
    filled(store).add([of("other", "new", "keys of the other document", length=1)])

    def found(**given: Any) -> set[str]:
        return set(store.query(VectorStoreQuery(query_str="keys", similarity_top_k=10, mode=Mode.HYBRID, **given)).ids)

    short = MetadataFilters(filters=[MetadataFilter(key="length", value=30, operator=FilterOperator.LT)])
    assert found(node_ids=["keys", "x/y?z=1#ü", "nowhere"]) == {"keys", "x/y?z=1#ü"}
    assert found(doc_ids=["other"]) == {"new"}
    assert found(filters=short) == {"new", "rota"}
    assert found(filters=short, doc_ids=["handbook"]) == {"rota"}
    assert found(filters=short, doc_ids=["handbook"], node_ids=["new"]) == set()
    assert found(node_ids=[], doc_ids=[]) == {*TEXTS, "new"}
    query = VectorStoreQuery(query_str="keys", similarity_top_k=10, filters=short)
    replaced = models.Filter(must=[models.FieldCondition(key="metadata.length", match=models.MatchValue(value=1))])
    assert store.query(query, qdrant_filters=replaced).ids == ["new"]


@pytest.mark.parametrize(
    ("query", "given", "says"),
    [
        (VectorStoreQuery(), {}, "query_str"),
        (VectorStoreQuery(query_embedding=[0.1] * 64, mode=Mode.HYBRID), {}, "needs `query_str`"),
        (VectorStoreQuery(query_str="x", mode=Mode.SPARSE, embedding_field="other"), {}, "embedding_field"),
        (VectorStoreQuery(query_str="x"), {"search_params": {}}, "does not take search_params"),
        (VectorStoreQuery(query_str="  "), {}, "empty"),
    ],
)
async def test_queries_that_cannot_be_answered(store: Qwen3VectorStore, query: VectorStoreQuery, given: dict[str, Any], says: str):
    filled(store)
    with pytest.raises(ConfigurationError, match=says):
        store.query(query, **given)
    with pytest.raises(ConfigurationError, match=says):
        await store.aquery(query, **given)


@pytest.mark.parametrize("option", ["rerank_threshold", "rerank_weight", "rerank_deadline"])
@pytest.mark.parametrize("mode", [Mode.DEFAULT, Mode.SPARSE, Mode.TEXT_SEARCH, Mode.HYBRID])
async def test_an_option_of_reranking_needs_reranking(store: Qwen3VectorStore, mode: VectorStoreQueryMode, option: str):
    query = VectorStoreQuery(query_str="keys rotated days", similarity_top_k=4, mode=mode)
    for given in ({}, {"rerank": False}):
        with pytest.raises(ConfigurationError, match=rf"{option} needs rerank=True or mode 'semantic_hybrid'"):
            store.query(query, **given, **{option: 0.9})
        with pytest.raises(ConfigurationError, match=rf"{option} needs rerank=True or mode 'semantic_hybrid'"):
            await store.aquery(query, **given, **{option: 0.9})
    filled(store)
    for rerank in (True, None):  # None reranks where there is a reranker
        assert store.query(query, rerank=rerank, **{option: 0.9}).ids[0] == "keys"
    reranked = VectorStoreQuery(query_str="keys rotated days", mode=Mode.SEMANTIC_HYBRID)
    assert store.query(reranked, **{option: 0.9}).ids[0] == "keys"
    assert store.query(query, **{option: None}).ids == store.query(query).ids


def test_keywords_of_the_core_reach_it(store: Qwen3VectorStore):
    filled(store)
    query = VectorStoreQuery(query_str="keys rotated days", similarity_top_k=4)
    assert store.query(query, rerank=True, rerank_threshold=0.9).ids == ["keys"]
    assert store.query(query, rerank=True, rerank_weight=0.0).ids == store.query(query).ids
    assert store.query(query, recall_threshold=2.0).ids == []


def test_a_mode_may_be_given_by_its_name(store: Qwen3VectorStore):
    filled(store)
    by_name, by_member = (store.query(VectorStoreQuery(query_str="keys", mode=mode)) for mode in ("hybrid", Mode.HYBRID))
    assert by_name.ids == by_member.ids != []
    with pytest.raises(ConfigurationError, match="'svm' is not implemented"):
        store.query(VectorStoreQuery(query_str="keys", mode="svm"))
    with pytest.raises(ConfigurationError, match="'nonsense' is not implemented"):
        store.query(VectorStoreQuery(query_str="keys", mode="nonsense"))
    with pytest.raises(ConfigurationError, match="means nothing in mode 'mmr'"):
        store.query(VectorStoreQuery(query_str="keys", mode="mmr"), fusion="rrf")
