"""LangChain's and LlamaIndex's own Qdrant stores, unchanged, on the embedded engine."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import Embeddings
from langchain_qdrant import QdrantVectorStore as LangChainStore
from langchain_qdrant import RetrievalMode, SparseEmbeddings, SparseVector
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores import MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.core.vector_stores.types import FilterOperator, VectorStoreQueryMode
from llama_index.vector_stores.qdrant import QdrantVectorStore as LlamaIndexStore
from qdrant_client import QdrantClient, models

from qwen3_rag.store import EdgeClient, as_async_qdrant_client, as_qdrant_client

TEXTS = ["red apple", "green apple", "red car", "blue car", "green tree"]
WORDS = sorted({word for text in TEXTS for word in text.split()})


def dense(text: str) -> list[float]:
    """One dimension per known word."""
    return [float(text.split().count(word)) + 0.01 for word in WORDS]


def sparse(text: str) -> tuple[list[int], list[float]]:
    """One index per word."""
    counts = Counter(zlib.crc32(word.encode()) for word in text.split())
    return list(counts), [float(count) for count in counts.values()]


class DenseWords(Embeddings):
    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return [dense(text) for text in texts]

    def embed_query(self, text: str) -> list[float]:
        return dense(text)


class SparseWords(SparseEmbeddings):
    def embed_documents(self, texts: list[str]) -> list[SparseVector]:
        return [self.embed_query(text) for text in texts]

    def embed_query(self, text: str) -> SparseVector:
        indices, values = sparse(text)
        return SparseVector(indices=indices, values=values)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EdgeClient]:
    edge = EdgeClient(tmp_path_factory.mktemp("stock"))
    yield edge
    edge.close()


@pytest.fixture
def client(store: EdgeClient) -> Iterator[QdrantClient]:
    client = as_qdrant_client(store)
    yield client
    client.close()


@pytest.mark.parametrize("mode", list(RetrievalMode))
@pytest.mark.parametrize("vector_name", ["", "named"], ids=["unnamed", "named"])
def test_langchain(client: QdrantClient, mode: RetrievalMode, vector_name: str) -> None:
    name = f"langchain-{mode.value}-{vector_name}"
    dense_config = models.VectorParams(size=len(WORDS), distance=models.Distance.COSINE)
    client.create_collection(
        name,
        vectors_config={} if mode == RetrievalMode.SPARSE else {vector_name: dense_config} if vector_name else dense_config,
        sparse_vectors_config={} if mode == RetrievalMode.DENSE else {"words": models.SparseVectorParams(modifier=models.Modifier.IDF)},
    )
    store = LangChainStore(
        client=client,
        collection_name=name,
        embedding=None if mode == RetrievalMode.SPARSE else DenseWords(),
        sparse_embedding=None if mode == RetrievalMode.DENSE else SparseWords(),
        retrieval_mode=mode,
        vector_name=vector_name,
        sparse_vector_name="words",
    )
    documents = [Document(page_content=text, metadata={"colour": text.split()[0]}) for text in TEXTS]
    ids = store.add_documents(documents)
    assert {found.page_content for found in store.similarity_search("apple", k=2)} == {"red apple", "green apple"}
    (best, score), *_ = store.similarity_search_with_score("blue car", k=3)
    assert best.page_content == "blue car"
    assert score > 0
    red = models.Filter(must=[models.FieldCondition(key="metadata.colour", match=models.MatchValue(value="red"))])
    assert {found.page_content for found in store.similarity_search("car", k=5, filter=red)} <= {"red car", "red apple"}
    assert store.similarity_search("car", k=5, filter=red)[0].page_content == "red car"
    assert [found.page_content for found in store.get_by_ids([ids[0]])] == ["red apple"]
    if mode != RetrievalMode.SPARSE:
        assert len(store.max_marginal_relevance_search("car", k=2, fetch_k=4)) == 2
    assert store.delete([ids[3]])
    assert "blue car" not in {found.page_content for found in store.similarity_search("blue car", k=5)}


def test_langchain_with_its_defaults(client: QdrantClient) -> None:
    client.create_collection("plain", vectors_config=models.VectorParams(size=len(WORDS), distance=models.Distance.COSINE))
    store = LangChainStore(client=client, collection_name="plain", embedding=DenseWords())
    store.add_texts(TEXTS)
    assert store.similarity_search("tree", k=1)[0].page_content == "green tree"


def node(text: str, document: str) -> TextNode:
    relationships: dict[Any, Any] = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document)}
    return TextNode(
        text=text, embedding=dense(text), metadata={"colour": text.split()[0], "length": len(text)}, relationships=relationships
    )


def batch_sparse(texts: list[str]) -> tuple[list[list[int]], list[list[float]]]:
    pairs = [sparse(text) for text in texts]
    return [indices for indices, _ in pairs], [values for _, values in pairs]


def llama_store(client: QdrantClient, name: str, *, hybrid: bool, **options: Any) -> LlamaIndexStore:
    functions = {"sparse_doc_fn": batch_sparse, "sparse_query_fn": batch_sparse} if hybrid else {}
    return LlamaIndexStore(client=client, collection_name=name, enable_hybrid=hybrid, **functions, **options)


def texts_of(result: Any) -> list[str]:
    return [node.get_content() for node in result.nodes]


@pytest.mark.parametrize("hybrid", [False, True], ids=["dense", "hybrid"])
def test_llama_index(client: QdrantClient, hybrid: bool) -> None:
    store = llama_store(client, f"llama-{hybrid}", hybrid=hybrid)
    ids = store.add([node(text, f"document-{number}") for number, text in enumerate(TEXTS)])
    mode = VectorStoreQueryMode.HYBRID if hybrid else VectorStoreQueryMode.DEFAULT

    def query(text: str, **options: Any) -> list[str]:
        request = VectorStoreQuery(
            query_embedding=dense(text), query_str=text, similarity_top_k=3, sparse_top_k=3, hybrid_top_k=3, mode=mode, **options
        )
        return texts_of(store.query(request))

    assert query("blue car")[0] == "blue car"
    red = MetadataFilters(filters=[MetadataFilter(key="colour", value="red")])
    assert set(query("car", filters=red)) <= {"red car", "red apple"}
    several = MetadataFilters(
        filters=[
            MetadataFilter(key="colour", value=["red", "blue"], operator=FilterOperator.IN),
            MetadataFilter(key="length", value=8, operator=FilterOperator.LT),
        ]
    )
    assert query("car", filters=several) == ["red car"]
    assert [found.get_content() for found in store.get_nodes([ids[1]])] == ["green apple"]
    store.delete("document-3")
    assert "blue car" not in query("blue car")
    store.delete_nodes([ids[2]])
    assert "red car" not in query("red car")
    store.clear()
    assert not client.collection_exists(f"llama-{hybrid}")


async def test_llama_index_in_async(store: EdgeClient) -> None:
    client, async_client = as_qdrant_client(store), as_async_qdrant_client(store)
    index = llama_store(client, "llama-async", hybrid=True, aclient=async_client)
    await index.async_add([node(text, f"document-{number}") for number, text in enumerate(TEXTS)])
    request = VectorStoreQuery(
        query_embedding=dense("blue car"), query_str="blue car", similarity_top_k=2, sparse_top_k=2, mode=VectorStoreQueryMode.HYBRID
    )
    assert texts_of(await index.aquery(request))[0] == "blue car"
    await index.adelete("document-3")
    assert "blue car" not in texts_of(await index.aquery(request))
    await async_client.close()
    client.close()


def test_nothing_was_written_outside_the_store(store: EdgeClient) -> None:
    assert {path.name for path in Path(store.path).iterdir()} == {"LOCK", "store.json", "engine.log", "collections"}
