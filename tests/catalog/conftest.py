"""Every test that takes `database_url` or `catalog` runs on SQLite and on a real PostgreSQL."""

from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path

import pytest

from qwen3_rag.catalog import Catalog
from qwen3_rag.settings import CatalogSettings
from tests.catalog.builders import SPACE
from tests.catalog.postgres_server import postgres_server

_numbers = count(1)


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a running server."""
    try:
        with postgres_server() as url:
            yield url
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.fixture
def postgres_url(postgres: str) -> Iterator[str]:
    """URL of a new, empty database."""
    import psycopg

    name = f"test_{next(_numbers)}"
    with psycopg.connect(f"{postgres}/postgres", autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        yield f"{postgres}/{name}"
        connection.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """URL of a file that is not there yet."""
    return f"sqlite:///{tmp_path / 'kb' / 'catalog.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    return str(request.getfixturevalue(f"{request.param}_url"))


@pytest.fixture
def open_catalog(database_url: str) -> Iterator[Callable[[], Catalog]]:
    """Opens the same database again and again; closes all at the end."""
    opened: list[Catalog] = []

    def open_one() -> Catalog:
        opened.append(Catalog.open(CatalogSettings(database_url)))
        return opened[-1]

    yield open_one
    for catalog in opened:
        catalog.close()


@pytest.fixture
def catalog(open_catalog: Callable[[], Catalog]) -> Catalog:
    """A catalog with one collection, `docs`."""
    catalog = open_catalog()
    catalog.create_collection("docs", SPACE)
    return catalog
