"""Callers share batches, in turn; what is cancelled, late or too large is dealt with before it is computed."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future
from dataclasses import dataclass, field

import numpy as np
import pytest

from qwen3_rag.errors import ModelError, ModelMemoryError, OverloadedError
from qwen3_rag.models.budget import LEAST_TOKENS, TokenBudget
from qwen3_rag.models.packing import Item
from qwen3_rag.models.scheduling import BatchTooLargeError, Computed, Reduction, Rows, Scheduler

FIRST = Reduction(lambda states: states[:, 0], ())
SECONDS = 20


class Budget:
    """A budget that tests set and read."""

    def __init__(self, tokens: int) -> None:
        self.tokens = tokens
        self.succeeded_batches = 0

    def halve(self, attempted: int) -> None:
        self.tokens = attempted // 2

    def succeeded(self) -> None:
        self.succeeded_batches += 1


@dataclass
class Network:
    """The sum of a sequence is its hidden state. `gate` holds batches back until it is open; `most` is what the memory holds."""

    most: int = 10**9
    seconds_per_token: float = 0.0
    batches: list[list[Item]] = field(default_factory=list)
    gate: threading.Event = field(default_factory=threading.Event)
    entered: threading.Event = field(default_factory=threading.Event)

    def __call__(self, items: Sequence[Item]) -> Rows:
        self.entered.set()
        assert self.gate.wait(SECONDS)
        tokens = sum(len(item.ids) for item in items)
        if tokens > self.most:
            raise BatchTooLargeError
        time.sleep(self.seconds_per_token * tokens)
        self.batches.append(list(items))
        return np.array([[sum(item.ids)] for item in items], dtype=np.float32)


def refuse_negative(states: Rows) -> None:
    if (states < 0).any():
        raise ArithmeticError("negative")


def scheduler(network: Network, tokens: int = 100, *, is_open: bool = True, waiting: int = 1024) -> Scheduler:
    if is_open:
        network.gate.set()
    return Scheduler(network, Budget(tokens), refuse_negative, waiting=waiting)


def busy(network: Network, made: Scheduler) -> Future[Computed]:
    """Something is being computed, and held back."""
    future = made.submit([Item([1])], FIRST)
    assert network.entered.wait(SECONDS)
    return future


def sequences(count: int, length: int = 10, start: int = 0) -> list[Item]:
    return [Item([start + index] * length) for index in range(count)]


def rows(future: Future[Computed]) -> list[float]:
    return future.result(SECONDS).rows.tolist()


def eventually(condition: Callable[[], bool]) -> bool:
    until = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < until:
        time.sleep(0.001)
    return condition()


def test_rows_come_in_the_callers_order_within_the_budget() -> None:
    network = Network()
    items = [Item([index] * (1 + index * 7 % 40)) for index in range(50)]
    done = scheduler(network, 64).run(items, FIRST)
    assert done.rows.tolist() == [sum(item.ids) for item in items]
    assert done.done.all()
    assert all(len(batch) == 1 or sum(len(item.ids) for item in batch) <= 64 for batch in network.batches)


def test_a_sequence_larger_than_the_budget_goes_alone() -> None:
    network = Network()
    assert scheduler(network, 10).run([Item([1] * 3), Item([1] * 50)], FIRST).rows.tolist() == [3, 50]
    assert [len(batch) for batch in network.batches] == [1, 1]


def test_a_shared_beginning_counts_once() -> None:
    network = Network()
    items = [Item([5] * 50 + [index], 50) for index in range(10)]
    scheduler(network, 60).run(items, FIRST)
    assert [len(batch) for batch in network.batches] == [10]


def test_equal_sequences_are_computed_once() -> None:
    network = Network()
    done = scheduler(network).run([Item([1, 2]), Item([3]), Item([1, 2]), Item([1, 2])], FIRST)
    assert done.rows.tolist() == [3, 3, 3, 3]
    assert sum(map(len, network.batches)) == 2


def test_nothing_to_compute() -> None:
    network = Network()
    assert scheduler(network).run([], FIRST).rows.shape == (0,)
    assert network.batches == []


def test_callers_that_wait_share_a_batch() -> None:
    network = Network()
    made = scheduler(network, is_open=False)
    first = busy(network, made)
    others = [made.submit([Item([number])], FIRST) for number in range(30)]
    network.gate.set()
    assert [rows(future) for future in others] == [[number] for number in range(30)]
    assert rows(first) == [1]
    assert [len(batch) for batch in network.batches] == [1, 30]


def test_a_small_call_does_not_wait_for_a_large_one() -> None:
    network = Network()
    made = scheduler(network, 1024, is_open=False)
    first = busy(network, made)
    large = made.submit(sequences(2000, 10), FIRST)
    small = made.submit([Item([7])], FIRST)
    network.gate.set()
    assert rows(small) == [7]
    assert len(rows(large)) == 2000
    assert rows(first) == [1]
    assert any(len(item.ids) == 1 for batch in network.batches[1:3] for item in batch)


def test_callers_with_much_to_do_get_the_same_share() -> None:
    network = Network()
    made = scheduler(network, 2048, is_open=False)
    busy(network, made)
    futures = [made.submit(sequences(500, 10, start=1000 * caller), FIRST) for caller in range(4)]
    network.gate.set()
    for future in futures:
        rows(future)
    for batch in network.batches[1:-2]:
        shares = [sum(item.ids[0] // 1000 == caller for item in batch) for caller in range(4)]
        assert max(shares) <= 1.1 * min(shares)


def test_a_cancelled_caller_is_not_computed() -> None:
    network = Network()
    made = scheduler(network, is_open=False)
    busy(network, made)
    given_up = [made.submit(sequences(5, start=100 * number), FIRST) for number in range(1, 20)]
    kept = made.submit([Item([7])], FIRST)
    assert all(future.cancel() for future in given_up)
    network.gate.set()
    assert rows(kept) == [7]
    assert sum(map(len, network.batches)) == 2
    with pytest.raises(CancelledError):
        given_up[0].result(SECONDS)


def test_a_caller_that_gives_up_while_it_is_computed_harms_nobody() -> None:
    network = Network()
    made = scheduler(network, is_open=False)
    assert busy(network, made).cancel()
    network.gate.set()
    assert made.run([Item([7])], FIRST).rows.tolist() == [7]


def test_too_many_callers_are_refused() -> None:
    network = Network()
    made = scheduler(network, is_open=False, waiting=3)
    first = busy(network, made)
    waiting = [made.submit([Item([number])], FIRST) for number in range(3)]
    with pytest.raises(OverloadedError, match="call again later"):
        made.submit([Item([9])], FIRST)
    assert waiting[0].cancel()
    waiting.append(made.submit([Item([9])], FIRST))
    network.gate.set()
    assert [rows(future) for future in waiting[1:]] == [[1], [2], [9]]
    assert rows(first) == [1]


def test_out_of_memory_halves_the_batch_and_loses_nothing() -> None:
    network = Network(most=30)
    made = scheduler(network, 200)
    items = sequences(40)
    assert made.run(items, FIRST).rows.tolist() == [sum(item.ids) for item in items]
    assert made.budget.tokens <= 30


def test_out_of_memory_with_one_sequence_fails_that_caller_alone() -> None:
    network = Network(most=30)
    made = scheduler(network, 200, is_open=False)
    busy(network, made)
    large, small = made.submit([Item([1] * 31)], FIRST), made.submit([Item([2])], FIRST)
    network.gate.set()
    assert rows(small) == [2]
    with pytest.raises(ModelMemoryError, match="31 tokens"):
        large.result(SECONDS)


@pytest.mark.parametrize("most", [60, 0])
def test_out_of_memory_with_a_few_short_sequences_ends(most: int) -> None:
    network = Network(most=most)
    network.gate.set()
    made = Scheduler(network, TokenBudget(LEAST_TOKENS), refuse_negative)
    future = made.submit(sequences(5, 50), FIRST)
    if most:
        assert rows(future) == [0, 50, 100, 150, 200]
    else:
        with pytest.raises(ModelMemoryError, match="50 tokens"):
            rows(future)


def test_bad_states_fail_their_caller_alone() -> None:
    network = Network()
    made = scheduler(network, is_open=False)
    busy(network, made)
    bad, good = made.submit([Item([-5])], FIRST), made.submit([Item([5])], FIRST)
    network.gate.set()
    assert rows(good) == [5]
    with pytest.raises(ArithmeticError):
        bad.result(SECONDS)


def test_an_error_reaches_every_caller_of_the_batch_and_the_next_is_served() -> None:
    def failing(items: Sequence[Item]) -> Rows:
        raise OSError("gone")

    made = Scheduler(failing, Budget(100), refuse_negative)
    for _ in range(2):
        with pytest.raises(OSError, match="gone"):
            made.run([Item([1])], FIRST)


def test_a_deadline_gives_the_first_in_the_callers_order() -> None:
    network = Network(seconds_per_token=0.0005)
    made = scheduler(network, 10_000)
    made.run(sequences(4), FIRST)
    items = sequences(400)
    began = time.monotonic()
    done = made.run(items, FIRST, deadline=began + 0.3)
    assert time.monotonic() - began < 1.5
    scored = int(done.done.sum())
    assert 0 < scored < 400
    assert done.done[:scored].all()
    assert done.rows[:scored].tolist() == [sum(item.ids) for item in items[:scored]]
    assert np.isnan(done.rows[scored:]).all()


def test_a_deadline_that_passed_while_waiting_computes_nothing() -> None:
    network = Network()
    made = scheduler(network, is_open=False)
    busy(network, made)
    late = made.submit([Item([7])], FIRST, deadline=time.monotonic() - 1)
    network.gate.set()
    done = late.result(SECONDS)
    assert np.isnan(done.rows).all()
    assert not done.done.any()
    assert eventually(lambda: len(network.batches) == 1)


def test_at_exit_the_batch_under_way_is_waited_for_and_no_other_begins() -> None:
    network = Network()
    made = scheduler(network, is_open=False)
    under_way, waiting = busy(network, made), made.submit(sequences(3), FIRST)
    threading.Timer(0.1, network.gate.set).start()
    made.wait_at_exit()
    assert rows(under_way) == [1]
    with pytest.raises(ModelError, match="ending"):
        waiting.result(SECONDS)
    assert len(network.batches) == 1
    with pytest.raises(ModelError, match="ending"):
        made.submit(sequences(1), FIRST).result(SECONDS)
