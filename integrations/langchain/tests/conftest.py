"""Stores on the embedded engine and in local mode, models that are fast, and nano where results matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from langchain_qwen3_rag import Qwen3Embeddings, Qwen3VectorStore
from qwen3_rag import Embedder
from tests.conftest import _no_settings_from_outside, shared_data  # noqa: F401 - fixtures
from tests.fakes import HashEmbedder, OverlapReranker


@pytest.fixture(scope="session")
def nano() -> Embedder:
    return Embedder.load("nano", dtype="float32")


@pytest.fixture(params=["folder", "memory"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The embedded engine, and qdrant-client's local mode."""
    return str(tmp_path / "kb") if request.param == "folder" else ":memory:"


@pytest.fixture
def open_store(where: str) -> Iterator[Callable[..., Qwen3VectorStore]]:
    """Opens stores there; closes them at the end."""
    opened: list[Qwen3VectorStore] = []

    def open_one(**options: Any) -> Qwen3VectorStore:
        defaults = {"embedding": Qwen3Embeddings(embedder=HashEmbedder()), "reranker": OverlapReranker()}
        opened.append(Qwen3VectorStore(where, **(defaults | options)))
        return opened[-1]

    yield open_one
    for store in opened:
        store.close()


@pytest.fixture
def store(open_store: Callable[..., Qwen3VectorStore]) -> Qwen3VectorStore:
    return open_store()
