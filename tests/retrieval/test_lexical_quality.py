"""Lexical search of real collections through the whole retriever: each language alone, and three in one collection."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NoReturn

import numpy as np
import pytest
from qdrant_client import QdrantClient

from benchmarks.beir import Collection, load, mean_ndcg
from qwen3_rag.retrieval import Retriever
from qwen3_rag.settings import RetrievalSettings, StoreSettings
from qwen3_rag.store import open_client
from qwen3_rag.store.language import detect
from qwen3_rag.store.points import assign_point_ids, to_point
from qwen3_rag.store.schema import ensure_collection
from qwen3_rag.store.sparse import Bm25Encoder
from qwen3_rag.types import Chunk, Document, EmbeddingSpace, Hit

LEAST = {"xquad-en": 0.965, "xquad-de": 0.94, "xquad-zh": 0.95}
ALLOWED_LOSS = 0.015


def index(client: QdrantClient, name: str, collections: Sequence[Collection]) -> Retriever:
    ensure_collection(client, StoreSettings(collection=name), EmbeddingSpace("none", "1", 1, "none"))
    documents = [Document(f"{c.name}/{p.id}", p.text, title=p.title or None) for c in collections for p in c.documents]
    languages = [detect(document.text) for document in documents]
    chunks = [
        Chunk(document.id, 0, document.text, 0, len(document.text), (), document.title, 0, language)
        for document, language in zip(documents, languages, strict=True)
    ]
    lexical = Bm25Encoder().documents([chunk.embedding_text for chunk in chunks], languages)
    parts = zip(assign_point_ids(chunks), chunks, documents, lexical, strict=True)
    dense = np.ones(1, dtype=np.float32)
    client.upsert(name, [to_point(point, chunk, document, dense, vector) for point, chunk, document, vector in parts])
    return Retriever(client, name, _no_model, None, RetrievalSettings(mode="lexical"), lambda: Counter(languages))  # type: ignore[arg-type]


def quality(retriever: Retriever, collection: Collection) -> float:
    found = {query: [_id(collection, hit) for hit in retriever.search(text)] for query, text in collection.queries.items()}
    return mean_ndcg(found, collection)


def _id(collection: Collection, hit: Hit) -> str:
    """Documents of another collection keep their whole id, so that they are never relevant."""
    return hit.document_id.removeprefix(f"{collection.name}/")


def _no_model() -> NoReturn:
    raise AssertionError("a lexical search asked for the embedder")


@pytest.fixture
def client(tmp_path: Path) -> Iterator[QdrantClient]:
    client = open_client(StoreSettings(path=str(tmp_path / "store")))
    yield client
    client.close()


def test_three_languages_alone_and_together(client: QdrantClient, shared_data: Path) -> None:
    collections = {name: load(shared_data / name) for name in LEAST}
    alone = {name: quality(index(client, name, [collection]), collection) for name, collection in collections.items()}
    together = index(client, "together", list(collections.values()))
    mixed = {name: quality(together, collection) for name, collection in collections.items()}
    print({"alone": alone, "together": mixed})
    assert all(alone[name] >= least for name, least in LEAST.items()), alone
    assert all(mixed[name] >= alone[name] - ALLOWED_LOSS for name in LEAST), (alone, mixed)
