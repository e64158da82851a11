"""Which synthetic pairs are worth training on, judged by the current embedder; each pair that is dropped has a reason.

In the order of what they cost: seen before, held out for judging, too little alike (the paper's cosine > 0.7), and a query that does not
find its own passage. It knows no server and no prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from enum import StrEnum
from itertools import groupby, islice

from qwen3_rag.training.leakage import LeakageCheck
from qwen3_rag.training.pairs import Pair, Task, fingerprint, read_pairs
from qwen3_rag.training.searching import Searcher, similarities
from qwen3_rag.training.synthesis.settings import FilterSettings
from qwen3_rag.training.synthesis.tasks import KINDS

_PAIRS_AT_A_TIME = 128
SIMILARITY = "similarity"
"""Where a judged pair keeps its cosine, in `extra`."""


class Dropped(StrEnum):
    """Why a pair was not kept."""

    REPEATED = "repeated"
    HELD_OUT = "held_out"
    UNLIKE = "unlike"
    INCONSISTENT = "inconsistent"


Judged = tuple[Pair, Dropped | None]


def judged(pairs: Iterable[Pair], searcher: Searcher, settings: FilterSettings) -> Iterator[Judged]:
    """Each pair, in order, with the reason to drop it or None; `extra` tells its cosine where that was looked at.

    Args:
        pairs: synthetic ones.
        searcher: the current embedder, and the passages among which a query must find its own.
        settings: limits.
    """
    check = LeakageCheck(pair.query for pair in read_pairs(*settings.held_out))
    seen: set[tuple[str, str]] = set()
    source = iter(pairs)
    while part := list(islice(source, _PAIRS_AT_A_TIME)):
        cheap = [(pair, _known(pair, seen, check)) for pair in part]
        vectors = iter(_judged_by_vectors([pair for pair, reason in cheap if reason is None], searcher, settings))
        yield from ((pair, reason) if reason else next(vectors) for pair, reason in cheap)


def _known(pair: Pair, seen: set[tuple[str, str]], check: LeakageCheck) -> Dropped | None:
    key = fingerprint(pair.query), pair.document
    if key in seen:
        return Dropped.REPEATED
    seen.add(key)
    return Dropped.HELD_OUT if next(check.leaks([pair]), None) else None


def _judged_by_vectors(pairs: Sequence[Pair], searcher: Searcher, settings: FilterSettings) -> Iterator[Judged]:
    for instruction, group in groupby(pairs, key=lambda pair: pair.instruction):
        alike = list(group)
        cosines = similarities(searcher.embedder, [pair.query for pair in alike], [pair.positive for pair in alike], instruction)
        measured = [
            replace(pair, extra={**pair.extra, SIMILARITY: round(float(cosine), 4)}) for pair, cosine in zip(alike, cosines, strict=True)
        ]
        unlike = [KINDS[pair.task].filtered and cosine <= settings.least_similarity for pair, cosine in zip(alike, cosines, strict=True)]
        lost = _inconsistent(measured, unlike, searcher, settings)
        yield from (
            (pair, Dropped.UNLIKE if is_unlike else Dropped.INCONSISTENT if is_lost else None)
            for pair, is_unlike, is_lost in zip(measured, unlike, lost, strict=True)
        )


def _inconsistent(pairs: Sequence[Pair], settled: Sequence[bool], searcher: Searcher, settings: FilterSettings) -> list[bool]:
    """Whether a query's own passage is missing among the best; only retrieval has passages that are searched."""
    asked = [pair for pair, is_settled in zip(pairs, settled, strict=True) if pair.task is Task.RETRIEVAL and not is_settled]
    lost: set[int] = set()
    if asked and settings.consistency:
        found = searcher.search([pair.query for pair in asked], asked[0].instruction, settings.consistency)
        lost = {id(pair) for pair, texts in zip(asked, found, strict=True) if pair.document not in {fingerprint(text) for text, _ in texts}}
    return [id(pair) in lost for pair in pairs]
