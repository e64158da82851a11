"""What a knowledge base was made with, as its catalog or, where no catalog goes with it, its collection says."""

from __future__ import annotations

from qdrant_client.client_base import QdrantBase

from qwen3_rag.catalog import Catalog
from qwen3_rag.models.binding import Remembered
from qwen3_rag.models.registry import default_reranker_for
from qwen3_rag.store.schema import read_space


def made_with(catalog: Catalog, client: QdrantBase, collection: str) -> Remembered | None:
    """What the catalog says, else the collection; None while it is new."""
    record = catalog.get_collection(collection)
    return Remembered(record.space, record.reranker) if record else held(client, collection)


def held(client: QdrantBase, collection: str) -> Remembered | None:
    """What a collection that no catalog goes with says of itself, as on a server that another process fills."""
    if not client.collection_exists(collection):
        return None
    space = read_space(client, collection)
    return Remembered(space, default_reranker_for(space.model))
