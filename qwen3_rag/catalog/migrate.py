"""The version of a catalog's tables: which one is found, which one this package wants, and how to get from one to the other.

Alembic does the work, with the scripts in `migrations/` (inside an installed package: `qwen3_rag/_migrations/`).
"""

from __future__ import annotations

import threading
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection, Engine, inspect, text

import qwen3_rag
from qwen3_rag.catalog.engine import (
    SCHEMA,
    enable_wal,
    engine_of,
    is_sqlite,
    open_engine,
    shown_url,
    sqlite_file,
    translated_errors,
    writing,
)
from qwen3_rag.catalog.tables import Base
from qwen3_rag.errors import CatalogError, CatalogVersionError
from qwen3_rag.settings import CatalogSettings

_UPGRADE_LOCK = 5_063_204_118
"""Key of the PostgreSQL advisory lock that lets one process at a time change tables."""

_in_process = threading.Lock()  # Alembic's context is global to the process


def upgrade_database(settings: CatalogSettings) -> tuple[str | None, str]:
    """Bring the tables to the version this package wants; returns the versions before (None: empty) and after.

    Raises:
        CatalogVersionError: the tables are newer than this package.
        CatalogError: the database cannot be reached or written; the tables are as they were.
    """
    engine = open_engine(settings.url)
    try:
        with translated_errors(engine):
            return upgrade(engine), head()
    finally:
        engine.dispose()


def database_versions(settings: CatalogSettings) -> tuple[str | None, str]:
    """The version found (None: empty or not there yet) and the one this package wants. Changes nothing.

    Raises:
        CatalogError: the database cannot be reached.
    """
    engine = engine_of(settings.url)
    file = sqlite_file(engine)
    if file is not None and not file.exists():
        return None, head()
    try:
        with translated_errors(engine), engine.connect() as connection:
            return found(connection), head()
    finally:
        engine.dispose()


def prepare(engine: Engine) -> None:
    """Make the tables of a new, empty database; refuse tables of another version.

    Raises:
        CatalogVersionError: they are older or newer; the message names the way out.
        CatalogError: the database holds something else.
    """
    with engine.connect() as connection:
        revision = found(connection)
    if revision is None:
        upgrade(engine)
    elif revision != head():
        _check_known(engine, revision)
        raise CatalogVersionError(
            f"The catalog {shown_url(engine)} has the tables of an older version ({revision}, wanted: {head()}). "
            f"Back it up, then upgrade it: {_upgrade_command(engine)}"
        )


def upgrade(engine: Engine) -> str | None:
    """Bring the tables to `head()`, all in one transaction; returns the version before."""
    enable_wal(engine)
    with _in_process, writing(engine).begin() as connection:
        _take_turns(connection)
        before = found(connection)  # asked again under the lock: another process may have been faster
        if before is None:
            _refuse_foreign_tables(engine, connection)
        else:
            _check_known(engine, before)
        if before != head():
            command.upgrade(config(connection), "head")
    return before


def found(connection: Connection) -> str | None:
    """The version of the tables; None when there are none."""
    return MigrationContext.configure(connection).get_current_revision()


def head() -> str:
    """The version this package wants."""
    revision = ScriptDirectory.from_config(config()).get_current_head()
    if revision is None:
        raise CatalogError(f"No migrations in {migrations_folder()}. Install the package again: pip install --force-reinstall qwen3-rag")
    return revision


def config(connection: Connection | None = None) -> Config:
    """Alembic's configuration; its commands run on `connection`, inside the transaction that is open there."""
    settings = Config()
    settings.set_main_option("script_location", str(migrations_folder()).replace("%", "%%"))
    settings.set_main_option("path_separator", "os")
    settings.attributes["connection"] = connection
    return settings


def migrations_folder() -> Path:
    """Inside an installed package, or beside the package in a checkout."""
    package = Path(qwen3_rag.__file__).parent
    installed = package / "_migrations"
    return installed if installed.is_dir() else package.parent / "migrations"


def _take_turns(connection: Connection) -> None:
    """On PostgreSQL: wait for other upgraders, and make our schema. SQLite's write lock is held already."""
    if connection.dialect.name != "postgresql":
        return
    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _UPGRADE_LOCK})
    # `IF NOT EXISTS` alone needs the right to make schemas even where an administrator made this one.
    if connection.scalar(text("SELECT to_regnamespace(:name)"), {"name": SCHEMA}) is None:
        connection.execute(text(f"CREATE SCHEMA {SCHEMA}"))


def _refuse_foreign_tables(engine: Engine, connection: Connection) -> None:
    clash = sorted(name for name in Base.metadata.tables if inspect(connection).has_table(name))
    if clash:
        raise CatalogError(
            f"{shown_url(engine)} is no catalog, and holds tables that would clash with one: {', '.join(clash)}. "
            "Nothing was changed. Give another database: database_url (QWEN3_RAG_DATABASE_URL)."
        )


def _check_known(engine: Engine, revision: str) -> None:
    try:
        known = ScriptDirectory.from_config(config()).get_revision(revision)
    except CommandError:
        known = None
    if known is None:
        raise CatalogVersionError(
            f"The catalog {shown_url(engine)} has the tables of a newer version of this package ({revision}; known here: up to {head()}). "
            "Nothing was changed. Upgrade the package: pip install --upgrade qwen3-rag"
        )


def _upgrade_command(engine: Engine) -> str:
    file = sqlite_file(engine)
    if is_sqlite(engine) and file is not None:
        return f"qwen3-rag db upgrade --kb {file.parent}"
    return "qwen3-rag db upgrade --kb DIR, with the same database_url (QWEN3_RAG_DATABASE_URL)"
