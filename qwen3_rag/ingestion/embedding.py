"""Embeds the fresh chunks of many documents together. A document whose chunks cannot be embedded fails alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.errors import ModelError, OverloadedError, RemoteUnavailableError
from qwen3_rag.ingestion.prepare import Prepared
from qwen3_rag.ingestion.report import Action, Outcome
from qwen3_rag.models.base import EmbedderLike
from qwen3_rag.types import Chunk


@dataclass(frozen=True, slots=True)
class Embedded:
    """A prepared document with the vectors of its fresh chunks, float32 of shape (fresh, dim)."""

    prepared: Prepared
    vectors: NDArray[np.float32]


class EmbeddingStage:
    """Embeds documents with one model, in calls of at most `batch_chunks` chunks, and tells `on_batch` chunks and tokens of each."""

    def __init__(self, embedder: EmbedderLike, batch_chunks: int, on_batch: Callable[[int, int], None]) -> None:
        self._embedder = embedder
        self._batch_chunks = batch_chunks
        self._on_batch = on_batch

    def embed(self, documents: Sequence[Prepared]) -> tuple[list[Embedded], list[Outcome]]:
        """Embed all fresh chunks of `documents`; returns the documents that succeeded and the failures of the others.

        Raises:
            RemoteUnavailableError, OverloadedError: the model cannot be asked just now.
        """
        try:
            vectors = self._vectors([chunk for document in documents for chunk in document.fresh_chunks])
        except (RemoteUnavailableError, OverloadedError):
            raise  # no document's fault: the next run finds everything as it is
        except ModelError as error:
            return self._one_by_one(documents, error)
        bounds = np.cumsum([0, *(len(document.fresh) for document in documents)])
        return [Embedded(document, vectors[bounds[i] : bounds[i + 1]]) for i, document in enumerate(documents)], []

    def _one_by_one(self, documents: Sequence[Prepared], error: ModelError) -> tuple[list[Embedded], list[Outcome]]:
        if len(documents) == 1:
            return [], [Outcome(documents[0].document.id, Action.FAILED, stage="embed", reason=str(error))]
        parts = [self.embed([document]) for document in documents]
        return [item for embedded, _ in parts for item in embedded], [item for _, failed in parts for item in failed]

    def _vectors(self, chunks: Sequence[Chunk]) -> NDArray[np.float32]:
        parts = [np.empty((0, self._embedder.dim), dtype=np.float32)]
        for start in range(0, len(chunks), self._batch_chunks):
            batch = chunks[start : start + self._batch_chunks]
            parts.append(self._embedder.embed_documents([chunk.embedding_text for chunk in batch]))
            self._on_batch(len(batch), sum(chunk.tokens for chunk in batch))
        return np.concatenate(parts)
