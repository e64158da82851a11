"""Qdrant: the embedded engine, a server or memory, behind one interface, qdrant-client's own.

`open_client` opens whichever the settings name. Names are loaded when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwen3_rag.store.client import open_client
    from qwen3_rag.store.edge.client import EdgeClient, as_async_qdrant_client, as_qdrant_client

_HOMES = {"EdgeClient": "edge.client", "as_async_qdrant_client": "edge.client", "as_qdrant_client": "edge.client", "open_client": "client"}

__all__ = ["EdgeClient", "as_async_qdrant_client", "as_qdrant_client", "open_client"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
