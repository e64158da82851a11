"""On real questions LlamaIndex returns what the core returns, in the same order: by retriever, vector store and an index over it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import VectorStoreIndex
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery, VectorStoreQueryMode
from llama_index.postprocessor.qwen3_rag import Qwen3Rerank
from llama_index.retrievers.qwen3_rag import Qwen3Retriever
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore

from qwen3_rag import Embedder, KnowledgeBase
from tests.fakes import OverlapReranker

TOP_K = 10
FEW, ALL = 10, 200
FILTERS = MetadataFilters(filters=[MetadataFilter(key="third", value=[0, 1], operator=FilterOperator.IN)])
PLAIN = {"third": [0, 1]}


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module", params=["xquad-en", pytest.param("msmarco-mini", marks=pytest.mark.slow)])
def data(request: pytest.FixtureRequest, shared_data: Path) -> Path:
    return shared_data / str(request.param)


@pytest.fixture(scope="module")
def kb(data: Path, nano: Embedder, tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    """Filled by the vector store."""
    with KnowledgeBase.open(tmp_path_factory.mktemp("parity") / "kb", embedder=nano, reranker=OverlapReranker()) as opened:
        nodes = [
            TextNode(
                id_=document["_id"],
                text=f"{document.get('title') or ''} {document['text']}".strip(),
                metadata={"third": number % 3},
                excluded_embed_metadata_keys=["third"],
                relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"source {number % 7}")},
            )
            for number, document in enumerate(lines(data / "corpus.jsonl"))
        ]
        assert Qwen3VectorStore(opened).add(nodes) == [node.node_id for node in nodes]
        yield opened


@pytest.fixture(params=[FEW, pytest.param(ALL, marks=pytest.mark.slow)])
def queries(request: pytest.FixtureRequest, data: Path) -> list[str]:
    return [query["text"] for query in lines(data / "queries.jsonl")[: request.param]]


@pytest.mark.parametrize("rerank", [False, True], ids=["recall", "reranked"])
@pytest.mark.parametrize("filtered", [False, True], ids=["all", "filtered"])
async def test_as_the_core(kb: KnowledgeBase, queries: list[str], filtered: bool, rerank: bool):
    """The retriever sync and async, against `KnowledgeBase.search` and `Passages.search`."""
    retriever = Qwen3Retriever(kb, top_k=TOP_K, filters=FILTERS if filtered else None, rerank=rerank)
    passages = kb.passages()
    mode = VectorStoreQueryMode.SEMANTIC_HYBRID if rerank else VectorStoreQueryMode.HYBRID
    store = Qwen3VectorStore(kb)
    for words in queries:
        options: dict[str, Any] = {"top_k": TOP_K, "filters": PLAIN if filtered else None, "rerank": rerank}
        expected = [(hit.id, hit.score) for hit in kb.search(words, **options)]
        assert len(expected) == TOP_K
        assert [(hit.id, hit.score) for hit in passages.search(words, **options)] == expected
        assert [(node.node_id, node.score) for node in retriever.retrieve(words)] == expected
        assert [(node.node_id, node.score) for node in await retriever.aretrieve(words)] == expected
        query = VectorStoreQuery(query_str=words, similarity_top_k=TOP_K, mode=mode, filters=FILTERS if filtered else None)
        found = store.query(query)
        assert list(zip(found.ids or [], found.similarities or [], strict=True)) == expected


@pytest.mark.parametrize("filtered", [False, True], ids=["all", "filtered"])
async def test_an_index_finds_as_the_core(kb: KnowledgeBase, queries: list[str], filtered: bool):
    """With LlamaIndex's own retriever, which embeds the query itself; and then our reranker over what it recalls."""
    store = Qwen3VectorStore(kb)
    index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model())
    filters = FILTERS if filtered else None
    options: dict[str, Any] = {"filters": PLAIN if filtered else None, "top_k": TOP_K}
    modes = {VectorStoreQueryMode.DEFAULT: "dense", VectorStoreQueryMode.HYBRID: "hybrid", VectorStoreQueryMode.SPARSE: "lexical"}
    reranked = Qwen3Rerank(reranker=OverlapReranker(), top_n=TOP_K)
    candidates = index.as_retriever(
        similarity_top_k=50, vector_store_query_mode="hybrid", filters=filters, vector_store_kwargs={"candidates": 50}
    )
    for words in queries:
        for mode, name in modes.items():
            retriever = index.as_retriever(similarity_top_k=TOP_K, vector_store_query_mode=mode, filters=filters)
            expected = [hit.id for hit in kb.search(words, mode=name, rerank=False, **options)]
            assert [node.node_id for node in retriever.retrieve(words)] == expected
        found = reranked.postprocess_nodes(await candidates.aretrieve(words), query_str=words)
        assert [node.node_id for node in found] == [hit.id for hit in kb.search(words, candidates=50, rerank=True, **options)]
