"""Shares batches among all who call at the same time: whatever waits when a batch is composed goes into it, callers taking turns.

One thread computes. A caller that comes alone is served at once; while a batch runs others gather, and when callers are seen to come
together the next batch waits a few milliseconds for them. A caller that gives up takes its rows with it before they are computed. One
that has a deadline is given what was computed by then. It knows sequences and rows of numbers, neither text nor tensors.
"""

from __future__ import annotations

import atexit
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.errors import ModelError, ModelMemoryError, OverloadedError
from qwen3_rag.models.packing import Item, in_packing_order

Rows = NDArray[np.float32]

WAITING_CALLERS = 1024
"""More callers than this waiting at the same time are refused."""
GATHER_SECONDS = 0.002
_TURN_TOKENS = 512
"""What a caller may put into a batch before the next one's turn comes."""
_IDLE_SECONDS = 10.0
_FIRST_TOKENS = 512
"""The batch of a caller with a deadline while the speed is not known."""
_MEMORY = 0.7
"""Weight of the speed known so far against that of the last batch."""


class BatchTooLargeError(Exception):
    """The machine has not the memory for a batch."""


class Budget(Protocol):
    """The tokens of a batch now, and what becomes of them."""

    tokens: int

    def halve(self, attempted: int) -> None:
        """A batch of `attempted` tokens was too large: `tokens` are fewer than that from now on, or 1."""

    def succeeded(self) -> None:
        """A batch went through."""


@dataclass(frozen=True, slots=True)
class Reduction:
    """What a caller keeps of hidden states of shape (n, hidden): `reduce` gives an array of shape (n, *shape)."""

    reduce: Callable[[Rows], Rows]
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Computed:
    """What a caller gets: a row for each of its items, NaN where `done` says that its deadline came first."""

    rows: Rows
    done: NDArray[np.bool_]


class Job:
    """One caller's items. Equal items are computed once."""

    def __init__(self, items: Sequence[Item], reduction: Reduction, deadline: float | None) -> None:
        places: dict[tuple[int, ...], list[int]] = {}
        for index, item in enumerate(items):
            places.setdefault(tuple(item.ids), []).append(index)
        self._places = list(places.values())
        self.items = [items[indices[0]] for indices in self._places]
        # With a deadline the caller's order is the order of importance.
        order = range(len(self.items)) if deadline is not None else in_packing_order(self.items)
        self.pending = deque(order)
        self.deadline = deadline
        self.future: Future[Computed] = Future()
        self._reduce = reduction.reduce
        self._rows = np.full((len(items), *reduction.shape), np.nan, dtype=np.float32)
        self._done = np.zeros(len(items), dtype=np.bool_)
        self._open = len(self.items)

    def take(self, indices: Sequence[int], states: Rows) -> None:
        """Keep the hidden states of `indices`; the last of them completes the job."""
        rows = self._reduce(states)
        for index, row in zip(indices, rows, strict=True):
            self._rows[self._places[index]] = row
            self._done[self._places[index]] = True
        self._open -= len(indices)
        if not self._open:
            self.finish()

    def finish(self) -> None:
        """Give the caller what there is."""
        with suppress(InvalidStateError):  # the caller gave up meanwhile
            self.future.set_result(Computed(self._rows, self._done))

    def fail(self, error: BaseException) -> None:
        """Give the caller an error."""
        with suppress(InvalidStateError):
            self.future.set_exception(error)


@dataclass(slots=True)
class _Batch:
    """Items of several jobs, and the tokens that they take together."""

    parts: list[tuple[Job, list[int]]]
    tokens: int

    @property
    def items(self) -> list[Item]:
        return [job.items[index] for job, indices in self.parts for index in indices]


class Scheduler:
    """Runs jobs through `compute`, which gives hidden states for a batch of items: shape (n, hidden), float32.

    `compute` raises `BatchTooLargeError` when memory runs out: the batch is composed anew with half the tokens. `check` is given the
    states of one job's items and raises when they are not fit to be given out; then that job alone fails.
    """

    def __init__(
        self, compute: Callable[[Sequence[Item]], Rows], budget: Budget, check: Callable[[Rows], None], *, waiting: int = WAITING_CALLERS
    ) -> None:
        self._compute = compute
        self._check = check
        self.budget = budget
        self._waiting = waiting
        self._changed = threading.Condition()
        self._jobs: deque[Job] = deque()
        self._thread: threading.Thread | None = None
        self._together = self._ending = False
        self._tokens_per_second = 0.0

    def submit(self, items: Sequence[Item], reduction: Reduction, deadline: float | None = None) -> Future[Computed]:
        """Have items computed. `deadline` is a moment of `time.monotonic`.

        Cancelling the future takes back what is not computed yet.

        Raises:
            OverloadedError: too many callers are waiting.
        """
        job = Job(items, reduction, deadline)
        if not job.items:
            job.finish()
            return job.future
        with self._changed:
            if len(self._jobs) >= self._waiting:
                self._drop_cancelled()
            if len(self._jobs) >= self._waiting:
                raise OverloadedError(
                    f"{len(self._jobs)} callers are waiting for the model already. Nothing was computed for this one; call again later, "
                    "or make fewer calls with more texts each."
                )
            self._jobs.append(job)
            self._start()
            self._changed.notify_all()
        return job.future

    def run(self, items: Sequence[Item], reduction: Reduction, deadline: float | None = None) -> Computed:
        """`submit` and wait. Raises what computing raised."""
        future = self.submit(items, reduction, deadline)
        try:
            return future.result()
        except BaseException:
            future.cancel()
            raise

    def _start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._work, name="qwen3-rag-model", daemon=True)
            self._thread.start()
            _RUNNING.add(self)

    def wait_at_exit(self) -> None:
        """Compute no further batch, and wait for the one under way: the interpreter must not end in the middle of it."""
        with self._changed:
            self._ending, thread = True, self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join()

    def _work(self) -> None:
        """Compute while there is something to compute; end after a while of nothing, so that an unused model can be freed."""
        while True:
            with self._changed:
                if not self._jobs:
                    self._changed.wait_for(lambda: self._jobs or self._ending, _IDLE_SECONDS)
                if self._ending or not self._jobs:
                    self._thread = None
                    self._give_up()
                    return
                if self._together:
                    self._gather()
                batch = self._compose()
                self._together = len(batch.parts) > 1
            if batch.parts:
                self._run(batch)

    def _give_up(self) -> None:
        for job in self._jobs:
            job.fail(ModelError("Python is ending: this was not computed any more."))
        self._jobs.clear()

    def _gather(self) -> None:
        """Wait while others keep arriving, a few milliseconds at most."""
        until = time.monotonic() + GATHER_SECONDS
        waiting = 0
        while waiting < len(self._jobs) and (left := until - time.monotonic()) > 0:
            waiting = len(self._jobs)
            self._changed.wait(left / 2)

    def _compose(self) -> _Batch:
        """The next batch: callers in turn, each a few items at a time, until the budget is used."""
        self._drop_cancelled()
        self._drop_late()
        batch, laid = _Batch([], 0), set[tuple[int, ...]]()
        parts: dict[int, tuple[Job, list[int]]] = {}
        turn = deque(self._jobs)
        limit = min([self.budget.tokens, *(self._time_left(job) for job in self._jobs if job.deadline is not None)])
        while turn:
            job = turn.popleft()
            taken, used = parts.setdefault(id(job), (job, []))[1], 0
            while job.pending and used < _TURN_TOKENS:
                cost = _cost(job.items[job.pending[0]], laid)
                if batch.tokens and batch.tokens + cost > limit:
                    break
                taken.append(job.pending.popleft())
                laid.add(job.items[taken[-1]].beginning)
                batch.tokens += cost
                used += cost
            else:
                if job.pending:
                    turn.append(job)
        batch.parts = [part for part in parts.values() if part[1]]
        self._jobs.rotate(-1)
        self._jobs = deque(job for job in self._jobs if job.pending)
        return batch

    def _drop_cancelled(self) -> None:
        self._jobs = deque(job for job in self._jobs if not job.future.cancelled())

    def _drop_late(self) -> None:
        now = time.monotonic()
        for job in [job for job in self._jobs if job.deadline is not None and job.deadline <= now]:
            self._jobs.remove(job)
            job.finish()

    def _time_left(self, job: Job) -> int:
        """Tokens that can be computed before the job's deadline, by the speed of the last batches."""
        if not self._tokens_per_second:
            return _FIRST_TOKENS
        return max(1, int(((job.deadline or 0.0) - time.monotonic()) * self._tokens_per_second))

    def _run(self, batch: _Batch) -> None:
        began = time.monotonic()
        try:
            states = self._compute(batch.items)
        except BatchTooLargeError as error:
            self._take_back(batch, error)
            return
        except BaseException as error:  # noqa: BLE001 - whatever it is, it is the callers' to know
            self._fail(batch, error)
            return
        self.budget.succeeded()
        speed = batch.tokens / max(time.monotonic() - began, 1e-6)
        self._tokens_per_second = _MEMORY * self._tokens_per_second + (1 - _MEMORY) * speed if self._tokens_per_second else speed
        self._give(batch, states)

    def _give(self, batch: _Batch, states: Rows) -> None:
        start = 0
        for job, indices in batch.parts:
            rows = states[start : start + len(indices)]
            start += len(indices)
            try:
                self._check(rows)
                job.take(indices, rows)
            except BaseException as error:  # noqa: BLE001 - this caller's alone
                self._fail(_Batch([(job, indices)], 0), error)

    def _take_back(self, batch: _Batch, error: BatchTooLargeError) -> None:
        """Put the items back and try with half the tokens; what does not fit alone fails."""
        if sum(len(indices) for _, indices in batch.parts) == 1:
            job, (index,) = batch.parts[0]
            failure = ModelMemoryError(
                f"There is not enough memory for one text of {len(job.items[index].ids)} tokens. Cut it into smaller pieces, free memory, "
                "or use a smaller model."
            )
            failure.__cause__ = error
            self._fail(batch, failure)
            return
        self.budget.halve(batch.tokens)
        with self._changed:
            for job, indices in reversed(batch.parts):
                job.pending.extendleft(reversed(indices))
                if job not in self._jobs:
                    self._jobs.appendleft(job)

    def _fail(self, batch: _Batch, error: BaseException) -> None:
        with self._changed:
            for job, _ in batch.parts:
                job.fail(error)
                if job in self._jobs:
                    self._jobs.remove(job)


def _cost(item: Item, laid: set[tuple[int, ...]]) -> int:
    """Tokens that an item adds to a row in which the beginnings `laid` are there already."""
    beginning = item.beginning
    return len(item.ids) - (len(beginning) if beginning in laid else 0)


_RUNNING: WeakSet[Scheduler] = WeakSet()
"""Those that may have a thread."""


@atexit.register
def _end_all() -> None:
    for scheduler in list(_RUNNING):
        scheduler.wait_at_exit()
