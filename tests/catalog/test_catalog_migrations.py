"""Models and migrations agree, and catalogs of other versions are refused with the way out."""

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import Engine, inspect, text

from qwen3_rag.catalog import Catalog, database_versions, migrate, upgrade_database
from qwen3_rag.catalog.engine import open_engine, writing
from qwen3_rag.catalog.tables import Base
from qwen3_rag.errors import CatalogError, CatalogVersionError
from qwen3_rag.settings import CatalogSettings
from tests.catalog.builders import SPACE


@pytest.fixture
def engine(database_url: str):
    upgrade_database(CatalogSettings(database_url))
    engine = open_engine(database_url)
    yield engine
    engine.dispose()


def set_version(engine: Engine, version: str) -> None:
    with writing(engine).begin() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})


def test_models_and_migrations_agree(engine: Engine) -> None:
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True, "compare_server_default": True})
        assert compare_metadata(context, Base.metadata) == []


def test_constraints_have_the_names_of_the_models(engine: Engine) -> None:
    """Autogenerate compares neither primary keys nor, on SQLite, names; later migrations refer to them."""
    inspector = inspect(engine)
    for name, table in Base.metadata.tables.items():
        assert inspector.get_pk_constraint(name)["name"] == table.primary_key.name
        assert inspector.get_pk_constraint(name)["constrained_columns"] == [column.name for column in table.primary_key]
        found = {item["name"]: item["options"] for item in inspector.get_foreign_keys(name)}
        assert found == {key.name: {"ondelete": key.ondelete} if key.ondelete else {} for key in table.foreign_key_constraints}


def test_downgrade_removes_every_table_and_upgrade_brings_them_back(engine: Engine) -> None:
    with writing(engine).begin() as connection:
        command.downgrade(migrate.config(connection), "base")
    assert not [name for name in Base.metadata.tables if inspect(engine).has_table(name)]
    with writing(engine).begin() as connection:
        command.upgrade(migrate.config(connection), "head")
    assert all(inspect(engine).has_table(name) for name in Base.metadata.tables)


def test_a_new_database_is_brought_to_head(database_url: str) -> None:
    settings = CatalogSettings(database_url)
    assert database_versions(settings) == (None, migrate.head())
    Catalog.open(settings).close()
    assert database_versions(settings) == (migrate.head(), migrate.head())
    assert upgrade_database(settings) == (migrate.head(), migrate.head())


def test_asking_for_versions_makes_no_file_and_no_folder(sqlite_url: str, tmp_path: Path) -> None:
    assert database_versions(CatalogSettings(sqlite_url))[0] is None
    assert list(tmp_path.iterdir()) == []


def test_upgrade_tells_what_it_did(database_url: str) -> None:
    assert upgrade_database(CatalogSettings(database_url)) == (None, migrate.head())


def test_a_catalog_of_the_first_version_keeps_what_it_holds(database_url: str, engine: Engine) -> None:
    with Catalog.open(CatalogSettings(database_url)) as catalog:
        catalog.create_collection("docs", SPACE)
    with writing(engine).begin() as connection:
        command.downgrade(migrate.config(connection), "0001")
    with pytest.raises(CatalogVersionError, match="qwen3-rag db upgrade"):
        Catalog.open(CatalogSettings(database_url))
    assert upgrade_database(CatalogSettings(database_url)) == ("0001", migrate.head())
    with Catalog.open(CatalogSettings(database_url)) as catalog:
        assert [collection.name for collection in catalog.list_collections()] == ["docs"]
        assert catalog.index_records("docs").keys() == []


def test_older_tables_are_refused_with_the_upgrade_command(database_url: str, engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(migrate, "head", lambda: "0003")
    with pytest.raises(CatalogVersionError, match="qwen3-rag db upgrade --kb") as caught:
        Catalog.open(CatalogSettings(database_url))
    if database_url.startswith("sqlite"):
        assert str(Path(database_url.removeprefix("sqlite:///")).parent) in str(caught.value)


def test_newer_tables_are_refused_with_the_package_upgrade(database_url: str, engine: Engine) -> None:
    set_version(engine, "9999")
    for attempt in (Catalog.open, upgrade_database):
        with pytest.raises(CatalogVersionError, match="pip install --upgrade qwen3-rag"):
            attempt(CatalogSettings(database_url))
    assert database_versions(CatalogSettings(database_url)) == ("9999", migrate.head())


def test_tables_of_something_else_are_left_alone(sqlite_url: str, tmp_path: Path) -> None:
    (tmp_path / "kb").mkdir()
    with sqlite3.connect(tmp_path / "kb" / "catalog.db") as connection:
        connection.execute("CREATE TABLE documents (mine TEXT)")
    connection.close()
    with pytest.raises(CatalogError, match="documents"):
        Catalog.open(CatalogSettings(sqlite_url))


def test_a_postgres_database_is_shared_with_the_users_own_tables(postgres_url: str) -> None:
    import psycopg

    with psycopg.connect(postgres_url, autocommit=True) as connection:
        connection.execute("CREATE TABLE documents (mine TEXT)")
        connection.execute("CREATE TABLE alembic_version (version_num TEXT)")
        connection.execute("INSERT INTO alembic_version VALUES ('theirs')")
        Catalog.open(CatalogSettings(postgres_url)).close()
        assert connection.execute("SELECT count(*) FROM public.documents").fetchone() == (0,)
        assert connection.execute("SELECT version_num FROM public.alembic_version").fetchall() == [("theirs",)]
        assert connection.execute("SELECT version_num FROM qwen3_rag.alembic_version").fetchall() == [(migrate.head(),)]


def test_a_failed_upgrade_leaves_the_database_empty(database_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def upgrade_then_fail(config, revision: str) -> None:
        run(config, revision)
        raise CatalogError("the power went")

    run = command.upgrade
    monkeypatch.setattr(migrate.command, "upgrade", upgrade_then_fail)
    with pytest.raises(CatalogError, match="the power went"):
        Catalog.open(CatalogSettings(database_url))
    monkeypatch.undo()
    assert database_versions(CatalogSettings(database_url))[0] is None
    Catalog.open(CatalogSettings(database_url)).close()


def test_many_open_a_new_database_at_once(database_url: str) -> None:
    together = threading.Barrier(8)

    def open_it() -> None:
        together.wait()
        Catalog.open(CatalogSettings(database_url)).close()

    with ThreadPoolExecutor(8) as threads:
        for opened in [threads.submit(open_it) for _ in range(8)]:
            opened.result()
    assert database_versions(CatalogSettings(database_url))[0] == migrate.head()


def test_upgrading_postgres_waits_for_another_process_that_does(postgres_url: str) -> None:
    import psycopg

    with psycopg.connect(postgres_url) as other, ThreadPoolExecutor(1) as threads:
        other.execute("SELECT pg_advisory_xact_lock(%s)", [migrate._UPGRADE_LOCK])
        opened = threads.submit(Catalog.open, CatalogSettings(postgres_url))
        with pytest.raises(TimeoutError):
            opened.result(timeout=0.5)
        other.commit()
        opened.result(timeout=60).close()
