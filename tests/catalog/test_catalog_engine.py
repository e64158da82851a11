"""The promises of the connection, and what every fault of the database looks like to the caller."""

import os
import sqlite3
import sys
from pathlib import Path

import pytest
from sqlalchemy import event, text

from qwen3_rag.catalog import Catalog, database_versions
from qwen3_rag.catalog.engine import translated_errors
from qwen3_rag.errors import CatalogError, ConfigurationError, MissingExtraError
from qwen3_rag.settings import CatalogSettings
from tests.catalog.builders import SPACE, chunk, document, write_all


def test_sqlite_is_durable_and_checks_foreign_keys(sqlite_url: str) -> None:
    with Catalog.open(CatalogSettings(sqlite_url)) as catalog, catalog._engine.connect() as connection:
        pragmas = {
            name: connection.scalar(text(f"PRAGMA {name}")) for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        }
    assert pragmas == {"journal_mode": "wal", "foreign_keys": 1, "synchronous": 2, "busy_timeout": 30_000}


@pytest.mark.parametrize("scheme", ["postgresql", "postgres", "postgresql+psycopg"])
def test_postgres_urls_mean_psycopg(postgres_url: str, scheme: str) -> None:
    with Catalog.open(CatalogSettings(postgres_url.replace("postgresql", scheme, 1))) as catalog:
        assert catalog._engine.driver == "psycopg"


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_catalog_in_memory(url: str) -> None:
    with Catalog.open(CatalogSettings(url)) as catalog:
        catalog.create_collection("docs", SPACE)
        with catalog.writing("docs"):
            write_all(catalog, (document("a"), [chunk(0, "p")]))
        assert list(catalog.point_ids("docs")) == ["p"]


@pytest.mark.parametrize("url", ["mysql://host/db", "kb/catalog.db", "", "oracle+cx://x"])
def test_other_urls_are_refused(url: str) -> None:
    with pytest.raises(ConfigurationError, match="SQLite or PostgreSQL"):
        Catalog.open(CatalogSettings(url))


def test_postgres_without_psycopg_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(MissingExtraError, match=r"qwen3-rag\[postgres\]"):
        Catalog.open(CatalogSettings("postgresql://host/db"))


@pytest.mark.parametrize("query", ["", "?password=hunter2"])
def test_an_unreachable_server_is_named_without_its_password(query: str) -> None:
    for attempt in (Catalog.open, database_versions):
        with pytest.raises(CatalogError, match="cannot be reached") as caught:
            attempt(CatalogSettings(f"postgresql://me:hunter2@127.0.0.1:1/db{query}"))
        assert "127.0.0.1:1/db" in str(caught.value)
        assert "hunter2" not in str(caught.value)


def test_a_missing_postgres_database_is_named(postgres: str) -> None:
    with pytest.raises(CatalogError, match="nowhere"):
        Catalog.open(CatalogSettings(f"{postgres}/nowhere"))


def test_a_lost_connection_is_an_error_once_and_then_replaced(postgres_url: str) -> None:
    import psycopg

    with Catalog.open(CatalogSettings(postgres_url)) as catalog, psycopg.connect(postgres_url, autocommit=True) as admin:
        catalog.create_collection("docs", SPACE)
        with catalog._engine.connect() as pooled:  # pinged when taken from the pool, so it must die while it is out
            admin.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND datname = current_database()"
            )
            with pytest.raises(CatalogError, match="cannot be reached"), translated_errors(catalog._engine):
                pooled.execute(text("SELECT 1"))
        assert catalog.get_collection("docs") is not None


def test_a_full_disk_writes_nothing_of_the_step(sqlite_url: str) -> None:
    with Catalog.open(CatalogSettings(sqlite_url)) as catalog:
        catalog.create_collection("docs", SPACE)
        write_all(catalog, (document("small"), [chunk(0, "p")]))
        catalog._engine.dispose()
        event.listen(catalog._engine, "connect", lambda connection, _: connection.execute("PRAGMA max_page_count = 1"))
        items = [(document(f"doc {i}"), [chunk(n, f"{i}-{n}") for n in range(20)]) for i in range(500)]
        with pytest.raises(CatalogError, match="disk is full"):
            catalog.begin_writes("docs", items)
        assert catalog.unfinished("docs") == []
        assert catalog.counts("docs").documents == 1


@pytest.mark.skipif(not hasattr(os, "geteuid"), reason="needs POSIX permissions")
def test_a_folder_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(CatalogError, match="--kb"):
        Catalog.open(CatalogSettings(f"sqlite:///{tmp_path}/file/kb/catalog.db"))


def test_a_file_that_is_no_database_is_named(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "kb").mkdir()
    (tmp_path / "kb" / "catalog.db").write_bytes(b"PK\x03\x04 this is a zip, really" * 500)
    for attempt in (Catalog.open, database_versions):
        with pytest.raises(CatalogError, match="damaged"):
            attempt(CatalogSettings(sqlite_url))


def test_a_damaged_page_is_named(sqlite_url: str, tmp_path: Path) -> None:
    with Catalog.open(CatalogSettings(sqlite_url)) as catalog:
        catalog.create_collection("docs", SPACE)
        write_all(catalog, *((document(f"doc {i}"), [chunk(0, f"p{i}")]) for i in range(200)))
    path = tmp_path / "kb" / "catalog.db"
    data = bytearray(path.read_bytes())
    data[3 * 4096 :] = os.urandom(len(data) - 3 * 4096)
    path.write_bytes(bytes(data))
    with pytest.raises(CatalogError, match="damaged"):
        read_everything(sqlite_url)


def read_everything(url: str) -> None:
    with Catalog.open(CatalogSettings(url)) as catalog:
        list(catalog.iter_documents("docs"))


def test_another_process_that_writes_for_too_long_is_named(sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen3_rag.catalog.engine.BUSY_SECONDS", 0.05)
    with Catalog.open(CatalogSettings(sqlite_url)) as catalog:
        other = sqlite3.connect(tmp_path / "kb" / "catalog.db", isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(CatalogError, match="another process"):
            catalog.create_collection("docs", SPACE)
        assert catalog.list_collections() == []
        other.close()
        catalog.create_collection("docs", SPACE)
