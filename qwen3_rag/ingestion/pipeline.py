"""Reading, chunking, embedding and writing, overlapped: readers in threads, the embedder in the caller's thread, one writer thread.

Every queue between them is bounded, so that memory does not grow with the corpus and the model never waits for the database longer
than one batch takes. This module knows the order of the stages; what they do is theirs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

from qwen3_rag.ingestion.embedding import Embedded, EmbeddingStage
from qwen3_rag.ingestion.prepare import Prepared
from qwen3_rag.ingestion.report import Outcome
from qwen3_rag.settings import IngestionSettings
from qwen3_rag.sources import SourceFile
from qwen3_rag.types import Document

Item = TypeVar("Item")
Result = TypeVar("Result")

WRITES_IN_FLIGHT = 2
FIRST_BATCH_CHUNKS = 16


class Pipeline:
    """Runs items through the stages and yields an outcome for each, in the order they finish.

    `timing` adds up the seconds that the calling thread spent on `embed` and waited on `prepare` and `write`.
    """

    def __init__(
        self,
        prepare: Callable[[SourceFile | Document], Prepared | Outcome],
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

    def run(self, items: Iterable[SourceFile | Document]) -> Iterator[Outcome]:
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

    def _timed_results(self, readers: ThreadPoolExecutor, items: Iterable[SourceFile | Document]) -> Iterator[Prepared | Outcome]:
        results = bounded_map(readers, self._prepare, items, self._settings.queue_size)
        while True:
            with self._clock("prepare"):
                result = next(results, None)
            if result is None:
                return
            yield result

    def _batches(self, results: Iterator[Prepared | Outcome]) -> Iterator[list[Prepared] | Outcome]:
        """Gather documents until their fresh chunks fill a batch; pass outcomes on as they come.

        The first batches are small and double, so that the model does not wait for a whole one at the start.
        """
        gathered: list[Prepared] = []
        fresh, enough = 0, min(FIRST_BATCH_CHUNKS, self._settings.batch_chunks)
        for result in results:
            if isinstance(result, Outcome):
                yield result
                continue
            gathered.append(result)
            fresh += len(result.fresh)
            if fresh >= enough or len(gathered) >= enough:
                yield gathered
                gathered, fresh, enough = [], 0, min(2 * enough, self._settings.batch_chunks)
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


def bounded_map(executor: ThreadPoolExecutor, function: Callable[[Item], Result], items: Iterable[Item], window: int) -> Iterator[Result]:
    """Like `executor.map`, in order, but with at most `window` calls submitted and not yet consumed."""
    pending: deque[Future[Result]] = deque()
    for item in items:
        pending.append(executor.submit(function, item))
        if len(pending) >= window:
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
