"""Tiny and obvious stand-ins for the models."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cache

import numpy as np
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from qwen3_rag.models.base import ResultArray
from qwen3_rag.types import EmbeddingSpace


def word_tokenizer() -> Tokenizer:
    """One token a word: what is not in the one-word vocabulary is [UNK], which counts as one token."""
    tokenizer = Tokenizer(WordLevel({"[UNK]": 0}, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = Whitespace()
    return tokenizer


class HashEmbedder:
    """Bag of words: each word adds a pseudo-random direction that its hash decides, so texts with common words are near."""

    def __init__(self, dim: int = 64, *, model: str = "hash", revision: str = "1") -> None:
        self.dim = dim
        self.model = model
        self.max_tokens = 512
        self.tokenizer = word_tokenizer()
        self.space = EmbeddingSpace(model=model, revision=revision, dim=dim, template="none")
        self.embedded: list[str] = []

    def embed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        return self._embed(texts, dim)

    def embed_documents(self, texts: Sequence[str], dim: int | None = None) -> ResultArray:
        self.embedded.extend(texts)
        return self._embed(texts, dim)

    def _embed(self, texts: Sequence[str], dim: int | None) -> ResultArray:
        rows = np.array([np.sum([_direction(word) for word in [*text.lower().split(), ""]], axis=0) for text in texts], dtype=np.float32)
        rows = rows.reshape(len(texts), 64)[:, : dim or self.dim]
        return ResultArray.of(rows / np.linalg.norm(rows, axis=1, keepdims=True), [False] * len(texts))


class OverlapReranker:
    """Scores a document by the share of the query's words that it holds."""

    model = "overlap"

    def __init__(self) -> None:
        self.scored: list[str] = []

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None) -> ResultArray:
        self.scored.extend(documents)
        words = set(query.lower().split())
        shares = [len(words & set(document.lower().split())) / max(len(words), 1) for document in documents]
        return ResultArray.of(np.array(shares, dtype=np.float32), [False] * len(documents))


@cache
def _direction(word: str) -> np.ndarray:
    seed = int.from_bytes(hashlib.sha256(word.encode()).digest()[:8], "big")
    return np.random.default_rng(seed).standard_normal(64)
