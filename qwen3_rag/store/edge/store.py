"""A folder of collections: which there are, what they are also called, and that one process has them at a time.

    store/
      LOCK                      held while the store is open; holds the process id
      store.json                collections (name → folder) and aliases (name → collection): a change of any is one atomic replacement
      engine.log                what engine processes had to say
      collections/<id>/
        collection.json         configuration, metadata, and which shard is current
        shard-<id>/             the engine's own files

`store.json` decides what exists. A folder that it does not list is left from a creation or deletion that a crash interrupted, and is
removed at the next opening. Opened twice in one process, a folder is shared; the last one to close it closes it.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from qwen3_rag.errors import CollectionError, StoreError
from qwen3_rag.store.edge import files
from qwen3_rag.store.edge.collection import CONFIG_FILE, Collection
from qwen3_rag.store.edge.lock import FolderLock
from qwen3_rag.store.edge.process import LOG_FILE
from qwen3_rag.store.edge.upkeep import Upkeep, UpkeepPolicy

MANIFEST_FILE = "store.json"
COLLECTIONS_FOLDER = "collections"
_FORMAT = 1


class Store:
    """An open folder. Use `open_store`.

    Raises:
        StoreLockedError: another process has it.
        StoreError: it cannot be read or written, or is damaged.
    """

    def __init__(self, path: Path, policy: UpkeepPolicy) -> None:
        self.path = path
        self._owner = os.getpid()
        self._changing = threading.RLock()
        with files.explained(path, "open"):
            (path / COLLECTIONS_FOLDER).mkdir(parents=True, exist_ok=True)
            self._lock = FolderLock(path)
        try:
            with files.explained(path, "open"):
                self._collections, self._aliases = self._load()
        except BaseException:
            self._lock.release()
            raise
        self.upkeep = Upkeep(self.collections, policy)

    def collections(self) -> list[Collection]:
        """All collections, oldest first."""
        return list(self._collections.values())

    def aliases(self) -> dict[str, str]:
        """Alias → name of its collection."""
        return dict(self._aliases)

    def find(self, name: str) -> Collection | None:
        """The collection of this name or alias."""
        self._check_owner()
        return self._collections.get(self._aliases.get(name, name))

    def get(self, name: str) -> Collection:
        """The collection of this name or alias.

        Raises:
            CollectionError: there is none.
        """
        collection = self.find(name)
        if collection is None:
            known = ", ".join(sorted({*self._collections, *self._aliases})) or "none"
            raise CollectionError(f"Collection {name!r} not found in {self.path}. There are: {known}.")
        return collection

    def create(self, name: str, config: Mapping[str, Any]) -> None:
        """Adds an empty collection.

        Raises:
            CollectionError: the name is taken.
        """
        self._check_owner()
        with self._changing:
            if name in self._collections or name in self._aliases:
                raise CollectionError(f"Collection {name!r} already exists in {self.path}. Delete it first or use another name.")
            folder = self._folder(uuid4().hex)
            with files.explained(self.path, "write to"):
                collection = Collection.create(folder, name, config, self._lock.descriptor, self._wake)
            try:
                self._save({**self._collections, name: collection}, self._aliases)
            except BaseException:
                collection.drop()
                raise

    def delete(self, name: str) -> bool:
        """Removes a collection and its aliases; False when there is none."""
        self._check_owner()
        with self._changing:
            collection = self._collections.get(name)
            if collection is None:
                return False
            self.upkeep.cancel(collection)
            rest = {other: kept for other, kept in self._collections.items() if other != name}
            self._save(rest, {alias: target for alias, target in self._aliases.items() if target != name})
            collection.drop()
            return True

    def change_aliases(self, change: Callable[[dict[str, str], Mapping[str, Collection]], None]) -> None:
        """Has `change` alter a copy of the aliases, given the collections; all of it takes effect at once, or nothing."""
        self._check_owner()
        with self._changing:
            aliases = dict(self._aliases)
            change(aliases, self._collections)
            self._save(self._collections, aliases)

    def close(self) -> None:
        """Flushes everything, ends the engine processes and gives the folder back."""
        if os.getpid() != self._owner:
            return
        self.upkeep.stop()
        for collection in self.collections():
            collection.close()
        self._lock.release()

    def _load(self) -> tuple[dict[str, Collection], dict[str, str]]:
        (self.path / LOG_FILE).write_bytes(b"")
        manifest = self.path / MANIFEST_FILE
        folders = {folder.name: folder for folder in (self.path / COLLECTIONS_FOLDER).iterdir()}
        if not manifest.exists():
            if any((folder / CONFIG_FILE).exists() for folder in folders.values()):
                raise StoreError(f"{manifest} is missing, though there are collections. Restore it from a backup.")
            files.write_json(manifest, {"format": _FORMAT, "collections": {}, "aliases": {}})
            files.sync_folder(self.path.parent)
        content = files.read_json(manifest)
        if content.get("format") != _FORMAT:
            raise StoreError(f"{manifest} has format {content.get('format')!r}; this version reads {_FORMAT}. Upgrade qwen3-rag.")
        collections = {
            name: Collection(self._folder(folder), self._lock.descriptor, self._wake) for name, folder in content["collections"].items()
        }
        for collection in collections.values():
            collection.remove_leftovers()
            folders.pop(collection.folder.name, None)
        for leftover in folders.values():
            shutil.rmtree(leftover, ignore_errors=True)
        return collections, dict(content["aliases"])

    def _save(self, collections: Mapping[str, Collection], aliases: Mapping[str, str]) -> None:
        listed = {name: collection.folder.name for name, collection in collections.items()}
        with files.explained(self.path, "write to"):
            files.write_json(self.path / MANIFEST_FILE, {"format": _FORMAT, "collections": listed, "aliases": aliases})
        self._collections, self._aliases = dict(collections), dict(aliases)

    def _folder(self, name: str) -> Path:
        return self.path / COLLECTIONS_FOLDER / name

    def _wake(self) -> None:
        self.upkeep.wake()

    def _check_owner(self) -> None:
        if os.getpid() != self._owner:
            raise StoreError(f"The store in {self.path} was opened by the process that this one was forked from. Open it after forking.")


class _Shared:
    """An open store and how many have it."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.holders = 0


_OPEN: dict[Path, _Shared] = {}
_OPENING = threading.RLock()
os.register_at_fork(after_in_child=_OPEN.clear)


def open_store(path: Path, policy: UpkeepPolicy | None = None) -> Store:
    """The store in a folder, created when there is none, shared with whoever has it open in this process.

    Every call needs one `release_store`. `policy` counts only for the one that opens it first.
    """
    with files.explained(path, "open"):
        key = path.expanduser().resolve()
    with _OPENING:
        shared = _OPEN.get(key)
        if shared is None:
            shared = _OPEN[key] = _Shared(Store(key, policy or UpkeepPolicy()))
        shared.holders += 1
        return shared.store


def release_store(store: Store) -> None:
    """Takes back one `open_store`; the last one closes the store."""
    with _OPENING:
        shared = _OPEN.get(store.path)
        if shared is None or shared.store is not store:
            return
        shared.holders -= 1
        if shared.holders == 0:
            del _OPEN[store.path]
            store.close()
