"""What LangChain users hold → what the core takes: embeddings of any kind as its embedder, and a Qwen3 reranker as its reranker."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import cached_property

import numpy as np
from langchain_core.embeddings import Embeddings
from tokenizers import Tokenizer

from langchain_qwen3_rag.embeddings import Qwen3Embeddings
from langchain_qwen3_rag.rerankers import Qwen3Reranker
from qwen3_rag.errors import ConfigurationError, DimensionError
from qwen3_rag.models.base import EmbedderLike, RerankerLike, ResultArray
from qwen3_rag.types import EmbeddingSpace

EmbeddingLike = Embeddings | EmbedderLike | str
"""What stands for an embedder here: a `Qwen3Embeddings`, other LangChain embeddings, an embedder of the core, or a model name."""

_OF_COMPRESSORS = {
    "instruction": "instruction=… of the store or of a search",
    "top_n": "k=… of a search",
    "rerank_weight": "rerank_weight=… of a search or of the settings",
    "score_threshold": "score_threshold=… of a search",
    "deadline": "rerank_deadline=… of a search or of the settings",
}
"""Options of a `Qwen3Reranker` that are none of its model → where a store has them."""


_NAMES = ("model", "model_name", "model_id", "repo_id", "deployment", "model_path")
"""Attributes that LangChain's embeddings keep the name of their model in; some keep the model itself in the first."""


class LangChainEmbedder:
    """LangChain embeddings of any kind, seen as an embedder of the core.

    Their vectors are normalised, and their space is named after their class and model: a collection filled with them is refused to others.
    Embeddings that do not show a model's name are told apart by their class and the length of their vectors only.
    They take no instruction; one that is given reaches the reranker only. They show no tokenizer, so that nothing can be counted in
    tokens: documents are stored whole, and `KnowledgeBase.ingest`, which cuts them, needs an embedder of the core.
    """

    def __init__(self, embeddings: Embeddings) -> None:
        self._embeddings = embeddings
        maker = _maker(embeddings)
        kind, name = type(maker), _name(maker)
        self.model = f"{kind.__name__}({name})" if name else kind.__name__
        self._revision = f"{kind.__module__}.{kind.__qualname__}:{name}"

    @cached_property
    def dim(self) -> int:
        """Length of the vectors, measured once."""
        return len(self._embeddings.embed_query("dimension"))

    @property
    def space(self) -> EmbeddingSpace:
        """What makes its vectors comparable: class, model and length."""
        return EmbeddingSpace(self.model, self._revision, self.dim, template="langchain", pooling="unknown")

    @property
    def max_tokens(self) -> int:
        """Not known."""
        raise self._uncounted()

    @property
    def tokenizer(self) -> Tokenizer:
        """Not known."""
        raise self._uncounted()

    def embed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        """Embed queries one by one."""
        self.check_dim(dim)
        return self._rows([self._embeddings.embed_query(text) for text in texts])

    def embed_documents(self, texts: Sequence[str], dim: int | None = None) -> ResultArray:
        """Embed documents."""
        self.check_dim(dim)
        return self._rows(self._embeddings.embed_documents(list(texts)))

    async def aembed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        """`embed_queries` as the embeddings do it themselves."""
        self.check_dim(dim)
        return self._rows(await asyncio.gather(*(self._embeddings.aembed_query(text) for text in texts)))

    async def aembed_documents(self, texts: Sequence[str], dim: int | None = None) -> ResultArray:
        """`embed_documents` as the embeddings do it themselves."""
        self.check_dim(dim)
        return self._rows(await self._embeddings.aembed_documents(list(texts)))

    def check_dim(self, dim: int | None) -> None:
        """Refuse any `dim` but the embeddings' own.

        Raises:
            DimensionError: it is another.
        """
        if dim is not None and dim != self.dim:
            raise DimensionError(
                f"{self.model} makes vectors of {self.dim} dimensions; they cannot be cut to {dim}. Leave `dim` away, or use "
                "Qwen3Embeddings."
            )

    def _rows(self, vectors: Sequence[Sequence[float]]) -> ResultArray:
        rows = np.asarray(vectors, dtype=np.float32).reshape(len(vectors), -1 if len(vectors) else self.dim)
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        return ResultArray.of(rows / np.maximum(norms, np.finfo(np.float32).tiny), [False] * len(rows))

    def _uncounted(self) -> ConfigurationError:
        return ConfigurationError(
            f"{self.model} does not show its tokenizer, so nothing can be counted in its tokens. Cut documents with a LangChain text "
            "splitter and add them to the vector store, or use Qwen3Embeddings."
        )


def _maker(embeddings: Embeddings) -> Embeddings:
    """Who makes the vectors, where what is given only keeps them (`CacheBackedEmbeddings`)."""
    while isinstance(inner := getattr(embeddings, "underlying_embeddings", None), Embeddings):
        embeddings = inner
    return embeddings


def _name(embeddings: Embeddings) -> str:
    """The model's name, empty where there is none."""
    values = (getattr(embeddings, attribute, None) for attribute in _NAMES)
    return next((value for value in values if isinstance(value, str) and value), "")


def as_embedder(embedding: EmbeddingLike | None) -> EmbedderLike | str | None:
    """What the core takes for `embedding`.

    Raises:
        ConfigurationError: it is nothing of the kind.
    """
    if isinstance(embedding, Qwen3Embeddings):
        return embedding.embedder
    if isinstance(embedding, Embeddings):
        return LangChainEmbedder(embedding)
    if embedding is None or isinstance(embedding, str) or hasattr(embedding, "space"):
        return embedding
    raise ConfigurationError(
        f"{type(embedding).__name__} cannot be used as embedding. Give a Qwen3Embeddings, other LangChain embeddings, or a model name."
    )


def as_reranker(reranker: Qwen3Reranker | RerankerLike | str | None) -> RerankerLike | str | None:
    """What the core takes for `reranker`: the model of a `Qwen3Reranker`, whose other options are those of a compressor.

    Raises:
        ConfigurationError: naming each option that was set, and where a store or a search takes it.
    """
    if not isinstance(reranker, Qwen3Reranker):
        return reranker
    given = {name: getattr(reranker, name) for name in _OF_COMPRESSORS}
    lost = {name: value for name, value in given.items() if value not in (None, Qwen3Reranker.model_fields[name].default)}
    if lost:
        said = ", ".join(f"{name}={value!r} → {_OF_COMPRESSORS[name]}" for name, value in lost.items())
        raise ConfigurationError(
            f"A vector store takes the model of a Qwen3Reranker, not what it does as a compressor. Say it there: {said}. "
            "Then hand the model over: reranker=compressor.reranker."
        )
    return reranker.reranker
