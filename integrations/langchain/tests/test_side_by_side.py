"""What the stock components do and what these do, both run: each test is a row of docs/integrations.md."""

from __future__ import annotations

import copy
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_classic.embeddings import CacheBackedEmbeddings
from langchain_classic.indexes import SQLRecordManager
from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
from langchain_classic.retrievers.document_compressors.cross_encoder import BaseCrossEncoder
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_core.indexing import index
from langchain_core.stores import InMemoryByteStore
from langchain_core.vectorstores import VectorStore
from langchain_qdrant import QdrantVectorStore, RetrievalMode, SparseEmbeddings, SparseVector
from langchain_tests.integration_tests import VectorStoreIntegrationTests
from qdrant_client import QdrantClient, models
from sqlalchemy import create_engine, text

from integrations.langchain.tests.fakes import InstructedEmbedder, NativeEmbedder
from langchain_qwen3_rag import Qwen3Embeddings, Qwen3RecordManager, Qwen3Reranker, Qwen3Retriever, Qwen3VectorStore
from qwen3_rag.catalog import Catalog
from qwen3_rag.settings import CatalogSettings
from tests.fakes import HashEmbedder, OverlapReranker


class Table(Embeddings):
    """Vectors by a text's first word."""

    def __init__(self, **vectors: list[float]) -> None:
        self.vectors = vectors

    def embed_query(self, text: str) -> list[float]:
        return self.vectors.get(text.split()[0], self.vectors["query"])

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [self.embed_query(text) for text in texts]


class Words(SparseEmbeddings):
    """One index a word."""

    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> SparseVector:
        words = sorted(set(text.split()))
        return SparseVector(indices=[sum(map(ord, word)) for word in words], values=[1.0] * len(words))


@pytest.fixture
def stock() -> Iterator[Callable[..., QdrantVectorStore]]:
    """Makes langchain-qdrant's store."""
    clients: list[QdrantClient] = []

    def make(embedding: Embeddings, **options: Any) -> QdrantVectorStore:
        clients.append(QdrantClient(":memory:"))
        size = len(embedding.embed_query("query"))
        sparse = {"langchain-sparse": models.SparseVectorParams()} if options else None
        clients[-1].create_collection(
            "c", vectors_config=models.VectorParams(size=size, distance=models.Distance.COSINE), sparse_vectors_config=sparse
        )
        return QdrantVectorStore(clients[-1], "c", embedding, sparse_vector_name="langchain-sparse", **options)

    yield make
    for client in clients:
        client.close()


@pytest.fixture
def ours() -> Iterator[Callable[..., Qwen3VectorStore]]:
    opened: list[Qwen3VectorStore] = []

    def make(embedding: Any, **options: Any) -> Qwen3VectorStore:
        opened.append(Qwen3VectorStore(":memory:", embedding, **({"reranker": "off"} | options)))
        return opened[-1]

    yield make
    for store in opened:
        store.close()


Make = Callable[..., VectorStore]
UUIDS = [f"00000000-0000-0000-0000-00000000000{number}" for number in range(5)]


def hash_embeddings() -> Qwen3Embeddings:
    return Qwen3Embeddings(embedder=HashEmbedder())


async def failures(make: Make) -> list[str]:
    """Which tests of LangChain's suite a store does not pass, each with a new one."""

    class Suite(VectorStoreIntegrationTests):
        @pytest.fixture
        def vectorstore(self) -> VectorStore:
            raise NotImplementedError

    suite, failed = Suite(), []
    for name in [name for name in dir(suite) if name.startswith("test_") and "OVERRIDE" not in name]:
        try:
            result = getattr(suite, name)(make(suite.get_embeddings()))
            if name.endswith("async"):
                await result
        except Exception:  # noqa: BLE001 - whatever a test fails with
            failed.append(name)
    return failed


async def test_standard_suite(stock: Make, ours: Make):
    assert len(await failures(stock)) == 16
    assert await failures(ours) == []


def test_any_text_is_an_id(stock: Make, ours: Make):
    with pytest.raises(ValueError, match="not a valid UUID"):
        stock(hash_embeddings()).add_texts(["x"], ids=["doc-1"])
    assert ours(hash_embeddings()).add_texts(["x"], ids=["doc-1"]) == ["doc-1"]


def test_documents_have_their_id_and_metadata_untouched(stock: Make, ours: Make):
    found: dict[str, Document] = {}
    for name, make in (("stock", stock), ("ours", ours)):
        store = make(hash_embeddings())
        store.add_texts(["x"], [{"n": 1}], ids=UUIDS[:1])
        [found[name]] = store.similarity_search("x", k=1)
    assert found["stock"].id is None
    assert found["stock"].metadata == {"n": 1, "_id": UUIDS[0], "_collection_name": "c"}
    assert found["ours"] == Document("x", id=UUIDS[0], metadata={"n": 1})


def test_lambda_of_diversity(stock: Make, ours: Make):
    """LangChain: 1 is least diverse, 0 most."""
    table = Table(query=[1.0, 0.0, 0.0], near=[0.99, 0.1, 0.0], twin=[0.99, 0.11, 0.0], far=[0.3, 0.0, 0.95])
    chosen = {}
    for name, make in (("stock", stock), ("ours", ours)):
        store = make(table)
        store.add_texts(["near", "twin", "far"])
        chosen[name] = [document.page_content for document in store.max_marginal_relevance_search("query", k=2, lambda_mult=1.0)]
    assert chosen == {"stock": ["near", "far"], "ours": ["near", "twin"]}


def test_hybrid_search_sees_more_than_k_candidates(stock: Make, ours: Make):
    """The best document is second for either ranker, behind one that the other does not think much of."""
    table = Table(query=[1.0, 0.0], dense=[1.0, 0.05], lexical=[0.0, 1.0], both=[0.95, 0.3], rest=[-0.5, 1.0])
    texts = ["dense nothing", "lexical apple pie cake", "both apple pie tart", "rest one", "rest two", "rest three"]
    stores = stock(table, sparse_embedding=Words(), retrieval_mode=RetrievalMode.HYBRID), ours(table)
    best = []
    for store in stores:
        store.add_texts(texts)
        best.append(store.similarity_search("query apple pie cake", k=1)[0].page_content)
    assert best[0] in ("dense nothing", "lexical apple pie cake")
    assert best[1] == "both apple pie tart"


def test_hybrid_search_needs_no_second_model(stock: Make, ours: Make):
    with pytest.raises(ValueError, match="sparse"):
        stock(hash_embeddings(), retrieval_mode=RetrievalMode.HYBRID)
    store = ours(hash_embeddings())
    store.add_texts(["E4711", "something else"])
    assert store.similarity_search("E4711", k=1)[0].page_content == "E4711"


def test_filters_are_plain_mappings(stock: Make, ours: Make):
    texts, metadatas, wanted = ["one", "two"], [{"year": 2020}, {"year": 2024}], {"year": {"$gte": 2021}}
    stores = stock(hash_embeddings()), ours(hash_embeddings())
    for store in stores:
        store.add_texts(texts, copy.deepcopy(metadatas))
    with pytest.raises((AttributeError, TypeError, ValueError)):
        stores[0].similarity_search("one", filter=wanted)
    assert [document.page_content for document in stores[1].similarity_search("one", filter=wanted)] == ["two"]


def test_relevance_of_what_has_nothing_to_do_with_the_query(stock: Make, ours: Make):
    table = Table(query=[1.0, 0.0], other=[0.0, 1.0])
    relevance = []
    for make in (stock, ours):
        store = make(table)
        store.add_texts(["other"])
        relevance.append(store.similarity_search_with_relevance_scores("query", k=1)[0][1])
    assert relevance == pytest.approx([0.5, 0.0], abs=1e-3)


def test_incremental_indexing_with_a_strong_hash(stock: Make, ours: Make):
    with pytest.raises(ValueError, match="not a valid UUID"):
        index([Document("x")], _sql_records(), stock(hash_embeddings()), key_encoder="sha256")
    with Qwen3RecordManager("ns", ":memory:") as records:
        result = index([Document("x")], records, ours(hash_embeddings()), key_encoder="sha256")
    assert result["num_added"] == 1


async def test_async_search_uses_async_embedding(stock: Make, ours: Make):
    for make, expected in ((stock, 0), (ours, 1)):
        embedder = NativeEmbedder()
        store = make(Qwen3Embeddings(embedder=embedder))
        store.add_texts(["x"])
        await store.asimilarity_search("x")
        assert embedder.calls == expected


class OverlapCrossEncoder(BaseCrossEncoder):
    def score(self, text_pairs: list[tuple[str, str]]) -> list[float]:
        return [float(OverlapReranker().score(query, [document])[0]) for query, document in text_pairs]


def test_reranked_documents_have_their_score():
    documents = [Document("lunch", metadata={"n": 1}), Document("keys", metadata={"n": 2})]
    [stock] = CrossEncoderReranker(model=OverlapCrossEncoder(), top_n=1).compress_documents(documents, "keys")
    [ours] = Qwen3Reranker(reranker=OverlapReranker(), top_n=1).compress_documents(documents, "keys")
    assert stock is documents[1]
    assert stock.metadata == {"n": 2}
    assert ours is not documents[1]
    assert ours.metadata == {"n": 2, "relevance_score": 1.0}


def test_retrieved_documents_have_their_scores(stock: Make, ours: Make):
    stores = stock(hash_embeddings()), ours(hash_embeddings(), reranker=OverlapReranker())
    for store in stores:
        store.add_texts(["keys"])
    [of_stock] = stores[0].as_retriever().invoke("keys")
    [of_ours] = Qwen3Retriever(store=stores[1]).invoke("keys")
    assert not [name for name in of_stock.metadata if "score" in name]
    assert {"retrieval_score", "relevance_score"} <= set(of_ours.metadata)


def test_a_cached_query_belongs_to_its_instruction():
    """Two instructions, one cache: LangChain's is keyed by the text alone, the core's also by instruction and dimension."""
    bytes_store = InMemoryByteStore()
    embedder = InstructedEmbedder()
    tasks = [Qwen3Embeddings(embedder=embedder, instruction=task) for task in ("Find runbooks", "Find menus")]
    cached = [
        CacheBackedEmbeddings.from_bytes_store(each, bytes_store, namespace=each.model, query_embedding_cache=True, key_encoder="sha256")
        for each in tasks
    ]
    assert cached[0].embed_query("keys") == cached[1].embed_query("keys")
    assert tasks[0].embed_query("keys") != tasks[1].embed_query("keys")


def _sql_records() -> SQLRecordManager:
    records = SQLRecordManager("ns", engine=create_engine("sqlite://"))
    records.create_schema()
    return records


def test_a_clock_that_was_set_back_does_not_keep_stale_documents():
    """Both records are an hour ahead of the clock, as after it was set back."""
    stock = _sql_records()
    stock.update(["stale"])
    with stock.engine.begin() as connection:
        connection.execute(text("UPDATE upsertion_record SET updated_at = updated_at + 3600"))
    assert stock.list_keys(before=stock.get_time()) == []
    with Catalog.open(CatalogSettings("sqlite://")) as catalog:
        ours = Qwen3RecordManager("ns", catalog)
        ours.update(["stale"])
        with catalog._write() as session:
            session.execute(text("UPDATE index_records SET updated_at = updated_at + 3600"))
        assert ours.list_keys(before=ours.get_time()) == ["stale"]
    stock.engine.dispose()


def test_refreshing_a_record_keeps_its_group():
    """`index` refreshes known keys without groups, then writes the groups: cut off in between, the group is lost or not."""
    with Qwen3RecordManager("ns", ":memory:") as ours:
        stock = _sql_records()
        for records, left in ((stock, []), (ours, ["k"])):
            records.update(["k"], group_ids=["source"])
            records.update(["k"])
            assert records.list_keys(group_ids=["source"]) == left
        stock.engine.dispose()


async def test_one_record_manager_is_sync_and_async():
    stock = _sql_records()
    with pytest.raises(AssertionError, match="not supported for sync engines"):
        await stock.aupdate(["k"])
    stock.engine.dispose()
    with Qwen3RecordManager("ns", ":memory:") as ours:
        await ours.aupdate(["k"])
        assert ours.exists(["k"]) == [True]


def test_more_ids_than_texts_or_fewer_are_refused(stock: Make, ours: Make):
    """LangChain's `zip` drops what has no partner."""
    store = stock(hash_embeddings())
    store.add_texts(["one", "two"], ids=UUIDS[:1])
    assert len(store.similarity_search("one two", k=5)) == 1
    with pytest.raises(ValueError, match="2 texts but 1 ids"):
        ours(hash_embeddings()).add_texts(["one", "two"], ids=UUIDS[:1])


def test_every_row_of_the_documentation_names_its_test():
    text = (Path(__file__).parents[3] / "docs" / "integrations.md").read_text(encoding="utf-8")
    table = text.partition("## LangChain")[2].partition("## LlamaIndex")[0]
    tests = {name for name in globals() if name.startswith("test_") and "documentation" not in name}
    assert set(re.findall(r"`(test_\w+)`", table)) == tests
