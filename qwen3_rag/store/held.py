"""Which languages a collection holds and how much of each, asked of the store now and then: other processes may write to it too."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

from qdrant_client.client_base import QdrantBase

SECONDS = 5.0
MOST = 200
"""More languages than there are codes in use."""


class HeldLanguages:
    """ISO 639-1 code → passages in it, the most frequent first; what was learnt is good for a few seconds."""

    def __init__(self, client: QdrantBase, collection: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._collection = collection
        self._clock = clock
        self._known: tuple[float, Mapping[str, int]] = (float("-inf"), {})
        self._writes = 0
        self._lock = threading.Lock()

    def __call__(self) -> Mapping[str, int]:
        """The languages; none while there is no collection."""
        asked, languages = self._known
        if self._clock() - asked > SECONDS:
            writes = self._writes
            languages = self._ask()
            with self._lock:
                if writes == self._writes:  # otherwise the answer may be older than what was written meanwhile
                    self._known = (self._clock(), languages)
        return languages

    def forget(self) -> None:
        """Ask anew the next time: something was written."""
        with self._lock:
            self._writes += 1
            self._known = (float("-inf"), {})

    def _ask(self) -> Mapping[str, int]:
        if not self._client.collection_exists(self._collection):
            return {}
        found = self._client.facet(self._collection, "language", limit=MOST, exact=True)
        return {str(hit.value): hit.count for hit in found.hits}
