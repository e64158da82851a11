"""`EdgeClient`: qdrant-client's interface on the embedded engine, and real qdrant-client objects on top of it.

    edge = EdgeClient("kb/store")
    client = as_qdrant_client(edge)     # a qdrant_client.QdrantClient, for code that asks for one

What the engine cannot offer (snapshots, shards, clusters) raises `NotImplementedError` and says that a server can.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from importlib.metadata import version
from typing import Any, NoReturn

from qdrant_client import AsyncQdrantClient, QdrantClient, models
from qdrant_client.client_base import QdrantBase
from qdrant_client.conversions import common_types as types
from qdrant_client.migrate.migrate import migrate

from qwen3_rag.store.edge.administration import Administration
from qwen3_rag.store.edge.reading import Reading
from qwen3_rag.store.edge.requests import unsupported
from qwen3_rag.store.edge.writing import Writing


class EdgeClient(Administration, Writing, Reading):
    """The embedded engine on a folder, with the methods, models and results of qdrant-client.

    One process has the folder at a time; inside it, clients of the same folder share it and may be used from any number of threads.
    `policy` says when to flush and index.

    Raises:
        StoreLockedError: another process has the folder; names its process id.
        StoreError: the folder cannot be read or written, or is damaged.
    """

    def info(self) -> types.VersionInfo:
        """The engine and its version."""
        return models.VersionInfo(title="qdrant-edge", version=version("qdrant-edge-py"), commit=None)

    def migrate(
        self,
        dest_client: QdrantBase,
        collection_names: list[str] | None = None,
        batch_size: int = 100,
        recreate_on_collision: bool = False,
    ) -> None:
        """Copies collections to another client, for example that of a server."""
        migrate(self, dest_client, collection_names, recreate_on_collision=recreate_on_collision, batch_size=batch_size)


def _refuse(method: str) -> Callable[..., NoReturn]:
    def refused(self: EdgeClient, *args: Any, **kwargs: Any) -> NoReturn:
        raise unsupported(method)

    refused.__name__ = method
    refused.__doc__ = f"Not offered by the embedded engine; `{method}` needs a Qdrant server."
    return refused


for _name in vars(QdrantBase):
    if not _name.startswith("_") and getattr(EdgeClient, _name) is getattr(QdrantBase, _name):
        setattr(EdgeClient, _name, _refuse(_name))


def as_qdrant_client(edge: EdgeClient) -> QdrantClient:
    """A real `qdrant_client.QdrantClient` on the same store, for frameworks that ask for one.

    It has its own hold on the store: closing it, or dropping it, leaves `edge` open, and the other way round.
    """
    client = QdrantClient(location=":memory:")
    client._client.close()
    client._client = EdgeClient(edge.path)
    return client


def as_async_qdrant_client(edge: EdgeClient) -> AsyncQdrantClient:
    """A real `qdrant_client.AsyncQdrantClient` on the same store; calls run in threads, so the event loop stays free."""
    client = AsyncQdrantClient(location=":memory:")
    client._client = _InThreads(EdgeClient(edge.path))  # type: ignore[assignment]
    return client


class _InThreads:
    """Every method of a client as a coroutine that runs it in a thread."""

    def __init__(self, client: EdgeClient) -> None:
        self._sync_client = client

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._sync_client, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(method, *args, **kwargs)

        return call
