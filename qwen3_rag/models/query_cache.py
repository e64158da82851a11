"""Remembers the vectors of the last queries, so that a question asked again costs nothing. It knows no model and no template."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ENTRIES = 1024

Key = tuple[str | None, int, str]
"""Instruction, dim and text. Documents are never in here, so the role needs no place in the key."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A query's vector, and whether the query was cut."""

    vector: NDArray[np.float32]
    truncated: bool


class QueryCache:
    """The least recently used entry goes first. Safe to use from several threads."""

    def __init__(self, entries: int = ENTRIES) -> None:
        self._entries = entries
        self._held: OrderedDict[Key, Entry] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: Key) -> Entry | None:
        """What is held for `key`."""
        with self._lock:
            if key in self._held:
                self._held.move_to_end(key)
            return self._held.get(key)

    def put(self, key: Key, vector: NDArray[np.float32], *, truncated: bool) -> Entry:
        """Hold a copy of `vector`."""
        entry = Entry(np.array(vector, dtype=np.float32), truncated)
        with self._lock:
            self._held[key] = entry
            self._held.move_to_end(key)
            while len(self._held) > self._entries:
                self._held.popitem(last=False)
        return entry
