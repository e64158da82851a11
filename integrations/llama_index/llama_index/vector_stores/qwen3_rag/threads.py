"""An `AsyncQdrantClient` over any synchronous client: every call runs in a thread. For those who ask a vector store for its `aclient`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, cast

from qdrant_client import AsyncQdrantClient, QdrantClient
from qdrant_client.async_client_base import AsyncQdrantBase


def asynchronous(client: QdrantClient) -> AsyncQdrantClient:
    """The same collections, reached without blocking the event loop. Closing it leaves `client` open."""
    wrapped = AsyncQdrantClient(location=":memory:")
    wrapped._client = cast("AsyncQdrantBase", _InThreads(client._client))
    return wrapped


class _InThreads:
    """Every method of a client as a coroutine that runs it in a thread."""

    def __init__(self, client: object) -> None:
        self._sync = client

    async def close(self, **_: Any) -> None:
        """Nothing of its own is open."""

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self._sync, name)

        async def call(*args: Any, **kwargs: Any) -> Any:
            return await asyncio.to_thread(method, *args, **kwargs)

        return call
