"""Filters as LangChain users write them, on added documents and on chunks that the core ingested."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from qdrant_client import models

from langchain_qwen3_rag import Qwen3Retriever, Qwen3VectorStore
from qwen3_rag import Document as SourceDocument
from qwen3_rag import KnowledgeBase
from qwen3_rag.errors import FilterError
from tests.fakes import HashEmbedder

DOCUMENTS = {
    "1": {"team": "search", "year": 2020, "source": "a.md", "tags": ["x", "y"], "language": "english", "ordinal": 5},
    "2": {"team": "ads", "year": 2023, "source": "b.md", "author": {"name": "Ada"}, "language": "english", "text": "short"},
    "3": {"team": "search", "year": 2024, "title": "A title", "reviewed": True},
}


@pytest.fixture(scope="module", params=["folder", "memory"])
def store(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qwen3VectorStore]:
    where = str(tmp_path_factory.mktemp("filters")) if request.param == "folder" else ":memory:"
    documents = [Document(f"words of {key}", id=key, metadata=metadata) for key, metadata in DOCUMENTS.items()]
    with Qwen3VectorStore.from_documents(documents, HashEmbedder(), where=where) as store:
        yield store


CASES: list[tuple[Any, str]] = [
    (None, "123"),
    ({}, "123"),
    ({"team": "search"}, "13"),
    ({"team": {"$eq": "search"}, "year": {"$gt": 2020}}, "3"),
    ({"team": {"$ne": "search"}}, "2"),
    ({"team": {"$in": ["ads", "sales"]}}, "2"),
    ({"team": {"$nin": ["ads", "sales"]}}, "13"),
    ({"team": ["ads", "search"]}, "123"),
    ({"year": {"$gte": 2023, "$lt": 2024}}, "2"),
    ({"year": {"$between": [2020, 2023]}}, "12"),
    ({"year": {"$between": (2021, 2030), "$ne": 2024}}, "2"),
    ({"tags": "x"}, "1"),
    ({"reviewed": True}, "3"),
    ({"reviewed": {"$exists": False}}, "12"),
    ({"reviewed": None}, "12"),
    ({"author": {"name": "Ada"}}, "2"),
    ({"author.name": {"$contains": "d"}}, "2"),
    ({"metadata.team": "ads"}, "2"),
    ({"$or": [{"team": "ads"}, {"year": {"$between": [2024, 2024]}}]}, "23"),
    ({"$and": [{"team": "search"}, {"$not": {"year": 2020}}]}, "3"),
    ({"$not": {"$or": [{"team": "ads"}, {"source": "a.md"}]}}, "3"),
    ({"source": "a.md"}, "1"),
    ({"source": {"$ne": "a.md"}}, "23"),
    ({"source": {"$exists": True}}, "12"),
    ({"title": "A title"}, "3"),
    ({"language": "english"}, "12"),
    ({"language": "en"}, ""),
    ({"ordinal": 0}, ""),
    ({"ordinal": {"$gte": 5}}, "1"),
    ({"text": "short"}, "2"),
    ({"source": {"name": "nested"}}, ""),
    ({"passage_id": ["1", "3"]}, "13"),
    (models.Filter(must=[models.FieldCondition(key="metadata.team", match=models.MatchValue(value="ads"))]), "2"),
    ({"$or": [models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="metadata.tags"))]), {"year": 2020}]}, "123"),
]


@pytest.mark.parametrize(("condition", "expected"), CASES, ids=range(len(CASES)))
def test_each_means_what_it_says(store: Qwen3VectorStore, condition: Any, expected: str):
    found = store.similarity_search("words", k=10, filter=condition)
    assert sorted(str(document.id) for document in found) == list(expected)
    nearest = store.similarity_search_by_vector([1.0] * 64, k=10, filter=condition)
    assert sorted(str(document.id) for document in nearest) == list(expected)


@pytest.mark.parametrize(
    ("condition", "message"),
    [
        (lambda document: True, "function"),
        ({"year": {"$between": 2020}}, "lower and an upper"),
        ({"year": {"$between": [1, 2], "$gte": 1}}, "twice"),
        ({"team": {"$like": "s%"}}, "\\$like"),
        ({"$nor": [{"team": "ads"}]}, "\\$nor"),
        ({7: "x"}, "keys are text"),
        ({"source": {"$eq": "a", "b": 1}}, "operators only"),
    ],
)
def test_what_cannot_be_expressed_is_refused(store: Qwen3VectorStore, condition: Any, message: str):
    with pytest.raises(FilterError, match=message):
        store.similarity_search("words", filter=condition)


def test_a_metadata_key_called_passage_id_is_found():
    with Qwen3VectorStore(":memory:", HashEmbedder()) as store:
        store.add_texts(["words of one", "words of two"], [{"passage_id": "p7"}, {}], ids=["1", "2"])

        def found(condition: Any) -> list[str | None]:
            return [document.id for document in store.similarity_search("words", filter=condition)]

        assert found({"passage_id": "p7"}) == ["1"]
        assert found({"passage_id": "1"}) == []
        assert found({"passage_id": {"$in": ["p7", "2"]}}) == ["1", "2"]
        assert found({"passage_id": {"$ne": "p7"}}) == ["2"]


def test_keys_of_a_chunk_are_its_fields(tmp_path: Path):
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker="off") as kb:
        documents = [SourceDocument(name, f"words of {name}", title=name.upper(), source=f"{name}.md") for name in ("one", "two")]
        kb.ingest(documents)
        store = Qwen3VectorStore(kb)
        store.add_texts(["words of a passage"], [{"source": "one.md", "title": "T"}], ids=["p"])

        def found(condition: Any) -> set[str]:
            documents = Qwen3Retriever(store=kb, filter=condition).invoke("words")
            assert {document.id for document in documents} == {
                document.id for document in store.similarity_search("words", filter=condition)
            }
            return {str(document.metadata["title"]) for document in documents}

        assert found({"source": "one.md"}) == {"ONE", "T"}
        assert found({"source": {"$ne": "one.md"}}) == {"TWO"}
        assert found({"$not": {"title": {"$in": ["ONE", "T"]}}}) == {"TWO"}
        assert found({"document_id": "two"}) == {"TWO"}
        assert found({"ordinal": 0}) == {"ONE", "TWO"}
