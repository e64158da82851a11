"""Teachers' vectors: computed by a model as they are needed, or read from a file where they lie ready beside their texts."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.errors import ConfigurationError, TrainingDataError
from qwen3_rag.models.base import EmbedderLike
from qwen3_rag.training.pairs import Pair, fingerprint
from qwen3_rag.training.settings import EmbedderTraining

Teacher = Callable[[Sequence[Pair]], NDArray[np.float32]]
"""Pairs in; vectors of their queries, then of their positives out, shape (2n, width)."""


class ModelTeacher:
    """Any embedder. It is asked as the one that learns from it: each query follows its own instruction."""

    def __init__(self, embedder: EmbedderLike) -> None:
        self._embedder = embedder

    def __call__(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Embed."""
        documents = self._embedder.embed_documents([pair.positive for pair in pairs])
        return np.concatenate([self._queries(pairs), np.asarray(documents)])

    def _queries(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """One call for each instruction, in the pairs' order."""
        groups: dict[str | None, list[int]] = {}
        for place, pair in enumerate(pairs):
            groups.setdefault(pair.instruction, []).append(place)
        parts = [
            np.asarray(self._embedder.embed_queries([pairs[place].query for place in places], instruction))
            for instruction, places in groups.items()
        ]
        order = np.argsort(np.concatenate(list(groups.values())))
        return np.concatenate(parts)[order]


class StoredTeacher:
    """Vectors in a .npy file, a row for each line of a file of texts; a line is a text as a JSON string.

    A query is looked up by its text alone; its vector is to be made with its pair's instruction.

    Raises:
        TrainingDataError: a file cannot be read, or there is not one row a line.
    """

    def __init__(self, texts: Path, vectors: Path) -> None:
        try:
            # Not `splitlines`: a JSON string may hold line separators of Unicode.
            lines = texts.read_text(encoding="utf-8").removesuffix("\n").split("\n")
            self._rows = {fingerprint(json.loads(line)): number for number, line in enumerate(lines)}
            self._vectors = np.load(vectors, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, AttributeError) as error:
            raise TrainingDataError(f"A teacher's vectors cannot be read from {texts} and {vectors}: {error}.") from error
        if self._vectors.ndim != 2 or len(self._vectors) != len(lines):
            raise TrainingDataError(f"{vectors} has shape {self._vectors.shape} and {texts} has {len(lines)} lines. Each line needs a row.")

    def __call__(self, pairs: Sequence[Pair]) -> NDArray[np.float32]:
        """Look up. Raises as `vectors_of`."""
        return self.vectors_of([pair.query for pair in pairs] + [pair.positive for pair in pairs])

    def vectors_of(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """A row for each text, shape (n, width).

        Raises:
            TrainingDataError: a text is not among them.
        """
        rows = [self._rows.get(fingerprint(text)) for text in texts]
        missing = [text for text, row in zip(texts, rows, strict=True) if row is None]
        if missing:
            raise TrainingDataError(f"The teacher has no vector of {missing[0][:80]!r}. Its file must hold every query and positive.")
        return np.asarray(self._vectors[[row for row in rows if row is not None]], dtype=np.float32)


def open_similarities(settings: EmbedderTraining) -> Teacher | None:
    """Vectors whose similarities are followed in place of the teacher's, where the settings name a file of them.

    Raises:
        ConfigurationError: without the texts that they belong to.
        TrainingDataError: the files do not fit.
    """
    if settings.teacher_similarities is None or not settings.distillation_weight:
        return None
    if settings.teacher_texts is None:
        raise ConfigurationError("`teacher_similarities` needs `teacher_texts`, which say what its rows are of.")
    return StoredTeacher(settings.teacher_texts, settings.teacher_similarities)


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
