"""Fills batches so that nothing stands twice in one, in the order in which things come.

What would be twice waits, and goes first into the next batch where it would not. Many that wait cost no more than few: they stand in
queues, and a queue is passed over as a whole. It knows no pairs: what must not be twice is a mark.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from heapq import heappop, heappush
from typing import Generic, NamedTuple, TypeVar

T = TypeVar("T")


class _Entry(NamedTuple, Generic[T]):
    """An item and when it came: no two came at once, so that entries are ordered by this alone."""

    number: int
    item: T
    marks: frozenset[str]


class _Batch(Generic[T]):
    """The batch that is being filled, and what waits for a later one."""

    def __init__(self) -> None:
        self.items: list[T] = []
        self._marks: set[str] = set()
        self._queues: defaultdict[str, list[_Entry[T]]] = defaultdict(list)
        """Those that wait, by a mark that stood in the batch when they came: as long as it does, none of its queue fits."""
        self._first: list[tuple[int, str]] = []
        """The first of each queue whose mark is free, by number. Some have gone meanwhile."""

    def offer(self, entry: _Entry[T]) -> None:
        """Take it, or have it wait."""
        taken = next((mark for mark in entry.marks if mark in self._marks), None)
        if taken is not None:
            heappush(self._queues[taken], entry)
            return
        self._marks |= entry.marks
        self.items.append(entry.item)

    def next(self, size: int) -> None:
        """Begin a new batch of this size with those that wait, first come first served."""
        freed, self._marks, self.items = self._marks, set(), []
        for mark in freed:
            self._announce(mark)
        while self._first and len(self.items) < size:
            number, mark = heappop(self._first)
            queue = self._queues[mark]
            if mark not in self._marks and queue and queue[0].number == number:
                self.offer(heappop(queue))
                self._announce(mark)

    def left(self) -> list[T]:
        """The items of a batch that was not filled, and those that wait."""
        waiting = sorted((entry for queue in self._queues.values() for entry in queue), key=lambda entry: entry.number)
        return [*self.items, *(entry.item for entry in waiting)]

    def _announce(self, mark: str) -> None:
        """Its queue may be looked at; that of a mark in the batch is announced when the batch is full."""
        if self._queues[mark] and mark not in self._marks:
            heappush(self._first, (self._queues[mark][0].number, mark))


def filled(items: Iterable[T], size: int, marks: Callable[[T], frozenset[str]]) -> tuple[list[list[T]], list[T]]:
    """Whole batches of `size` items without a mark in common, and what is left."""
    batches: list[list[T]] = []
    batch = _Batch[T]()
    for number, item in enumerate(items):
        batch.offer(_Entry(number, item, marks(item)))
        while len(batch.items) == size:
            batches.append(batch.items)
            batch.next(size)
    return batches, batch.left()
