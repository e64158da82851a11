"""Who might ask about a passage: a library of short descriptions of people, and the five that suit a passage best by its embedding."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path

import numpy as np

from qwen3_rag.errors import TrainingDataError
from qwen3_rag.models.base import EmbedderLike

CANDIDATES = 5
INSTRUCTION = "Given a passage, retrieve the person who would have a reason to ask about it"
_LIBRARY = "personas.jsonl"


class Personas:
    """People, embedded once.

    Args:
        texts: a sentence each.
        embedder: finds those near a passage.
    """

    def __init__(self, texts: Sequence[str], embedder: EmbedderLike) -> None:
        self._texts = list(texts)
        self._embedder = embedder
        self._vectors = np.asarray(embedder.embed_documents(self._texts))

    @property
    def texts(self) -> Sequence[str]:
        """All of them."""
        return self._texts

    def near(self, passages: Sequence[str], count: int = CANDIDATES) -> list[list[str]]:
        """For each passage the `count` people whose descriptions are nearest, best first."""
        scores = np.asarray(self._embedder.embed_queries(passages, INSTRUCTION)) @ self._vectors.T
        best = np.argsort(-scores, axis=1, kind="stable")[:, :count]
        return [[self._texts[index] for index in row] for row in best]


def read_personas(path: str | Path | None = None) -> list[str]:
    """The texts of a file with one `{"persona": "…"}` a line, without repetitions; None reads the library of the package.

    Raises:
        TrainingDataError: naming the line, or that there are none.
    """
    lines = _lines(files(__package__).joinpath(_LIBRARY) if path is None else Path(path))
    found = list(dict.fromkeys(_parsed(lines, path or _LIBRARY)))
    if not found:
        raise TrainingDataError(f'{path} names nobody. A line looks like this: {{"persona": "A night nurse who …"}}')
    return found


def _lines(path: Path | Traversable) -> list[str]:
    try:
        return path.read_text(encoding="utf-8").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingDataError(f"{path} cannot be read: {error}. Give a UTF-8 file with one JSON object a line.") from None


def _parsed(lines: Iterable[str], path: str | Path) -> Iterator[str]:
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            text = json.loads(line)["persona"]
        except (ValueError, TypeError, KeyError):
            text = None
        if not isinstance(text, str) or not text.strip():
            raise TrainingDataError(f'{path}, line {number}: a line looks like this: {{"persona": "A night nurse who …"}}')
        yield " ".join(text.split())
