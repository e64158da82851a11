"""Teachers' vectors: computed by a model as they are needed, or read from a file where they lie ready beside their texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.errors import ConfigurationError, TrainingDataError
from qwen3_rag.models.base import EmbedderLike
from qwen3_rag.training.pairs import fingerprint
from qwen3_rag.training.settings import EmbedderTraining

Teacher = Callable[[Sequence[str]], NDArray[np.float32]]
"""Queries, then as many positives in; a vector for each out, shape (2n, width)."""


class ModelTeacher:
    """Any embedder: the first half of the texts are embedded as queries, the second as documents."""

    def __init__(self, embedder: EmbedderLike) -> None:
        self._embedder = embedder

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Embed."""
        half = len(texts) // 2
        parts = self._embedder.embed_queries(texts[:half]), self._embedder.embed_documents(texts[half:])
        return np.concatenate([np.asarray(part) for part in parts])


class StoredTeacher:
    """Vectors in a .npy file, a row for each line of a file of texts; a line is a text as a JSON string.

    Raises:
        TrainingDataError: a file cannot be read, or there is not one row a line.
    """

    def __init__(self, texts: Path, vectors: Path) -> None:
        try:
            lines = texts.read_text(encoding="utf-8").splitlines()
            self._rows = {fingerprint(json.loads(line)): number for number, line in enumerate(lines)}
            self._vectors = np.load(vectors, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, AttributeError) as error:
            raise TrainingDataError(f"A teacher's vectors cannot be read from {texts} and {vectors}: {error}.") from error
        if self._vectors.ndim != 2 or len(self._vectors) != len(lines):
            raise TrainingDataError(f"{vectors} has shape {self._vectors.shape} and {texts} has {len(lines)} lines. Each line needs a row.")

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Look up.

        Raises:
            TrainingDataError: a text is not among them.
        """
        rows = [self._rows.get(fingerprint(text)) for text in texts]
        missing = [text for text, row in zip(texts, rows, strict=True) if row is None]
        if missing:
            raise TrainingDataError(f"The teacher has no vector of {missing[0][:80]!r}. Its file must hold every query and positive.")
        return np.asarray(self._vectors[[row for row in rows if row is not None]], dtype=np.float32)


def open_teacher(settings: EmbedderTraining) -> Teacher | None:
    """The teacher that the settings name; None where distillation counts nothing.

    Raises:
        ConfigurationError: distillation is wanted and none or half a teacher is named.
    """
    if not settings.distillation_weight:
        return None
    if settings.teacher_texts is not None and settings.teacher_vectors is not None:
        return StoredTeacher(settings.teacher_texts, settings.teacher_vectors)
    if settings.teacher is None:
        raise ConfigurationError("`distillation_weight` needs a `teacher`, or `teacher_texts` with `teacher_vectors`.")
    from qwen3_rag.models.embedder import Embedder

    return ModelTeacher(Embedder.load(settings.teacher, device=settings.device))
