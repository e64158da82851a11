"""A key-value store seen through keys that tell queries from documents. It knows no models: the key is computed by who embeds.

LlamaIndex keys its cache of embeddings by the text alone, so that a query, a document and another model's vector of the same words
would be one entry.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from typing import Any

from llama_index.core.storage.kvstore.types import DEFAULT_COLLECTION, BaseKVStore


class Role(StrEnum):
    """What a text is embedded as."""

    QUERY = "query"
    DOCUMENT = "document"


_ROLE: ContextVar[Role] = ContextVar("role", default=Role.DOCUMENT)


@contextmanager
def as_query() -> Iterator[None]:
    """Texts looked up inside are queries; anywhere else they are documents."""
    token = _ROLE.set(Role.QUERY)
    try:
        yield
    finally:
        _ROLE.reset(token)


class KeyedCache(BaseKVStore):
    """`store` with `key(role, text)` in place of the text. What other models keep in the same store is neither seen nor overwritten."""

    def __init__(self, store: BaseKVStore, key: Callable[[Role, str], str]) -> None:
        self.store = store
        self._key = key

    def put(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """Keep the embedding of a text."""
        self.store.put(self._of(key), val, collection)

    async def aput(self, key: str, val: dict[str, Any], collection: str = DEFAULT_COLLECTION) -> None:
        """`put`, as the store does it asynchronously."""
        await self.store.aput(self._of(key), val, collection)

    def get(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """The embedding of a text, if it is kept."""
        return self.store.get(self._of(key), collection)

    async def aget(self, key: str, collection: str = DEFAULT_COLLECTION) -> dict[str, Any] | None:
        """`get`, as the store does it asynchronously."""
        return await self.store.aget(self._of(key), collection)

    def get_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """Everything in the store, by its keys there."""
        return self.store.get_all(collection)

    async def aget_all(self, collection: str = DEFAULT_COLLECTION) -> dict[str, dict[str, Any]]:
        """`get_all`, as the store does it asynchronously."""
        return await self.store.aget_all(collection)

    def delete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """Forget the embedding of a text; tells whether it was kept."""
        return self.store.delete(self._of(key), collection)

    async def adelete(self, key: str, collection: str = DEFAULT_COLLECTION) -> bool:
        """`delete`, as the store does it asynchronously."""
        return await self.store.adelete(self._of(key), collection)

    def _of(self, text: str) -> str:
        return self._key(_ROLE.get(), text)
