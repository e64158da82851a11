"""The same ids in the same order as the core, on real collections with nano: with and without filters and reranking.

LangChain fills the collection and both search it. Filled by the core it holds the same points, which is looked at instead of searching
two: two builds of one collection need not agree in whoever is last among the candidates, since several threads build the engine's index.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from qdrant_client import models

from benchmarks.beir import Collection, load
from langchain_qwen3_rag import Qwen3Embeddings, Qwen3Retriever, Qwen3VectorStore
from qwen3_rag import Embedder, KnowledgeBase, Passage
from tests.fakes import OverlapReranker

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

QUERIES, TOP_K = 200, 10
FILTER = {"part": {"$in": [0, 2]}}


@pytest.fixture(scope="module", params=["xquad-en", "msmarco-mini"])
def collection(request: pytest.FixtureRequest, shared_data: Path) -> Collection:
    return load(shared_data / request.param)


@pytest.fixture(scope="module")
def kb(collection: Collection, nano: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    documents = [Document(item.whole, id=item.id, metadata={"part": number % 3}) for number, item in enumerate(collection.documents)]
    with KnowledgeBase.open(tmp_path_factory.mktemp("parity"), embedder=nano, reranker=OverlapReranker()) as kb:
        Qwen3VectorStore.from_documents(documents, Qwen3Embeddings(embedder=nano), where=kb)
        yield kb


def points(kb: KnowledgeBase) -> dict[str, models.Record]:
    records, _ = kb._client.scroll("documents", limit=10_000, with_payload=True, with_vectors=True)
    return {str(record.id): record for record in records}


def test_the_same_points(kb: KnowledgeBase, collection: Collection, nano: Embedder, tmp_path: Path):
    with KnowledgeBase.open(tmp_path / "core", embedder=nano) as core:
        core.passages().put(Passage(item.id, item.whole, {"part": number % 3}) for number, item in enumerate(collection.documents))
        expected, found = points(core), points(kb)
    assert found.keys() == expected.keys()
    assert len(found) == len(collection.documents)
    for key, point in expected.items():
        assert found[key].payload == point.payload
        assert found[key].vector["bm25"] == point.vector["bm25"]
        np.testing.assert_allclose(found[key].vector["dense"], point.vector["dense"], atol=1e-5)


@pytest.mark.parametrize("filters", [None, FILTER], ids=["all", "filtered"])
@pytest.mark.parametrize("rerank", [False, True], ids=["recall", "reranked"])
async def test_parity(kb: KnowledgeBase, collection: Collection, filters: dict[str, Any] | None, rerank: bool):
    store = Qwen3VectorStore(kb)
    retriever = Qwen3Retriever(store=store, k=TOP_K, filter=filters, rerank=rerank)
    queries = list(itertools.islice(collection.queries.values(), QUERIES))
    assert len(queries) == QUERIES
    seen: set[str] = set()
    for query in queries:
        expected = [hit.id for hit in kb.search(query, top_k=TOP_K, filters=filters, rerank=rerank)]
        seen.update(expected)
        assert [document.id for document in retriever.invoke(query)] == expected
        assert [document.id for document in await retriever.ainvoke(query)] == expected
        assert [document.id for document in store.similarity_search(query, TOP_K, filters, rerank=rerank)] == expected
    assert len(seen) > QUERIES / 2


async def test_parity_of_vectors(kb: KnowledgeBase, collection: Collection, nano: Embedder):
    store, embeddings = Qwen3VectorStore(kb), Qwen3Embeddings(embedder=nano)
    for query in itertools.islice(collection.queries.values(), QUERIES):
        expected = [hit.id for hit in kb.search(query, top_k=TOP_K, mode="dense", rerank=False)]
        assert [document.id for document in store.similarity_search_by_vector(embeddings.embed_query(query), TOP_K)] == expected
    np.testing.assert_allclose(await embeddings.aembed_query("query"), nano.embed_queries(["query"])[0], atol=1e-5)
