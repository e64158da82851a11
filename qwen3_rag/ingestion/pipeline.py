"""Reading, chunking, embedding and writing, overlapped: readers in threads, the embedder in the caller's thread, one writer thread.

Every queue between them is bounded, by number and by size, so that memory grows neither with the corpus nor with its documents and the
model never waits for the database longer than one batch takes. This module knows the order of the stages; what they do is theirs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from qwen3_rag.ingestion.embedding import Embedded, EmbeddingStage
from qwen3_rag.ingestion.items import Item, size
from qwen3_rag.ingestion.prepare import Prepared
from qwen3_rag.ingestion.report import Outcome
from qwen3_rag.settings import IngestionSettings

Value = TypeVar("Value")
Result = TypeVar("Result")

WRITES_IN_FLIGHT = 2
FIRST_BATCH_CHUNKS = 16
READ_AHEAD_BYTES = 64 * 1024 * 1024
"""How far readers may be ahead of the embedder; a prepared document takes several times its size in memory."""
BATCH_CHARACTERS = 16 * 1024 * 1024
"""Text of the documents in one batch, however little of it is fresh."""


class Pipeline:
    """Runs items through the stages and yields an outcome for each, in the order they finish.

    `timing` adds up the seconds that the calling thread spent on `embed` and waited on `prepare` and `write`.
    """

    def __init__(
        self,
        prepare: Callable[[Item], Prepared | Outcome],
        embedding: EmbeddingStage,
        write: Callable[[list[Embedded]], list[Outcome]],
        settings: IngestionSettings,
    ) -> None:
        self._prepare = prepare
        self._embedding = embedding
        self._write = write
        self._settings = settings
        self._writes: deque[Future[list[Outcome]]] = deque()
        self.timing = {"prepare": 0.0, "embed": 0.0, "write": 0.0}

    def run(self, items: Iterable[Item]) -> Iterator[Outcome]:
        """Process `items`. An error of the store or the catalog ends the run; batches already handed to the writer are finished first."""
        readers = ThreadPoolExecutor(self._settings.workers, thread_name_prefix="qwen3-rag-read")
        writer = ThreadPoolExecutor(1, thread_name_prefix="qwen3-rag-write")
        try:
            for batch in self._batches(self._timed_results(readers, items)):
                if isinstance(batch, Outcome):
                    yield batch
                else:
                    yield from self._embed_and_submit(writer, batch)
            while self._writes:
                yield from self._await_write()
        finally:
            readers.shutdown(cancel_futures=True)
            writer.shutdown()

    def _timed_results(self, readers: ThreadPoolExecutor, items: Iterable[Item]) -> Iterator[Prepared | Outcome]:
        results = bounded_map(readers, self._prepare, items, self._settings.queue_size, size, READ_AHEAD_BYTES)
        while True:
            with self._clock("prepare"):
                result = next(results, None)
            if result is None:
                return
            yield result

    def _batches(self, results: Iterator[Prepared | Outcome]) -> Iterator[list[Prepared] | Outcome]:
        """Gather documents until their fresh chunks fill a batch, or they are many or long; pass outcomes on as they come.

        The first batches are small and double, so that the model does not wait for a whole one at the start.
        """
        gathered: list[Prepared] = []
        fresh, characters, enough = 0, 0, min(FIRST_BATCH_CHUNKS, self._settings.batch_chunks)
        for result in results:
            if isinstance(result, Outcome):
                yield result
                continue
            gathered.append(result)
            fresh += len(result.fresh)
            characters += len(result.document.text)
            if fresh >= enough or len(gathered) >= enough or characters >= BATCH_CHARACTERS:
                yield gathered
                gathered, fresh, characters, enough = [], 0, 0, min(2 * enough, self._settings.batch_chunks)
        if gathered:
            yield gathered

    def _embed_and_submit(self, writer: ThreadPoolExecutor, batch: list[Prepared]) -> Iterator[Outcome]:
        with self._clock("embed"):
            embedded, failed = self._embedding.embed(batch)
        yield from failed
        if len(self._writes) >= WRITES_IN_FLIGHT:
            yield from self._await_write()
        if embedded:
            self._writes.append(writer.submit(self._write, embedded))

    def _await_write(self) -> list[Outcome]:
        with self._clock("write"):
            return self._writes.popleft().result()

    @contextmanager
    def _clock(self, name: str) -> Iterator[None]:
        began = time.perf_counter()
        try:
            yield
        finally:
            self.timing[name] += time.perf_counter() - began


def bounded_map(
    executor: ThreadPoolExecutor,
    function: Callable[[Value], Result],
    items: Iterable[Value],
    window: int,
    size: Callable[[Value], int] = lambda _: 0,
    limit: int = 1,
) -> Iterator[Result]:
    """Like `executor.map`, in order, but bounded: what is submitted and not yet consumed are at most `window` calls.

    Another call is submitted only while the sizes of those items are below `limit` together, so that one item of any size goes through.
    """
    pending: deque[tuple[Future[Result], int]] = deque()
    outstanding = 0
    for item in items:
        pending.append((executor.submit(function, item), size(item)))
        outstanding += pending[-1][1]
        while pending and (len(pending) >= window or outstanding >= limit):
            future, done = pending.popleft()
            outstanding -= done
            yield future.result()
    while pending:
        yield pending.popleft()[0].result()
