"""Connections: URL → engine with the promises the catalog makes, and database errors → `CatalogError`. Knows no tables.

SQLite: write-ahead log, foreign keys on, `synchronous = FULL` (a committed step survives a power cut), transactions opened by us so that
a writer asks for the write lock at once instead of failing halfway. PostgreSQL: psycopg 3, everything in the schema `qwen3_rag`, so that
the catalog can share a database with the user's own tables.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, QueuePool, create_engine, event, make_url
from sqlalchemy.engine import URL
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.pool import ConnectionPoolEntry

from qwen3_rag.errors import CatalogError, ConfigurationError, MissingExtraError

SCHEMA = "qwen3_rag"
BUSY_SECONDS = 30
CONNECT_SECONDS = 10
_POSTGRES = ("postgresql", "postgres", "postgresql+psycopg")
_WRITES = "qwen3_rag_writes"


def open_engine(url: str) -> Engine:
    """An engine for a SQLite or PostgreSQL URL. Connects to nothing yet, but makes the folder of a SQLite file.

    Raises:
        ConfigurationError, MissingExtraError: as `engine_of`.
        CatalogError: the folder cannot be made.
    """
    engine = engine_of(url)
    if (file := sqlite_file(engine)) is not None and not str(engine.url.database).startswith("file:"):
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise CatalogError(f"The folder of the catalog {file} cannot be made: {error.strerror}. Choose another with --kb.") from error
    return engine


def engine_of(url: str) -> Engine:
    """`open_engine` of a database that is there already: makes nothing.

    Raises:
        ConfigurationError: not such a URL.
        MissingExtraError: PostgreSQL without psycopg.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        raise ConfigurationError(f"{_NOT_A_URL} This one cannot be read.") from None
    if parsed.drivername in _POSTGRES:
        return _postgres(parsed.set(drivername="postgresql+psycopg"))
    if parsed.drivername in {"sqlite", "sqlite+pysqlite"}:
        return _sqlite(parsed)
    raise ConfigurationError(f"{_NOT_A_URL} {parsed.drivername!r} is neither.")


def writing(engine: Engine) -> Engine:
    """The same engine and pool, for transactions that write."""
    return engine.execution_options(**{_WRITES: True})


def sqlite_file(engine: Engine) -> Path | None:
    """The file of a SQLite database; None for one in memory and for PostgreSQL."""
    return Path(engine.url.database) if is_sqlite(engine) and not _in_memory(engine.url) and engine.url.database else None


def is_sqlite(engine: Engine) -> bool:
    """Whether it is SQLite rather than PostgreSQL."""
    return engine.dialect.name == "sqlite"


def shown_url(engine: Engine) -> str:
    """The URL without its password and without parameters, which may hold another one."""
    return engine.url.set(query={}).render_as_string(hide_password=True)


def enable_wal(engine: Engine) -> None:
    """Put a SQLite file into write-ahead mode, which it keeps. Tried for a while: SQLite does not wait for other openers by itself."""
    if sqlite_file(engine) is None:
        return
    deadline = time.monotonic() + BUSY_SECONDS
    while True:
        connection = engine.raw_connection()
        try:
            connection.cursor().execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
        else:
            return
        finally:
            connection.close()
        time.sleep(0.02)


@contextmanager
def translated_errors(engine: Engine) -> Iterator[None]:
    """Turn what the database raises into a `CatalogError` that says what to do. Whatever was open has been rolled back by then."""
    try:
        yield
    except DBAPIError as error:
        raise CatalogError(_explain(engine, error.orig or error, lost=error.connection_invalidated)) from error
    except sqlite3.Error as error:
        raise CatalogError(_explain(engine, error)) from error
    except SQLAlchemyError as error:
        raise CatalogError(f"The catalog {shown_url(engine)} could not do what was asked: {error}") from error


def _postgres(url: URL) -> Engine:
    connect_args: dict[str, Any] = {} if "connect_timeout" in url.query else {"connect_timeout": CONNECT_SECONDS}
    try:
        engine = create_engine(url, pool_pre_ping=True, connect_args=connect_args, json_serializer=_to_json)
    except (ImportError, NoSuchModuleError):
        raise MissingExtraError("A catalog in PostgreSQL", "postgres") from None
    event.listen(engine, "connect", _set_schema, insert=True)
    return engine


def _sqlite(url: URL) -> Engine:
    # One connection for a database in memory: a second one would see another, empty database.
    pool: dict[str, Any] = {"poolclass": QueuePool, "pool_size": 1, "max_overflow": 0} if _in_memory(url) else {}
    connect_args = {"timeout": BUSY_SECONDS, "check_same_thread": False}
    engine = create_engine(url, connect_args=connect_args, json_serializer=_to_json, **pool)
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin)
    return engine


def _in_memory(url: URL) -> bool:
    return url.database in (None, "", ":memory:")


def _set_pragmas(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    connection.isolation_level = None  # sqlite3 opens no transactions of its own; `_begin` does
    for pragma in ("foreign_keys = ON", "synchronous = FULL", "fullfsync = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A deferred transaction that turns from reading to writing fails at once when another writer was faster; an immediate one waits.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if connection.get_execution_options().get(_WRITES) else "BEGIN")


def _set_schema(connection: Any, _: ConnectionPoolEntry) -> None:
    autocommit = connection.autocommit
    connection.autocommit = True
    connection.execute(f"SET search_path TO {SCHEMA}")
    connection.autocommit = autocommit


def _is_busy(error: BaseException) -> bool:
    return _name(error).startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def _name(error: BaseException) -> str:
    """SQLite's name of the error, or PostgreSQL's five-character SQLSTATE; empty where there is none (no connection)."""
    return str(getattr(error, "sqlite_errorname", None) or getattr(error, "sqlstate", None) or "")


def _explain(engine: Engine, error: BaseException, *, lost: bool = False) -> str:
    name, place = _name(error), f"The catalog {shown_url(engine)}"
    reason = " ".join(str(error).split())
    for names, sentence in _REASONS:
        if name.startswith(names):
            return f"{place} {sentence} ({reason})"
    if not is_sqlite(engine) and (lost or not name):
        return f"{place} cannot be reached. Start the server and check database_url (QWEN3_RAG_DATABASE_URL), then try again. ({reason})"
    return f"{place} could not do what was asked; nothing of this step was written. ({name or type(error).__name__}: {reason})"


_to_json = partial(json.dumps, default=str)

_NOT_A_URL = (
    "database_url must be an SQLAlchemy URL of SQLite or PostgreSQL, such as sqlite:///kb/catalog.db or postgresql://user@host/database."
)

_REASONS: tuple[tuple[tuple[str, ...], str], ...] = (
    (
        ("SQLITE_FULL", "53100"),
        "has no room: the disk is full. Nothing of this step was written. Free some space, then run the same command again.",
    ),
    (("SQLITE_BUSY", "SQLITE_LOCKED", "55P03"), f"is being written by another process for more than {BUSY_SECONDS} s. Try again later."),
    (
        ("SQLITE_CORRUPT", "SQLITE_NOTADB", "XX001", "XX002"),
        "is damaged or is no catalog. Restore it from a backup, or move it away with its store and ingest again.",
    ),
    (("SQLITE_READONLY", "25006"), "cannot be written. Check the permissions of the file and of its folder."),
    (
        ("SQLITE_CANTOPEN", "SQLITE_PERM"),
        "cannot be opened. Check that the folder exists and that you may write in it, or choose another with --kb.",
    ),
    (("SQLITE_IOERR",), "could not be read or written: the disk reported an error or a limit. Nothing of this step was written."),
    (("28", "42501"), "refuses access: check user, password and rights in database_url (QWEN3_RAG_DATABASE_URL)."),
    (("3D000",), "does not exist on that server. Make the database (createdb), or correct database_url (QWEN3_RAG_DATABASE_URL)."),
    (("57", "08"), "cannot be reached: the server closed the connection. Try again when it is up."),
)
