"""Checkpoints that are really there: nano in the installation, official weights in the local Hugging Face cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.hub import cached_folder, nano_folder
from qwen3_rag.models.reranker import Reranker
from tests.models.qwen3_reference import Reference

TASK = "Given a web search query, retrieve relevant passages that answer the query"
QUERIES = ["What is the capital of China?", "Explain gravity"]
DOCUMENTS = [
    "The capital of China is Beijing.",
    "Gravity is a force that attracts two bodies towards each other. It gives weight to physical objects and is responsible for the "
    "movement of planets around the sun.",
]
CARD = [[0.7646, 0.1414], [0.1355, 0.6000]]  # the similarities that the card of Qwen3-Embedding-0.6B states for these texts


def cached(name: str) -> Path:
    folder = cached_folder(name)
    if folder is None:
        pytest.skip(f"{name} is not in the local Hugging Face cache")
    return folder


@pytest.mark.weights
def test_official_embedder() -> None:
    folder = cached("Qwen/Qwen3-Embedding-0.6B")
    embedder = Embedder.load("Qwen/Qwen3-Embedding-0.6B", dtype="float32")
    queries, documents = embedder.embed_queries(QUERIES, TASK), embedder.embed_documents(DOCUMENTS)
    np.testing.assert_allclose(queries @ documents.T, CARD, atol=0.01)
    reference = Reference(folder, max_tokens=32_768)
    np.testing.assert_allclose(queries, [reference.embed_query(query, 1024) for query in QUERIES], atol=1e-4)
    np.testing.assert_allclose(documents, [reference.embed(document, 1024) for document in DOCUMENTS], atol=1e-4)


@pytest.mark.weights
def test_official_reranker() -> None:
    folder = cached("Qwen/Qwen3-Reranker-0.6B")
    reranker = Reranker.load("Qwen/Qwen3-Reranker-0.6B", dtype="float32")
    reference = Reference(folder, max_tokens=32_768)
    for index, query in enumerate(QUERIES):
        scores = reranker.score(query, DOCUMENTS)
        np.testing.assert_allclose(scores, [reference.score(query, document) for document in DOCUMENTS], atol=1e-4)
        assert scores[index] > 0.9 > 0.1 > scores[1 - index]


@pytest.mark.skipif(not (nano_folder() / "model.safetensors").is_file(), reason="nano is not built")
def test_nano_loads_and_finds(no_network: list[object]) -> None:
    embedder = Embedder.load("nano", device="cpu")
    similarity = embedder.embed_queries(QUERIES) @ embedder.embed_documents(DOCUMENTS).T
    assert similarity.argmax(axis=1).tolist() == [0, 1]
    assert embedder.model == "nano"
    assert no_network == []


@pytest.mark.skipif(not (nano_folder() / "model.safetensors").is_file(), reason="nano is not built")
def test_nano_equals_the_reference() -> None:
    embedder = Embedder.load("nano", dtype="float32", device="cpu")
    reference = Reference(nano_folder(), max_tokens=embedder.max_tokens)
    texts = [*DOCUMENTS, "", "naïve café 🎉", "word " * 3000]
    expected = np.stack([reference.embed(text, embedder.dim) for text in texts])
    np.testing.assert_allclose(embedder.embed_documents(texts), expected, atol=1e-4)
