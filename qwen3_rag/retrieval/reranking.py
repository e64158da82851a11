"""Second stage: score candidates in recall order, for as long as the deadline allows. It knows neither Qdrant nor hits."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qwen3_rag.models.base import RerankerLike, ResultArray

FIRST_SLICE = 4
LARGEST_SLICE = 32


@dataclass(frozen=True, slots=True)
class Reranked:
    """Scores of the first documents in recall order; the deadline kept the others from being scored."""

    scores: list[float]
    truncated: list[bool]


def rerank(
    reranker: RerankerLike,
    query: str,
    documents: Sequence[str],
    *,
    instruction: str | None = None,
    deadline: float | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Reranked:
    """Score documents until `deadline` seconds have passed.

    All go to the reranker at once, which batches best, together with the deadline if it takes one. If it does not they go in slices: a
    small one to learn how long a document takes, then as many as half of the remaining time should hold, so that the deadline is overrun
    by a document or so and never by a batch. The first slice is always scored.
    """
    if not documents:
        return Reranked([], [])
    if deadline is None:
        return _score(reranker, query, documents, instruction)
    if "deadline" in inspect.signature(reranker.score).parameters:
        return _score(reranker, query, documents, instruction, deadline=deadline)
    scored, started, size = Reranked([], []), clock(), FIRST_SLICE
    while size and len(scored.scores) < len(documents):
        done = len(scored.scores)
        part = _score(reranker, query, documents[done : done + size], instruction)
        scored = Reranked(scored.scores + part.scores, scored.truncated + part.truncated)
        size = _next_slice(clock() - started, len(scored.scores), deadline)
    return scored


async def arerank(
    reranker: RerankerLike, query: str, documents: Sequence[str], *, instruction: str | None = None, deadline: float | None = None
) -> Reranked:
    """`rerank` without blocking the event loop: by the reranker's own `ascore` where it has one, else in a thread."""
    native = getattr(reranker, "ascore", None)
    if native is None:
        return await asyncio.to_thread(rerank, reranker, query, documents, instruction=instruction, deadline=deadline)
    return _in_time(await native(query, documents, instruction, deadline), len(documents)) if documents else Reranked([], [])


def _score(reranker: RerankerLike, query: str, documents: Sequence[str], instruction: str | None, **options: float) -> Reranked:
    return _in_time(reranker.score(query, documents, instruction, **options), len(documents))


def _in_time(scores: ResultArray, documents: int) -> Reranked:
    truncated = getattr(scores, "truncated", None)
    in_time = int(np.isnan(scores).argmax()) if np.isnan(scores).any() else documents
    return Reranked(scores.tolist()[:in_time], [False] * in_time if truncated is None else truncated.tolist()[:in_time])


def _next_slice(elapsed: float, done: int, deadline: float) -> int:
    remaining, each = deadline - elapsed, max(elapsed / done, 1e-9)
    if remaining < each:
        return 0
    return min(LARGEST_SLICE, max(1, int(remaining / 2 / each)))
