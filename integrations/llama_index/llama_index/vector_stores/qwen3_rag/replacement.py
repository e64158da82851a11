"""Which nodes replace which documents while `Qwen3VectorStore.replacing` is on. What is stale is deleted by the store.

What is under way belongs to the caller's context, so that other threads and tasks delete as ever.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field

from qwen3_rag.errors import ConfigurationError


@dataclass(slots=True)
class Replacement:
    """For each document that was written or deleted meanwhile, the ids of the nodes that it now has."""

    nodes: dict[str, set[str]] = field(default_factory=dict)
    ended: bool = False

    def written(self, document_id: str, node_id: str) -> None:
        """A node was put into the store."""
        self.nodes.setdefault(document_id, set()).add(node_id)

    def deleted(self, document_id: str) -> None:
        """A document is to go with all it has so far, or to be replaced by what is written from now on: the end will tell."""
        self.nodes[document_id] = set()


_UNDER_WAY: ContextVar[Mapping[int, Replacement]] = ContextVar("replacements", default={})  # noqa: B039


def under_way(store: object) -> Replacement | None:
    """The replacement of a store in this context, if there is one. A task that was started inside it may outlive it."""
    noted = _UNDER_WAY.get().get(id(store))
    return None if noted is None or noted.ended else noted


class Replacing:
    """For `with` and for `async with`, once: what happens inside is noted, and handed to `settle` unless an error ended it."""

    def __init__(self, store: object, settle: Callable[[Replacement], None]) -> None:
        self._store = store
        self._settle = settle
        self._noted = Replacement()

    def __enter__(self) -> None:
        if under_way(self._store) is not None:
            raise ConfigurationError("replacing() is under way already. Put both into one `with`: the inner end would know half of it.")
        self._token = _UNDER_WAY.set({**_UNDER_WAY.get(), id(self._store): self._noted})

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end()
        if kind is None:
            self._settle(self._noted)

    async def __aenter__(self) -> None:
        self.__enter__()

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end()
        if kind is None:
            await asyncio.to_thread(self._settle, self._noted)

    def _end(self) -> None:
        self._noted.ended = True
        _UNDER_WAY.reset(self._token)
