"""Training pairs that an evaluation set already holds, word for word or nearly so: a model that saw them is not judged fairly.

Texts are compared by their runs of three words (shingles). It knows texts only.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum

from qwen3_rag.training.pairs import Pair, fingerprint

_WORDS = re.compile(r"\w+")
_RUN = 3
NEAR = 0.8
"""Texts that share this part of the runs of either are nearly the same (Jaccard index)."""


class Part(StrEnum):
    """What of a pair was found."""

    QUERY = "query"
    POSITIVE = "positive"
    NEGATIVE = "negative"


@dataclass(frozen=True, slots=True)
class Leak:
    """A pair of which a part is in the evaluation set: `likeness` is 1 for the same words, else the Jaccard index of the runs."""

    pair: Pair
    part: Part
    text: str
    held_out: str
    likeness: float


class LeakageCheck:
    """Finds texts of pairs in an evaluation set.

    Args:
        queries: the evaluation set's queries; pairs' queries are compared with these.
        documents: its documents; pairs' positives and negatives are compared with these. Documents may legitimately be known, as where
            a model is adapted to them: then leave them out.
        near: least likeness.
    """

    def __init__(self, queries: Iterable[str] = (), documents: Iterable[str] = (), *, near: float = NEAR) -> None:
        self._queries = _Index(queries, near)
        self._documents = _Index(documents, near)

    def leaks(self, pairs: Iterable[Pair]) -> Iterator[Leak]:
        """What leaks, in the pairs' order; one leak a part."""
        for pair in pairs:
            parts = [(Part.QUERY, pair.query), (Part.POSITIVE, pair.positive), *((Part.NEGATIVE, text) for text in pair.negatives)]
            for part, text in parts:
                found = (self._queries if part is Part.QUERY else self._documents).nearest(text)
                if found is not None:
                    yield Leak(pair, part, text, *found)

    def clean(self, pairs: Iterable[Pair]) -> Iterator[Pair]:
        """The pairs of which no part leaks."""
        for pair in pairs:
            if next(self.leaks([pair]), None) is None:
                yield pair


class _Index:
    """Texts by their runs."""

    def __init__(self, texts: Iterable[str], near: float) -> None:
        self._texts = list(texts)
        self._near = near
        self._exact = {fingerprint(text): text for text in self._texts}
        self._runs = [_runs(text) for text in self._texts]
        self._holders: defaultdict[tuple[str, ...], list[int]] = defaultdict(list)
        for index, runs in enumerate(self._runs):
            for run in runs:
                self._holders[run].append(index)

    def nearest(self, text: str) -> tuple[str, float] | None:
        """The text that is most like this one and how much, if it is enough."""
        exact = self._exact.get(fingerprint(text))
        if exact is not None:
            return exact, 1.0
        runs = _runs(text)
        shared = Counter(index for run in runs for index in self._holders.get(run, ()))
        likeness = {index: count / (len(runs) + len(self._runs[index]) - count) for index, count in shared.items()}
        best = max(likeness, key=lambda index: (likeness[index], -index), default=None)
        if best is None or likeness[best] < self._near:
            return None
        return self._texts[best], likeness[best]


def _runs(text: str) -> frozenset[tuple[str, ...]]:
    words = _WORDS.findall(text.casefold())
    if len(words) <= _RUN:
        return frozenset([tuple(words)] if words else [])
    return frozenset(tuple(words[start : start + _RUN]) for start in range(len(words) - _RUN + 1))
