"""The embedded engine: Qdrant's own storage and search in a folder, behind qdrant-client's interface.

Names are loaded when they are used: engine processes import this package too and need none of it.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwen3_rag.store.edge.client import EdgeClient, as_async_qdrant_client, as_qdrant_client
    from qwen3_rag.store.edge.upkeep import UpkeepPolicy

_HOMES = {"EdgeClient": "client", "UpkeepPolicy": "upkeep", "as_async_qdrant_client": "client", "as_qdrant_client": "client"}

__all__ = ["EdgeClient", "UpkeepPolicy", "as_async_qdrant_client", "as_qdrant_client"]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
