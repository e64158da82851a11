"""Makes a process 'die' at a chosen write: the n-th mutating call on client or catalog raises `Crash`, before or after its effect."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any

from qdrant_client import QdrantClient

from qwen3_rag.catalog import Catalog

CLIENT_CALLS = ("upsert", "delete", "batch_update_points")
CATALOG_CALLS = (
    "begin_writes",
    "commit_writes",
    "finish_writes",
    "abandon_writes",
    "take_over",
    "settle",
    "begin_deletes",
    "finish_deletes",
)


class Crash(BaseException):
    """Stands for the process dying: nothing may catch it."""


class When(Enum):
    BEFORE = "before"
    AFTER = "after"


class Fuse:
    """Burns once, at the n-th call. `calls` counts on, so that a test can tell how many points there are to crash at."""

    def __init__(self, at: int | None, when: When) -> None:
        self.at = at
        self.when = when
        self.calls: list[str] = []

    def wrap(self, name: str, function: Any) -> Any:
        def guarded(*args: Any, **kwargs: Any) -> Any:
            burning = len(self.calls) == self.at
            self.calls.append(name)
            if burning and self.when is When.BEFORE:
                raise Crash(name)
            result = function(*args, **kwargs)
            if burning:
                raise Crash(name)
            return result

        return guarded


@contextmanager
def crash_at(client: QdrantClient, at: int | None, when: When, monkeypatch: Any) -> Iterator[Fuse]:
    """Within the block, the write number `at` (from 0; None: none) of `client` or any catalog crashes."""
    fuse = Fuse(at, when)
    with monkeypatch.context() as patch:
        for name in CLIENT_CALLS:
            patch.setattr(client, name, fuse.wrap(f"client.{name}", getattr(client, name)))
        for name in CATALOG_CALLS:
            patch.setattr(Catalog, name, fuse.wrap(f"catalog.{name}", getattr(Catalog, name)))
        yield fuse


@contextmanager
def watched_writes(client: QdrantClient, look: Callable[[], None], monkeypatch: Any) -> Iterator[None]:
    """Within the block, `look` is called before and after every write."""

    def watched(function: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            look()
            result = function(*args, **kwargs)
            look()
            return result

        return call

    with monkeypatch.context() as patch:
        for name in CLIENT_CALLS:
            patch.setattr(client, name, watched(getattr(client, name)))
        for name in CATALOG_CALLS:
            patch.setattr(Catalog, name, watched(getattr(Catalog, name)))
        yield
