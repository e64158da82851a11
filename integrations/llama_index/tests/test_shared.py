"""What LangChain's side writes is read here, and the other way round, in one collection."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from langchain_core.documents import Document
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.retrievers.qwen3_rag import Qwen3Retriever
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore

import langchain_qwen3_rag
import qwen3_rag
from qwen3_rag import KnowledgeBase
from tests.fakes import HashEmbedder, OverlapReranker

Stores = tuple[KnowledgeBase, langchain_qwen3_rag.Qwen3VectorStore, Qwen3VectorStore]


@pytest.fixture
def stores() -> Iterator[Stores]:
    with KnowledgeBase.open(":memory:", embedder=HashEmbedder(), reranker=OverlapReranker()) as kb:
        yield kb, langchain_qwen3_rag.Qwen3VectorStore(kb), Qwen3VectorStore(kb)


def test_written_by_langchain(stores: Stores):
    kb, lang_chain, store = stores
    lang_chain.add_documents([Document("keys are rotated", id="odd/id", metadata={"team": "ops", "deep": {"list": [1]}})])
    [node] = store.get_nodes(["odd/id"])
    assert isinstance(node, TextNode)
    assert (node.node_id, node.text, node.metadata) == ("odd/id", "keys are rotated", {"team": "ops", "deep": {"list": [1]}})
    team = MetadataFilters(filters=[MetadataFilter(key="team", value="ops")])
    assert store.query(VectorStoreQuery(query_str="keys", filters=team)).ids == ["odd/id"]
    [found] = Qwen3Retriever(kb).retrieve("keys rotated")
    assert found.node_id == "odd/id"
    assert store.embed_model().get_text_embedding("keys are rotated") == pytest.approx(node.embedding, abs=1e-5)
    store.delete_nodes(["odd/id"])
    assert lang_chain.get_by_ids(["odd/id"]) == []


def test_written_by_llama_index(stores: Stores):
    kb, lang_chain, store = stores
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="handbook")}
    store.add([TextNode(id_="odd/id", text="keys are rotated", metadata={"team": "ops"}, relationships=source)])
    [document] = lang_chain.get_by_ids(["odd/id"])
    assert (document.id, document.page_content, document.metadata["team"]) == ("odd/id", "keys are rotated", "ops")
    assert [found.id for found in lang_chain.similarity_search("keys", filter={"team": "ops"})] == ["odd/id"]
    assert [hit.id for hit in kb.search("keys", filters={"document_id": "handbook"})] == ["odd/id"]
    lang_chain.delete(["odd/id"])
    assert store.get_nodes() == []


def test_ingested_by_the_core(stores: Stores):
    kb, lang_chain, store = stores
    kb.ingest([qwen3_rag.Document("doc", "keys are rotated", metadata={"team": "ops"})])
    [node] = store.get_nodes()
    [document] = lang_chain.similarity_search("keys")
    assert (node.node_id, node.get_content()) == (document.id, document.page_content)
    assert node.metadata["team"] == document.metadata["team"] == "ops"
    assert node.ref_doc_id == document.metadata["document_id"] == "doc"
