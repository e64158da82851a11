"""The backends that every store test can run on."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from qdrant_client import QdrantClient

from qwen3_rag.settings import StoreSettings
from qwen3_rag.store import EdgeClient, open_client
from tests.store.cities import make_cities

SERVER_URL = os.environ.get("QWEN3_RAG_TEST_QDRANT_URL")
BACKENDS = ("local", "embedded", "server")


@pytest.fixture(params=BACKENDS, scope="module")
def backend(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QdrantClient]:
    """A client of each backend; collections that a module makes are removed after it."""
    match request.param:
        case "local":
            client = open_client(StoreSettings(path=":memory:"))
        case "embedded":
            client = open_client(StoreSettings(path=str(tmp_path_factory.mktemp("store"))))
        case _:
            if SERVER_URL is None:
                pytest.skip("set QWEN3_RAG_TEST_QDRANT_URL to run this against a Qdrant server")
            client = open_client(StoreSettings(url=SERVER_URL))
    before = {collection.name for collection in client.get_collections().collections}
    yield client
    for collection in client.get_collections().collections:
        if collection.name not in before:
            client.delete_collection(collection.name)
    client.close()


@pytest.fixture(scope="module")
def cities(backend: QdrantClient) -> str:
    """The name of a collection of `CITIES` with payload indexes, for tests that only read."""
    return make_cities(backend, indexed=True)


@pytest.fixture
def edge(tmp_path: Path) -> Iterator[EdgeClient]:
    """An embedded engine in a folder of its own."""
    client = EdgeClient(tmp_path / "store")
    yield client
    client.close()


@pytest.fixture
def synced(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Inodes of the files and folders that were made durable."""
    done: set[int] = set()
    fsync = os.fsync

    def recorded(descriptor: int) -> None:
        fsync(descriptor)
        done.add(os.fstat(descriptor).st_ino)

    monkeypatch.setattr(os, "fsync", recorded)
    return done
