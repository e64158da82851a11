"""The catalog as LangChain's record manager, so that `index` and `aindex` skip what is unchanged and delete what is gone."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Self

from langchain_core.indexing import RecordManager

from qwen3_rag import KnowledgeBase, Settings
from qwen3_rag.catalog import Catalog


class Qwen3RecordManager(RecordManager):
    """Remembers in the catalog which keys were written when, by the clock of the catalog's database.

    The clock never goes back, so that a run cannot delete what it has just written. Refreshing a key without a group keeps its group, so
    that a run which is cut off between its two updates leaves nothing that later runs cannot clean up.

    Example:
        >>> records = Qwen3RecordManager("handbook", "kb")  # doctest: +SKIP
        >>> index(documents, records, store, cleanup="full", key_encoder="sha256")  # doctest: +SKIP
    """

    def __init__(
        self, namespace: str, where: str | Path | KnowledgeBase | Catalog | None = None, *, settings: Settings | None = None
    ) -> None:
        """Open the records of one index.

        Args:
            namespace: keeps the records of different indexes apart.
            where: the folder of the knowledge base, an open `KnowledgeBase` or `Catalog`; None takes the folder from `settings`.
            settings: anything beyond the defaults, such as `database_url`; None reads the environment and `qwen3-rag.toml`.

        Raises:
            CatalogVersionError: the catalog needs `qwen3-rag db upgrade`.
            CatalogError: it cannot be reached or written.
        """
        super().__init__(namespace)
        self._resources = ExitStack()
        if isinstance(where, KnowledgeBase):
            where = where.catalog
        if not isinstance(where, Catalog):
            where = self._resources.enter_context(_open(where, settings))
        self._records = where.index_records(namespace)

    def create_schema(self) -> None:
        """Nothing to do: the catalog makes its tables when it is opened."""

    async def acreate_schema(self) -> None:
        """Nothing to do: the catalog makes its tables when it is opened."""

    def get_time(self) -> float:
        """Seconds since 1970 by the database's clock, later than every record of this namespace."""
        return self._records.now()

    async def aget_time(self) -> float:
        """`get_time` without blocking the event loop."""
        return await asyncio.to_thread(self.get_time)

    def update(self, keys: Sequence[str], *, group_ids: Sequence[str | None] | None = None, time_at_least: float | None = None) -> None:
        """Record keys as written now, in their groups.

        Raises:
            ValueError: another number of groups than of keys, or a time that has not come yet.
        """
        self._records.stamp(keys, group_ids, time_at_least)

    async def aupdate(
        self, keys: Sequence[str], *, group_ids: Sequence[str | None] | None = None, time_at_least: float | None = None
    ) -> None:
        """`update` without blocking the event loop."""
        await asyncio.to_thread(self.update, keys, group_ids=group_ids, time_at_least=time_at_least)

    def exists(self, keys: Sequence[str]) -> list[bool]:
        """Whether each key is recorded."""
        return self._records.known(keys)

    async def aexists(self, keys: Sequence[str]) -> list[bool]:
        """`exists` without blocking the event loop."""
        return await asyncio.to_thread(self.exists, keys)

    def list_keys(
        self, *, before: float | None = None, after: float | None = None, group_ids: Sequence[str] | None = None, limit: int | None = None
    ) -> list[str]:
        """Keys recorded before and after these times, in these groups; an empty list of groups names no key."""
        return self._records.keys(before, after, group_ids, limit)

    async def alist_keys(
        self, *, before: float | None = None, after: float | None = None, group_ids: Sequence[str] | None = None, limit: int | None = None
    ) -> list[str]:
        """`list_keys` without blocking the event loop."""
        return await asyncio.to_thread(self.list_keys, before=before, after=after, group_ids=group_ids, limit=limit)

    def delete_keys(self, keys: Sequence[str]) -> None:
        """Forget keys."""
        self._records.forget(keys)

    async def adelete_keys(self, keys: Sequence[str]) -> None:
        """`delete_keys` without blocking the event loop."""
        await asyncio.to_thread(self.delete_keys, keys)

    def close(self) -> None:
        """Close the catalog, if it was opened here. Safe to repeat."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _open(folder: str | Path | None, settings: Settings | None) -> Catalog:
    settings = settings or Settings.load()
    if folder is not None:
        settings = settings.model_copy(update={"kb": Path(folder).expanduser()})
    return Catalog.open(settings.catalog)
