"""What the current model finds for a query, with cosines: in a knowledge base, or exactly in a list of texts.

Mining takes hard negatives from it, and filtering asks it whether a synthetic query finds its passage. It decides neither.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.base import EmbedderLike
from qwen3_rag.passages import Passages
from qwen3_rag.training.passages import passage_of
from qwen3_rag.types import Fusion, Mode

_TEXTS_AT_A_TIME = 4096

Found = tuple[str, float]
"""A text as it is embedded, and its cosine with the query."""


class Searcher(Protocol):
    """Finds texts for queries."""

    @property
    def embedder(self) -> EmbedderLike:
        """The current model."""

    def search(self, queries: Sequence[str], instruction: str | None, depth: int) -> list[list[Found]]:
        """For each query the `depth` best texts, best first."""


class ExactSearcher:
    """Compares with every text of a list, which is embedded once."""

    def __init__(self, embedder: EmbedderLike, texts: Sequence[str]) -> None:
        self.embedder = embedder
        self._texts = list(dict.fromkeys(texts))
        self._vectors = np.concatenate([np.zeros((0, embedder.dim), np.float32), *self._embedded()])

    def search(self, queries: Sequence[str], instruction: str | None, depth: int) -> list[list[Found]]:
        """For each query the `depth` nearest texts; of equals the one that came first."""
        scores = np.asarray(self.embedder.embed_queries(queries, instruction)) @ self._vectors.T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :depth]
        return [[(self._texts[index], float(row[index])) for index in order] for row, order in zip(scores, best, strict=True)]

    def _embedded(self) -> list[NDArray[np.float32]]:
        starts = range(0, len(self._texts), _TEXTS_AT_A_TIME)
        return [np.asarray(self.embedder.embed_documents(self._texts[start : start + _TEXTS_AT_A_TIME])) for start in starts]


class KnowledgeBaseSearcher:
    """Searches a knowledge base as its users do, without its reranker.

    Args:
        passages: `kb.passages()`.
        mode: hybrid also finds what shares words only; dense finds what the model itself takes for near.
    """

    def __init__(self, passages: Passages, mode: Mode = Mode.HYBRID) -> None:
        if mode is Mode.LEXICAL:
            raise ConfigurationError("Lexical search has no cosines to judge by. Use mode = 'hybrid' or 'dense'.")
        self._passages = passages
        self._mode = mode

    @property
    def embedder(self) -> EmbedderLike:
        """The knowledge base's own."""
        return self._passages.embedder()

    def search(self, queries: Sequence[str], instruction: str | None, depth: int) -> list[list[Found]]:
        """For each query the `depth` best chunks, in the order of the mode's own scores."""
        return [self._search(query, instruction, depth) for query in queries]

    def _search(self, query: str, instruction: str | None, depth: int) -> list[Found]:
        hits = self._passages.search(
            query, top_k=depth, instruction=instruction, mode=self._mode, fusion=Fusion.COMPLETED, rerank=False, recall_threshold=None
        )
        return [(passage_of(hit).embedding_text, hit.stages["dense"].score) for hit in hits]


def similarities(embedder: EmbedderLike, queries: Sequence[str], documents: Sequence[str], instruction: str | None) -> NDArray[np.float32]:
    """Cosine of each query with the document at its place, shape (n,)."""
    known = {text: place for place, text in enumerate(dict.fromkeys(documents))}
    vectors = np.asarray(embedder.embed_documents(list(known)))[[known[text] for text in documents]]
    cosines: NDArray[np.float32] = (np.asarray(embedder.embed_queries(queries, instruction)) * vectors).sum(axis=1)
    return cosines
