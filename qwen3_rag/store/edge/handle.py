"""What all parts of the embedded client share: an open store, and a collection of it by name."""

from __future__ import annotations

import threading
import weakref
from pathlib import Path
from typing import Any

from qdrant_client.client_base import QdrantBase

from qwen3_rag.errors import StoreError
from qwen3_rag.store.edge.collection import Collection
from qwen3_rag.store.edge.store import Store, open_store, release_store
from qwen3_rag.store.edge.upkeep import UpkeepPolicy


class Handle(QdrantBase):
    """One user's hold on a store; the store itself is shared by all handles of a process on the same folder."""

    def __init__(self, path: str | Path, policy: UpkeepPolicy | None = None) -> None:
        super().__init__()
        self._store = open_store(Path(path), policy)
        self._release = weakref.finalize(self, release_store, self._store)
        self._closing = threading.Lock()

    @property
    def path(self) -> Path:
        """The store's folder."""
        return self._store.path

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return not self._release.alive

    def close(self, **kwargs: Any) -> None:
        """Lets go of the store: flushed and free for other processes once the last handle of this process is closed."""
        with self._closing:
            self._release()

    def _open(self) -> Store:
        if self.closed:
            raise StoreError(f"This client of {self.path} is closed. Open the store again to use it.")
        return self._store

    def _collection(self, name: str) -> Collection:
        return self._open().get(name)
