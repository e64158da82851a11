"""One writer per collection, among all threads and processes, released by the operating system or the server when its holder dies.

PostgreSQL: an advisory lock of a connection kept for it, which goes when the server drops that connection: the holder has to look now and
then. SQLite: an exclusive transaction on an empty SQLite file beside the catalog,
which locks in the same way on every operating system. A catalog in memory is seen by one process only: a plain lock.
"""

from __future__ import annotations

import hashlib
import sqlite3
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from sqlalchemy import Engine, text
from sqlalchemy.exc import SQLAlchemyError

from qwen3_rag.catalog.engine import is_sqlite, shown_url, sqlite_file
from qwen3_rag.errors import CatalogError, WriterBusyError

_POLL_SECONDS = 0.05

_SESSION = text("SELECT pg_backend_pid()")

Check = Callable[[], None]
"""Raises `CatalogError` when the lock that it came with is lost."""


class WriterLock:
    """Gives the writing lock of a collection of one catalog."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._in_memory: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def hold(self, collection: str, timeout: float) -> AbstractContextManager[Check]:
        """Hold the lock, after waiting for it `timeout` seconds at most; gives what checks that it is still held. Not reentrant.

        Raises:
            WriterBusyError: somebody else holds it.
        """
        if not is_sqlite(self._engine):
            return self._hold_postgres(collection, timeout)
        file = sqlite_file(self._engine)
        return (
            self._hold_memory(collection, timeout) if file is None else self._hold_file(_lock_file(file, collection), collection, timeout)
        )

    @contextmanager
    def _hold_memory(self, collection: str, timeout: float) -> Iterator[Check]:
        lock = self._in_memory[collection]
        if not lock.acquire(timeout=timeout):
            raise self._busy(collection)
        try:
            yield _held_until_released
        finally:
            lock.release()

    @contextmanager
    def _hold_file(self, file: Path, collection: str, timeout: float) -> Iterator[Check]:
        connection = sqlite3.connect(file, timeout=timeout, isolation_level=None, check_same_thread=False)
        try:
            try:
                connection.execute("BEGIN EXCLUSIVE")
            except sqlite3.OperationalError as error:
                if error.sqlite_errorname.startswith("SQLITE_BUSY"):
                    raise self._busy(collection) from None
                raise
            yield _held_until_released
        finally:
            connection.close()

    @contextmanager
    def _hold_postgres(self, collection: str, timeout: float) -> Iterator[Check]:
        key = {"key": int.from_bytes(_digest(collection)[:8], signed=True)}
        with self._engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            take = text("SELECT pg_try_advisory_lock(:key)")
            if not _within(timeout, lambda: bool(connection.scalar(take, key))):
                raise self._busy(collection)
            holder = connection.scalar(_SESSION)

            def check() -> None:
                try:
                    lost = connection.scalar(_SESSION) != holder  # a new session has no lock
                except SQLAlchemyError as error:
                    raise self._lost(collection) from error
                if lost:
                    raise self._lost(collection)

            try:
                yield check
            finally:
                try:
                    connection.execute(text("SELECT pg_advisory_unlock(:key)"), key)
                except SQLAlchemyError:
                    connection.invalidate()  # the server is gone, and the lock with it

    def _busy(self, collection: str) -> WriterBusyError:
        return WriterBusyError(
            f"Somebody else is ingesting into or deleting from the collection {collection!r} of the catalog {shown_url(self._engine)}. "
            "Nothing was changed. Run this again when that is done."
        )

    def _lost(self, collection: str) -> CatalogError:
        return CatalogError(
            f"The writing lock of the collection {collection!r} is lost: the catalog {shown_url(self._engine)} dropped the connection that "
            "held it, so that somebody else may be writing by now. What was written before stays. Run this again; if it happens again, see "
            "that neither the server (idle_session_timeout) nor a connection pooler ends connections that are idle."
        )


def _held_until_released() -> None:
    """Nothing to check: such a lock cannot be lost while its holder lives."""


def _within(seconds: float, attempt: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + seconds
    while not attempt():
        if time.monotonic() >= deadline:
            return False
        time.sleep(_POLL_SECONDS)
    return True


def _lock_file(database: Path, collection: str) -> Path:
    return database.with_name(f"{database.name}.writer-{_digest(collection).hex()[:8]}")


def _digest(collection: str) -> bytes:
    return hashlib.sha256(f"qwen3-rag writer of {collection}".encode("utf-8", "surrogatepass")).digest()
