"""Documents that are drawn one by one from an iterator of the caller's: whether his own code is what runs just now, inside an ingest."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from qwen3_rag.errors import WriterBusyError
from qwen3_rag.ingestion.selection import Sources
from qwen3_rag.types import Document


class Drawing:
    """Knows of each thread whether it is drawing; readers do that in threads of their own."""

    def __init__(self) -> None:
        self._local = threading.local()

    def watched(self, sources: Sources) -> Sources:
        """The same sources; what is drawn one by one is noted while it is."""
        if isinstance(sources, (str, Path, Document, Sequence)) or not isinstance(sources, Iterable):
            return sources
        return self._drawn(sources)

    def refuse(self) -> None:
        """Refuse to write from inside an iterator.

        Raises:
            WriterBusyError: what is drawn from wants to write, which would wait for the end of the ingest that draws.
        """
        if getattr(self._local, "now", False):
            raise WriterBusyError(
                "The documents that are being ingested come from a generator that itself wants to write to the same knowledge base, which "
                "would wait for the end of this ingest for ever. Delete or ingest before or after it."
            )

    def _drawn(self, items: Iterable[Any]) -> Iterator[Any]:
        given, end = iter(items), object()
        while True:
            self._local.now = True
            try:
                item = next(given, end)
            finally:
                self._local.now = False
            if item is end:
                return
            yield item
