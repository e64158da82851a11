"""Lays sequences into one row without padding; what several of them begin with is laid once. Knows token ids, not tensors.

A row is a run of token ids with a position for each. A sequence that shares its beginning with others consists of two segments: the
shared one, which all of them attend to, and its own, which goes on where the shared one ends. A sequence that shares nothing is one
segment. Any number of shared beginnings can be in one row, so that candidates of several queries fit together.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple


class Item(NamedTuple):
    """A sequence to run: its token ids, and how many of the first it may share with others. The last token is never shared."""

    ids: Sequence[int]
    shared: int = 0

    @property
    def beginning(self) -> tuple[int, ...]:
        """The ids that may be shared."""
        return tuple(self.ids[: min(self.shared, len(self.ids) - 1)])


class Segment(NamedTuple):
    """Rows [start, start + length) are one piece of text; they attend to [before, before + before_length) and causally to themselves."""

    start: int
    length: int
    before: int = 0
    before_length: int = 0

    @property
    def last(self) -> int:
        """The row of its last token."""
        return self.start + self.length - 1


@dataclass(frozen=True, slots=True)
class Row:
    """A packed row: `ids` and `positions` of every token, all `segments`, and the segment that ends each item, in the items' order."""

    ids: list[int]
    positions: list[int]
    segments: list[Segment]
    ends: list[Segment]


def pack(items: Sequence[Item]) -> Row:
    """Lay `items` into one row. A beginning that only one item has is not set apart.

    Raises:
        ValueError: an item is empty.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, item in enumerate(items):
        if not len(item.ids):
            raise ValueError(f"Sequence {index} is empty; even an empty text has its end-of-text token.")
        groups.setdefault(item.beginning, []).append(index)
    row = Row([], [], [], [])
    ends: dict[int, Segment] = {}
    for beginning, members in groups.items():
        shared = beginning if len(members) > 1 else ()
        before = _lay(row, shared, None) if shared else None
        for index in members:
            ends[index] = _lay(row, items[index].ids[len(shared) :], before)
    row.ends.extend(ends[index] for index in range(len(items)))
    return row


def _lay(row: Row, ids: Sequence[int], before: Segment | None) -> Segment:
    offset = before.length if before else 0
    segment = Segment(len(row.ids), len(ids), before.start if before else 0, offset)
    row.ids.extend(ids)
    row.positions.extend(range(offset, offset + len(ids)))
    row.segments.append(segment)
    return segment


def in_packing_order(items: Sequence[Item]) -> list[int]:
    """Indices of `items`, those with the same beginning together, the longest first within them.

    Longest first, so that a batch that is too large for the memory shows at once.
    """
    groups: dict[tuple[int, ...], list[int]] = {}
    for index in sorted(range(len(items)), key=lambda index: -len(items[index].ids)):
        groups.setdefault(items[index].beginning, []).append(index)
    return [index for members in groups.values() for index in members]
