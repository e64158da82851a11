from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from qwen3_rag.errors import ModelError
from qwen3_rag.models.base import ResultArray
from qwen3_rag.retrieval.reranking import FIRST_SLICE, LARGEST_SLICE, Reranked, arerank, rerank


class SlowReranker:
    """Takes `each` seconds of a clock of its own for a document, whose text is its score."""

    model = "slow"

    def __init__(self, each: float) -> None:
        self.now = 100.0
        self.each = each
        self.calls: list[list[str]] = []

    def clock(self) -> float:
        return self.now

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None) -> ResultArray:
        self.calls.append(list(documents))
        self.now += self.each * len(documents)
        values: NDArray[np.float32] = np.array([float(document) for document in documents], dtype=np.float32)
        return ResultArray.of(values, [float(document) > 0.5 for document in documents])


DOCUMENTS = [f"{index / 100:.2f}" for index in range(100)]


def test_without_a_deadline_all_go_at_once() -> None:
    reranker = SlowReranker(1.0)
    result = rerank(reranker, "q", DOCUMENTS, clock=reranker.clock)
    assert len(reranker.calls) == 1
    assert result.scores == pytest.approx([float(document) for document in DOCUMENTS])
    assert result.truncated == [float(document) > 0.5 for document in DOCUMENTS]


@pytest.mark.parametrize("each", [0.01, 0.1, 0.5, 2.0])
@pytest.mark.parametrize("deadline", [1.0, 5.0])
def test_a_deadline_is_overrun_by_little_and_used_up(each: float, deadline: float) -> None:
    reranker = SlowReranker(each)
    result = rerank(reranker, "q", DOCUMENTS, deadline=deadline, clock=reranker.clock)
    spent, scored = reranker.now - 100.0, len(result.scores)
    assert scored >= 4
    assert [document for call in reranker.calls for document in call] == DOCUMENTS[:scored]
    assert spent <= max(deadline, 4 * each) + 1e-6
    assert scored == len(DOCUMENTS) or scored == 4 or spent >= deadline - 2 * each
    assert max(map(len, reranker.calls)) <= LARGEST_SLICE


def test_nothing_to_rerank() -> None:
    reranker = SlowReranker(1.0)
    assert rerank(reranker, "q", [], deadline=1.0, clock=reranker.clock).scores == []
    assert rerank(reranker, "q", [], clock=reranker.clock).scores == []
    assert reranker.calls == []


class Punctual(SlowReranker):
    """Takes a deadline itself, and scores seven documents in time."""

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None, deadline: float | None = None) -> ResultArray:
        values = super().score(query, documents, instruction)
        if deadline is not None:
            values[7:-1] = np.nan
        return ResultArray.of(values, [False] * len(documents))


def test_a_reranker_that_takes_a_deadline_is_called_once() -> None:
    reranker = Punctual(1.0)
    result = rerank(reranker, "q", DOCUMENTS, deadline=1.0)
    assert len(reranker.calls) == 1
    assert result.scores == pytest.approx([float(document) for document in DOCUMENTS[:7]])
    assert len(result.truncated) == 7


class Native(Punctual):
    """Scores tasks itself."""

    async def ascore(
        self, query: str, documents: Sequence[str], instruction: str | None = None, deadline: float | None = None
    ) -> ResultArray:
        return self.score(query, documents, instruction, deadline)


@pytest.mark.parametrize("kind", [SlowReranker, Native])
async def test_async_gives_the_same(kind: type[SlowReranker]) -> None:
    result = await arerank(kind(0.0), "q", DOCUMENTS[:9], deadline=1e6)
    assert result == rerank(kind(0.0), "q", DOCUMENTS[:9], deadline=1e6)
    assert (await arerank(kind(0.0), "q", [])).scores == []


class Odd:
    """Gives what it was told to."""

    model = "odd"

    def __init__(self, scores: list[float]) -> None:
        self.scores = scores

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None) -> Any:
        return self.scores


@pytest.mark.parametrize(("scores", "found"), [([0.5, float("nan"), 0.1], "1 of them NaN"), ([0.5, 0.1], r"shape \(2,\)")])
async def test_scores_left_out_without_a_deadline_are_the_rerankers_fault(scores: list[float], found: str) -> None:
    with pytest.raises(ModelError, match=found):
        rerank(Odd(scores), "query", ["a", "b", "c"])
    with pytest.raises(ModelError, match=found):
        await arerank(Odd(scores), "query", ["a", "b", "c"])


class Plain(SlowReranker):
    """Its `ascore` takes no deadline."""

    async def ascore(self, query: str, documents: Sequence[str], instruction: str | None = None) -> ResultArray:
        return super().score(query, documents, instruction)

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None) -> ResultArray:
        time.sleep(0.02)
        return super().score(query, documents, instruction)


async def test_an_ascore_without_a_deadline_is_awaited_where_there_is_none() -> None:
    reranker = Plain(0.01)
    assert len((await arerank(reranker, "query", DOCUMENTS)).scores) == len(DOCUMENTS)
    assert [len(call) for call in reranker.calls] == [len(DOCUMENTS)]
    assert len((await arerank(reranker, "query", DOCUMENTS, deadline=0.01)).scores) == FIRST_SLICE


def test_a_plain_list_of_scores_will_do() -> None:
    assert rerank(Odd([0.5, 0.25]), "query", ["a", "b"]) == Reranked([0.5, 0.25], [False, False])


async def test_waiting_for_a_thread_counts_towards_the_deadline() -> None:
    loop, pool = asyncio.get_running_loop(), ThreadPoolExecutor(1)
    loop.set_default_executor(pool)
    busy = loop.run_in_executor(None, time.sleep, 0.3)

    class Sluggish(SlowReranker):
        def score(self, query: str, documents: Sequence[str], instruction: str | None = None) -> ResultArray:
            time.sleep(0.005)
            return super().score(query, documents)

    found = await arerank(Sluggish(0), "query", ["0.5"] * 40, deadline=0.2)
    await busy
    assert len(found.scores) == FIRST_SLICE
