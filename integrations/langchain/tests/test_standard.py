"""LangChain's own test suites, as they come: no test is overridden or expected to fail."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.embeddings import Embeddings
from langchain_core.retrievers import BaseRetriever
from langchain_core.vectorstores import VectorStore
from langchain_tests.integration_tests import EmbeddingsIntegrationTests, RetrieversIntegrationTests, VectorStoreIntegrationTests
from langchain_tests.unit_tests import EmbeddingsUnitTests

from langchain_qwen3_rag import Qwen3Embeddings, Qwen3Retriever, Qwen3VectorStore
from qwen3_rag import Embedder, KnowledgeBase
from tests.fakes import HashEmbedder, OverlapReranker


class _Embeddings:
    @property
    def embeddings_class(self) -> type[Embeddings]:
        return Qwen3Embeddings

    @property
    def embedding_model_params(self) -> dict[str, Any]:
        return {"model": "nano", "dim": 128}


class TestEmbeddingsUnit(_Embeddings, EmbeddingsUnitTests):
    pass


class TestEmbeddings(_Embeddings, EmbeddingsIntegrationTests):
    pass


class TestEmbeddedEngine(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:  # type: ignore[override]
        with Qwen3VectorStore(tmp_path / "kb", self.get_embeddings()) as store:
            yield store


class TestLocalMode(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self) -> Iterator[VectorStore]:  # type: ignore[override]
        with Qwen3VectorStore(":memory:", self.get_embeddings()) as store:
            yield store


class TestKnowledgeBase(VectorStoreIntegrationTests):
    @pytest.fixture
    def vectorstore(self, tmp_path: Path) -> Iterator[VectorStore]:  # type: ignore[override]
        with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder()) as kb:
            yield Qwen3VectorStore(kb)


class _Retriever(RetrieversIntegrationTests):
    store: Any

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return Qwen3Retriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return {"store": self.store}

    @property
    def retriever_query_example(self) -> str:
        return "how often are keys rotated"


TEXTS = ["keys are rotated every ninety days", "lunch is at noon", "who holds the keys", "rotation of crops", "how to rotate logs"]


class TestRetrieverOverKnowledgeBase(_Retriever):
    @pytest.fixture(autouse=True)
    def _filled(self, tmp_path: Path) -> Iterator[None]:
        with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker=OverlapReranker()) as kb:
            Qwen3VectorStore(kb).add_texts(TEXTS)
            self.store = kb
            yield


class TestRetrieverOverVectorStore(_Retriever):
    @pytest.fixture(autouse=True)
    def _filled(self, nano: Embedder) -> Iterator[None]:
        with Qwen3VectorStore.from_texts(TEXTS, Qwen3Embeddings(embedder=nano), where=":memory:", reranker="off") as store:
            self.store = store
            yield
