"""Which points a search must leave out while a batch is being written, so that it meets each document's old or new version, never both."""

from __future__ import annotations

import threading
from collections.abc import Iterable
from typing import Self
from weakref import WeakValueDictionary

from qdrant_client.client_base import QdrantBase
from qdrant_client.qdrant_remote import QdrantRemote

from qwen3_rag.store import EdgeClient
from qwen3_rag.store.backend import backend_of


class Visibility:
    """Points in the store that the catalog does not serve: new ones before their version is current, old ones after.

    Each batch hides its own points and shows them again when it is done; those of a batch that failed stay hidden until it is repaired.
    Searches in other threads of this process read `hidden`. Other processes do not see it: on a server, their searches may meet both
    versions for as long as one batch takes.
    """

    def __init__(self) -> None:
        self.hidden: frozenset[str] = frozenset()
        self._changing = threading.Lock()

    @classmethod
    def of(cls, client: QdrantBase, collection: str) -> Self:
        """The one of a collection, shared by all in this process who have the same store open."""
        with _SHARING:
            key = _store(client), collection
            shared = _SHARED.get(key)
            if not isinstance(shared, cls):
                shared = _SHARED[key] = cls()
            return shared

    def hide(self, point_ids: Iterable[str]) -> None:
        """Hide these points too."""
        self.change(hide=point_ids)

    def show(self, point_ids: Iterable[str]) -> None:
        """Hide these points no longer."""
        self.change(show=point_ids)

    def change(self, *, hide: Iterable[str] = (), show: Iterable[str] = ()) -> None:
        """Both at once: no search falls in between."""
        with self._changing:
            self.hidden = self.hidden.difference(show).union(hide)

    def show_all(self) -> None:
        """Hide nothing any more: catalog and store agree."""
        with self._changing:
            self.hidden = frozenset()


_SHARED: WeakValueDictionary[tuple[object, str], Visibility] = WeakValueDictionary()
_SHARING = threading.Lock()


def _store(client: QdrantBase) -> object:
    """What tells stores apart: the folder, the server's address, or the store in memory itself."""
    backend = backend_of(client)
    if isinstance(backend, EdgeClient):
        return backend.path
    return backend.rest_uri if isinstance(backend, QdrantRemote) else backend
