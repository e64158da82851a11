"""Mends what a crash left between two steps of the write order. Safe to repeat, and to be interrupted itself."""

from __future__ import annotations

import logging

from qdrant_client import QdrantClient

from qwen3_rag.catalog import Catalog
from qwen3_rag.ingestion.tidy import tidy

logger = logging.getLogger(__name__)


def repair(catalog: Catalog, client: QdrantClient, collection: str) -> int:
    """Finish or undo every unfinished document of `collection`; returns how many there were.

    A version that was never made current is undone: its own points are deleted, the old version was served all along. A version that
    was made current is finished: points and rows of older versions go. A deletion is finished. The catalog abandons a version before the
    store loses its points, so that an earlier writer which lost its lock and lives on cannot make it current afterwards.
    """
    if not catalog.has_unfinished(collection):
        return 0
    items = catalog.take_over(collection)
    logger.warning("finishing %d documents that an earlier run left halfway", len(items))
    for item in items:
        logger.debug("finishing %s, left %s", item.document_id, item.status)
    tidy(client, collection, items)
    catalog.settle(items)
    return len(items)
