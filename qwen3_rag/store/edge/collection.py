"""One collection: its configuration file, the engine process that serves it, and the log of writes made while an index is built.

Reads go straight to the engine process. Writes take turns, so that the log has the order in which they were applied. Knows nothing of
qdrant-client's models, aliases or other collections.
"""

from __future__ import annotations

import shutil
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from qwen3_rag.errors import CollectionError, StoreError
from qwen3_rag.store.edge import files
from qwen3_rag.store.edge.facts import dense_vectors
from qwen3_rag.store.edge.process import EngineEndedError, EngineProcess, pack

CONFIG_FILE = "collection.json"
_LOG_FOLDER = "wal"
"""Of a shard. The engine replays it at opening, from the last flush on."""
_FORMAT = 1
_WRITE_AMPLIFICATION = 3
"""A write reaches the engine's log and its segments, and files grow in steps."""
_PENDING_LIMIT_BYTES = 256 * 1024 * 1024
"""Writes that may wait in memory for an index build; past it the build is given up and made later, in a quieter moment."""


_LONGEST_RETRY_SECONDS = 300.0


class Collection:
    """An existing collection in `folder`.

    `lock` is the descriptor of the store's lock, which engine processes inherit; `on_activity` is called when there may be upkeep to do.
    """

    def __init__(self, folder: Path, lock: int, on_activity: Callable[[], None]) -> None:
        self.folder = folder
        content = files.read_json(folder / CONFIG_FILE)
        self.name: str = content["name"]
        self.config: dict[str, Any] = content["config"]
        self.activity = Activity()
        self.writing = threading.RLock()
        self._shard: str = content["shard"]
        self._lock = lock
        self._on_activity = on_activity
        self._starting = threading.Lock()
        self._engine: EngineProcess | None = None
        self._pending: list[bytes] | None = None
        self._pending_bytes = 0
        self._closed = False

    @classmethod
    def create(cls, folder: Path, name: str, config: Mapping[str, Any], lock: int, on_activity: Callable[[], None]) -> Collection:
        """A new, empty collection. It exists for others once the store lists it.

        Raises:
            CollectionError: the engine refuses the configuration; nothing is left of it.
        """
        files.require_space(folder.parent, 0)
        folder.mkdir()
        try:
            shard = new_shard_name()
            engine = EngineProcess(folder / shard, config, create=True, lock=lock)
            try:
                files.write_json(folder / CONFIG_FILE, {"format": _FORMAT, "name": name, "config": config, "shard": shard})
                files.sync_tree(folder)
                collection = cls(folder, lock, on_activity)
            except BaseException:
                engine.kill()
                raise
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        collection._engine = engine
        collection.activity.points = 0
        return collection

    @property
    def shard(self) -> Path:
        """The folder that the engine works in."""
        return self.folder / self._shard

    @property
    def closed(self) -> bool:
        """Whether calls are refused."""
        return self._closed

    def call(self, method: str, **arguments: Any) -> Any:
        """A read. It is tried once more when the engine process ended meanwhile."""
        return self._send(pack(method, **arguments))

    def update(self, operation: Mapping[str, Any], changed: int = 1) -> None:
        """A write; it is in the engine's log when this returns. `changed` is how many points it touches, as far as is known.

        Raises:
            StoreFullError: the disk is full; nothing was written.
            CollectionError: it does not fit the collection.
        """
        message = pack("update", operations=[operation])
        with self.writing:
            files.require_space(self.folder, _WRITE_AMPLIFICATION * len(message))
            try:
                self.activity.points = self._send(message)
            except EngineEndedError:
                raise
            except (StoreError, NotImplementedError):
                self._remember(message)  # the engine may have applied a part of it
                raise
            self._remember(message)
            self.activity.wrote(changed, len(message))
        self._on_activity()

    def flush(self) -> None:
        """Has the engine write its segments to disk, which makes the next opening fast."""
        self.activity.flushed()
        self.call("flush")

    def sync(self) -> None:
        """Has what was acknowledged so far survive a power cut: syncs the engine's log, which takes a tenth of the time of a flush."""
        with self.writing, files.explained(self.folder, "sync"):
            files.sync_tree(self.shard / _LOG_FOLDER)

    def save_config(self, config: Mapping[str, Any], *, restart: bool = False) -> None:
        """Replaces the configuration; `restart` has the engine work by it from now on. More than new metadata ends an index build."""
        with self.writing:
            if {**config, "metadata": None} != {**self.config, "metadata": None}:
                self._pending = None
            self._save(config, self._shard)
            if restart and self._engine is not None:
                self._engine.close()

    def begin_copy(self, target: Path) -> None:
        """Copies the shard to `target` and begins to remember writes. Writes wait meanwhile, reads do not.

        Raises:
            StoreFullError: there is no room for a second shard.
        """
        with self.writing:
            self._check_open()
            files.require_space(self.folder, 2 * files.shard_bytes(self.shard))
            self.flush()
            with files.explained(self.folder, "copy"):
                files.copy_shard(self.shard, target)
            self._pending, self._pending_bytes = [], 0

    def take_pending(self) -> list[bytes]:
        """The writes remembered since the last call.

        Raises:
            StoreError: there were too many to remember, or the configuration changed.
        """
        with self.writing:
            if self._pending is None:
                raise StoreError(
                    f"The index build of {self.name!r} is out of date: too much was written or its configuration changed meanwhile"
                )
            pending, self._pending, self._pending_bytes = self._pending, [], 0
            return pending

    def forget_pending(self) -> None:
        """Stops remembering writes."""
        with self.writing:
            self._pending = None

    def adopt(self, engine: EngineProcess, shard: Path) -> None:
        """From now on `engine` serves this collection from `shard`, which holds all that was written. The caller holds `writing`.

        All of the shard is on the disk before the collection points to it, and the former one is removed only then: a power cut leaves
        one of them whole.
        """
        self._check_open()
        former, former_shard = self._engine, self.shard
        engine.call("flush")
        files.sync_tree(shard)
        self._save(self.config, shard.name)
        with self._starting:
            self._engine = engine
        self._pending = None
        if former is not None:
            former.retire()
        shutil.rmtree(former_shard, ignore_errors=True)

    def start(self, shard: Path, *, background: bool = False) -> EngineProcess:
        """An engine process for a shard of this collection."""
        return EngineProcess(shard, self.config, lock=-1 if background else self._lock, background=background)

    def close(self) -> None:
        """Flushes and ends the engine process; calls from now on are refused."""
        with self._starting:
            self._closed = True
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.close()

    def drop(self) -> None:
        """Removes the collection from the disk."""
        with self._starting:
            self._closed = True
            engine, self._engine = self._engine, None
        if engine is not None:
            engine.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def remove_leftovers(self) -> None:
        """Removes shards that a crash left half-built."""
        for path in self.folder.iterdir():
            if path.is_dir() and path.name != self._shard:
                shutil.rmtree(path, ignore_errors=True)

    def _send(self, message: bytes) -> Any:
        restarted = False
        while True:
            engine = self._running()
            try:
                return engine.send(message)
            except EngineEndedError as error:
                if restarted and not error.retired:
                    raise
                restarted = restarted or not error.retired

    def _running(self) -> EngineProcess:
        engine = self._engine
        if engine is not None and engine.alive:
            return engine
        with self._starting:
            self._check_open()
            if self._engine is None or not self._engine.alive:
                if self._engine is not None:
                    self._engine.kill()  # it ended by itself; its pipes are still open
                self._engine = self.start(self.shard)
                self._assess(self._engine)
            return self._engine

    def _assess(self, engine: EngineProcess) -> None:
        """How much is there and how much of it is not indexed, at the first opening."""
        if self.activity.points is None:
            self.activity.points = engine.call("info")["points_count"]
            self.activity.unindexed = engine.call("unindexed") // max(1, len(dense_vectors(self.config)))
            self._on_activity()

    def _save(self, config: Mapping[str, Any], shard: str) -> None:
        with files.explained(self.folder, "write to"):
            files.write_json(self.folder / CONFIG_FILE, {"format": _FORMAT, "name": self.name, "config": config, "shard": shard})
        self.config, self._shard = dict(config), shard

    def _remember(self, message: bytes) -> None:
        if self._pending is None:
            return
        self._pending.append(message)
        self._pending_bytes += len(message)
        if self._pending_bytes > _PENDING_LIMIT_BYTES:
            self._pending = None

    def _check_open(self) -> None:
        if self._closed:
            raise CollectionError(f"Collection {self.name!r} is closed or was deleted. Open the store again to use it.")


class Activity:
    """What happened to a collection since it was last flushed and indexed: what upkeep decides by. Times are monotonic seconds."""

    def __init__(self) -> None:
        self.points: int | None = None
        self.unindexed = 0
        self.unflushed_bytes = 0
        self.unflushed_since: float | None = None
        self.last_write = 0.0
        self.due_since: float | None = None
        self.build_seconds = 0.0
        self.not_before = 0.0
        self._failures = 0

    def wrote(self, points: int, size: int) -> None:
        """A write of `size` bytes that touched `points` points was acknowledged."""
        self.last_write = time.monotonic()
        self.unindexed += points
        self.unflushed_bytes += size
        if self.unflushed_since is None:
            self.unflushed_since = self.last_write

    def flushed(self) -> None:
        """Everything so far is in the segments."""
        self.unflushed_bytes, self.unflushed_since = 0, None

    def built(self, points: int, seconds: float) -> None:
        """An index was built over what were `points` unindexed points."""
        self.unindexed = max(0, self.unindexed - points)
        self.due_since, self.build_seconds, self._failures = None, seconds, 0

    def build_failed(self, retry_seconds: float) -> None:
        """An index build failed: the next one waits, twice as long each time."""
        self.not_before = time.monotonic() + min(retry_seconds * 2**self._failures, _LONGEST_RETRY_SECONDS)
        self._failures += 1


def new_shard_name() -> str:
    """A name that no shard of the collection had before."""
    return f"shard-{uuid4().hex[:12]}"
