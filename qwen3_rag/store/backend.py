"""What is behind a qdrant-client: local mode, a server, or the embedded engine. It opens none of them."""

from __future__ import annotations

from typing import Any

from qdrant_client.client_base import QdrantBase


def backend_of(client: QdrantBase) -> Any:
    """The client's own backend; a backend is its own."""
    return getattr(client, "_client", client)
