"""When a store flushes and indexes, and how an index is built without a pause.

Calls into the engine hold Python's global lock, and `EdgeShard.optimize` holds it for minutes. So the index is built on a copy of the shard
by a low-priority process, while the serving process goes on answering; writes made meanwhile are remembered and replayed on the copy by
a fresh serving process, which then takes over. Searches never wait for it; writes wait while the shard is copied (indexed segments
are shared by hard links) and while the last few remembered writes are replayed and synced to the disk. Points that are not indexed
yet are searched exactly.
Numbers and what was tried instead are in `benchmarks/NOTES.md`.
"""

from __future__ import annotations

import logging
import shutil
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from qwen3_rag.errors import StoreError
from qwen3_rag.store.edge.collection import Collection, new_shard_name
from qwen3_rag.store.edge.facts import INDEXING_THRESHOLD_KB, vector_kilobytes
from qwen3_rag.store.edge.files import sync_tree
from qwen3_rag.store.edge.process import EngineEndedError, EngineProcess

_LOG = logging.getLogger(__name__)
_FEW_WRITES = 4


@dataclass(frozen=True, slots=True)
class UpkeepPolicy:
    """When to flush and when to index.

    Flush `flush_seconds` after a write, or past `flush_bytes` of writes. Index what passes the collection's indexing threshold once
    nothing was written for `quiet_seconds`; under constant writes, after `patience_seconds`, or twice the time that the last build took
    if that is longer. A build that failed is tried again after `retry_seconds`, then twice that, and so on.
    """

    flush_seconds: float = 5.0
    flush_bytes: int = 32 * 1024 * 1024
    quiet_seconds: float = 1.0
    patience_seconds: float = 10.0
    poll_seconds: float = 0.25
    retry_seconds: float = 2.0


class Upkeep:
    """A thread that flushes and a thread that indexes, for all collections of one store. `collections` gives those there are now."""

    def __init__(self, collections: Callable[[], Iterable[Collection]], policy: UpkeepPolicy) -> None:
        self._collections = collections
        self._policy = policy
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._building: Collection | None = None
        self._builder: EngineProcess | None = None
        self._builds = threading.Lock()
        self._given_up = threading.Event()
        self._threads = [
            threading.Thread(target=self._run, args=(step,), name=f"qwen3-rag-{step.__name__.strip('_')}", daemon=True)
            for step in (self._flush_due, self._index_due)
        ]
        for thread in self._threads:
            thread.start()

    def wake(self) -> None:
        """Something was written."""
        self._wake.set()

    def is_due(self, collection: Collection) -> bool:
        """Whether an index is being built or will be as soon as writes pause."""
        return self._building is collection or _unindexed_kb(collection) >= threshold_kb(collection)

    def cancel(self, collection: Collection) -> None:
        """Gives up a running build of the collection's index and waits until it has ended."""
        if self._building is collection:
            self._give_up()
            with self._builds:
                pass

    def stop(self) -> None:
        """Ends both threads; a running build is given up."""
        self._stopping.set()
        self._wake.set()
        self._give_up()
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join()

    def _run(self, step: Callable[[Collection, float], None]) -> None:
        while not self._stopping.is_set():
            busy = False
            for collection in self._collections():
                if self._stopping.is_set():
                    return
                try:
                    step(collection, time.monotonic())
                except (StoreError, OSError) as error:
                    if not collection.closed and not self._given_up.is_set():
                        _LOG.warning("Upkeep of collection %r: %s", collection.name, error)
                busy = busy or collection.activity.unflushed_since is not None or self.is_due(collection)
            if busy:
                self._stopping.wait(self._policy.poll_seconds)
            else:
                self._wake.wait()
                self._wake.clear()

    def _flush_due(self, collection: Collection, now: float) -> None:
        activity = collection.activity
        since = activity.unflushed_since
        if since is not None and (now - since > self._policy.flush_seconds or activity.unflushed_bytes > self._policy.flush_bytes):
            collection.flush()

    def _index_due(self, collection: Collection, now: float) -> None:
        activity, policy = collection.activity, self._policy
        if _unindexed_kb(collection) < threshold_kb(collection):
            return
        if activity.due_since is None:
            activity.due_since = now
        quiet = now - activity.last_write > policy.quiet_seconds
        patience = max(policy.patience_seconds, 2 * activity.build_seconds)
        if now > activity.not_before and (quiet or now - activity.due_since > patience):
            self._build(collection)

    def _build(self, collection: Collection) -> None:
        activity, unindexed = collection.activity, collection.activity.unindexed
        shard = collection.folder / new_shard_name()
        began = time.monotonic()
        with self._builds:
            self._given_up.clear()
            self._building = collection
            try:
                self._build_copy(collection, shard)
            except BaseException:
                collection.forget_pending()
                shutil.rmtree(shard, ignore_errors=True)
                activity.build_failed(self._policy.retry_seconds)
                raise
            finally:
                self._building = self._builder = None
            activity.built(unindexed, time.monotonic() - began)

    def _build_copy(self, collection: Collection, shard: Path) -> None:
        collection.begin_copy(shard)
        builder = self._start(collection, shard, background=True)
        builder.call("optimize")
        builder.close()
        fresh = self._start(collection, shard, background=False)
        try:
            _catch_up(collection, fresh)
            sync_tree(shard)  # what is left to sync when writes have to wait for it is little
            with collection.writing:
                _replay(fresh, collection.take_pending())
                collection.adopt(fresh, shard)
        except BaseException:
            fresh.kill()
            raise

    def _start(self, collection: Collection, shard: Path, *, background: bool) -> EngineProcess:
        self._builder = engine = collection.start(shard, background=background)
        if self._given_up.is_set() or self._stopping.is_set():
            engine.kill()
        return engine

    def _give_up(self) -> None:
        self._given_up.set()
        builder = self._builder
        if builder is not None:
            builder.kill()


def threshold_kb(collection: Collection) -> float:
    """Kilobytes of vectors from which an index pays: the collection's own setting, else Qdrant's 10,000. 0 switches indexing off."""
    configured = (collection.config.get("optimizers_config") or {}).get("indexing_threshold")
    threshold = INDEXING_THRESHOLD_KB if configured is None else configured
    return float(threshold) if threshold else float("inf")


def _unindexed_kb(collection: Collection) -> float:
    return collection.activity.unindexed * vector_kilobytes(collection.config)


def _catch_up(collection: Collection, engine: EngineProcess) -> None:
    while len(pending := collection.take_pending()) > _FEW_WRITES:
        _replay(engine, pending)
    _replay(engine, pending)
    engine.call("flush")


def _replay(engine: EngineProcess, messages: Iterable[bytes]) -> None:
    for message in messages:
        try:
            engine.send(message)
        except EngineEndedError:
            raise
        except (StoreError, NotImplementedError):
            pass  # it failed in the same way, and was reported, when it was first made
