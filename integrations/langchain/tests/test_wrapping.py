"""LangChain's embeddings as the core's embedder: what it sees of them, and what they cannot do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.embeddings import DeterministicFakeEmbedding, Embeddings

from langchain_qwen3_rag import Qwen3VectorStore
from langchain_qwen3_rag.wrapping import LangChainEmbedder
from qwen3_rag import Settings
from qwen3_rag.errors import ConfigurationError, DimensionError


async def test_a_wrapped_embedding_as_the_core_sees_it():
    embedder = LangChainEmbedder(DeterministicFakeEmbedding(size=12))
    assert embedder.dim == embedder.space.dim == 12
    assert np.linalg.norm(embedder.embed_documents(["a", "b"]), axis=1) == pytest.approx([1.0, 1.0])
    np.testing.assert_array_equal(embedder.embed_queries(["a"], "ignored"), await embedder.aembed_queries(["a"]))
    np.testing.assert_array_equal(embedder.embed_documents(["a"]), await embedder.aembed_documents(["a"]))
    assert embedder.embed_documents([]).shape == (0, 12)
    assert embedder.space.fingerprint != LangChainEmbedder(DeterministicFakeEmbedding(size=13)).space.fingerprint
    with pytest.raises(DimensionError):
        embedder.embed_documents(["a"], dim=6)
    for counted in ("tokenizer", "max_tokens"):
        with pytest.raises(ConfigurationError, match="text splitter"):
            getattr(embedder, counted)


async def test_a_dim_that_other_embeddings_do_not_offer_is_said_so_and_makes_no_collection(tmp_path: Path):
    embeddings = DeterministicFakeEmbedding(size=12)
    with Qwen3VectorStore(tmp_path / "kb", embeddings, settings=Settings.load(dim=6)) as store:
        with pytest.raises(DimensionError, match="12 dimensions; they cannot be cut to 6"):
            store.add_texts(["a"])
        with pytest.raises(DimensionError, match="12 dimensions; they cannot be cut to 6"):
            await store.aadd_texts(["a"])
    with Qwen3VectorStore(tmp_path / "kb", embeddings, settings=Settings.load(dim=12)) as store:
        assert len(store.add_texts(["a"])) == 1


class Cached(Embeddings):
    """As LangChain's `CacheBackedEmbeddings` keeps whose vectors it holds."""

    def __init__(self, underlying: Embeddings) -> None:
        self.underlying_embeddings = underlying

    def embed_documents(self, texts: list[str]) -> list[list[float]]:
        return self.underlying_embeddings.embed_documents(texts)

    def embed_query(self, text: str) -> list[float]:
        return self.underlying_embeddings.embed_query(text)


class Named(DeterministicFakeEmbedding):
    model: Any = None
    model_name: Any = None
    model_id: Any = None


@pytest.mark.parametrize("names", [{"model": "one"}, {"model": object(), "model_name": "one"}, {"model_id": "one"}])
def test_models_of_one_class_are_told_apart_by_their_names(names: dict[str, Any]):
    one = LangChainEmbedder(Named(size=4, **names))
    other = LangChainEmbedder(Named(size=4, **{key: "two" if value == "one" else value for key, value in names.items()}))
    assert one.model == "Named(one)"
    assert one.space.fingerprint != other.space.fingerprint
    cached = [LangChainEmbedder(Cached(Cached(embedder._embeddings))) for embedder in (one, other)]
    assert [embedder.space.fingerprint for embedder in cached] == [one.space.fingerprint, other.space.fingerprint]
