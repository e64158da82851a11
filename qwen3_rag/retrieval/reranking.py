"""Second stage: score candidates in recall order, for as long as the deadline allows. It knows neither Qdrant nor hits."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from qwen3_rag.errors import ModelError
from qwen3_rag.models.base import RerankerLike, ResultArray

FIRST_SLICE = 4
LARGEST_SLICE = 32
LEAST_SECONDS = 0.001
"""What is left of a deadline that passed while waiting: slices begin with one that is scored all the same."""


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
    if _takes_deadline(reranker.score):
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
    """`rerank` without blocking the event loop: by the reranker's own `ascore` where it has one, else in a thread.

    A deadline that `ascore` does not take has the documents scored in a thread too. Waiting for the thread counts towards the deadline.
    """
    if not documents:
        return Reranked([], [])
    native = getattr(reranker, "ascore", None)
    if native is not None and (deadline is None or _takes_deadline(native)):
        options = {} if deadline is None else {"deadline": deadline}
        return _in_time(reranker, await native(query, documents, instruction, **options), len(documents), deadline)
    asked = time.perf_counter()

    def run() -> Reranked:
        left = None if deadline is None else max(deadline - (time.perf_counter() - asked), LEAST_SECONDS)
        return rerank(reranker, query, documents, instruction=instruction, deadline=left)

    return await asyncio.to_thread(run)


def _takes_deadline(score: Callable[..., object]) -> bool:
    return "deadline" in inspect.signature(score).parameters


def _score(
    reranker: RerankerLike, query: str, documents: Sequence[str], instruction: str | None, deadline: float | None = None
) -> Reranked:
    options = {} if deadline is None else {"deadline": deadline}
    return _in_time(reranker, reranker.score(query, documents, instruction, **options), len(documents), deadline)


def _in_time(reranker: RerankerLike, scores: ResultArray, documents: int, deadline: float | None) -> Reranked:
    """The scores up to the first NaN, which a deadline explains and nothing else does.

    Raises:
        ModelError: fewer or more scores than documents, or NaN without a deadline.
    """
    values = np.asarray(scores, dtype=np.float64)
    unscored = np.isnan(values)
    if values.shape != (documents,) or (deadline is None and unscored.any()):
        name = getattr(reranker, "model", type(reranker).__name__)
        found = f"{int(unscored.sum())} of them NaN" if values.shape == (documents,) else f"an array of shape {values.shape}"
        raise ModelError(
            f"Reranker {name} was given {documents} documents and no deadline to stop it, and gave {found}. `score` returns one finite "
            "number for each document, in their order; NaN is for documents that a deadline left out."
            if deadline is None
            else f"Reranker {name} was given {documents} documents and gave {found}. `score` returns one number for each, in their order."
        )
    count = int(unscored.argmax()) if unscored.any() else documents
    truncated = getattr(scores, "truncated", None)
    return Reranked(values.tolist()[:count], [False] * count if truncated is None else truncated.tolist()[:count])


def _next_slice(elapsed: float, done: int, deadline: float) -> int:
    remaining, each = deadline - elapsed, max(elapsed / done, 1e-9)
    if remaining < each:
        return 0
    return min(LARGEST_SLICE, max(1, int(remaining / 2 / each)))
