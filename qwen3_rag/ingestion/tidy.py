"""Brings the store in line with the version that the catalog serves: obsolete points go, payloads of chunks that moved are refreshed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from qdrant_client import QdrantClient, models

from qwen3_rag.catalog import ChunkRecord, DocumentRecord, Unfinished
from qwen3_rag.store.points import payload
from qwen3_rag.types import Chunk, Document

POINTS_PER_REQUEST = 256
SCROLL_PAGE = 10_000
FIXED = frozenset({"text", "title", "language"})
"""Payload keys that belong to the content of a point: one that stays has them right already."""


def tidy(client: QdrantClient, collection: str, items: Sequence[Unfinished]) -> None:
    """Do it for every item; what was done already does no harm."""
    delete_points(client, collection, [point for item in items for point in item.obsolete_points])
    for item in items:
        if item.current is not None:
            refresh_payloads(client, collection, item.current, item.moved_chunks)


def delete_points(client: QdrantClient, collection: str, point_ids: Sequence[str]) -> None:
    """Delete points by id and wait. Ids that are not there are no error."""
    for start in range(0, len(point_ids), POINTS_PER_REQUEST):
        ids: list[models.ExtendedPointId] = list(point_ids[start : start + POINTS_PER_REQUEST])
        client.delete(collection, points_selector=models.PointIdsList(points=ids), wait=True)


def point_ids(client: QdrantClient, collection: str) -> Iterator[str]:
    """The ids of all points in the store."""
    offset: Any = None
    while True:
        page, offset = client.scroll(collection, limit=SCROLL_PAGE, offset=offset, with_payload=False, with_vectors=False)
        yield from (str(record.id) for record in page)
        if offset is None:
            return


def refresh_payloads(client: QdrantClient, collection: str, document: DocumentRecord, chunks: Sequence[ChunkRecord]) -> None:
    """Write everything but the text anew into the payloads of chunks whose vectors stay: spans, headings, the document's metadata."""
    for start in range(0, len(chunks), POINTS_PER_REQUEST):
        operations: list[models.UpdateOperation] = [
            models.SetPayloadOperation(set_payload=models.SetPayload(payload=_moved_payload(document, chunk), points=[chunk.point_id]))
            for chunk in chunks[start : start + POINTS_PER_REQUEST]
        ]
        client.batch_update_points(collection, operations, wait=True)


def _moved_payload(document: DocumentRecord, chunk: ChunkRecord) -> dict[str, Any]:
    fields = payload(
        Chunk(
            document_id=document.document_id,
            ordinal=chunk.ordinal,
            text="",
            start=chunk.start,
            end=chunk.end,
            headings=chunk.headings,
            title=document.title,
            language=document.language,
        ),
        Document(
            id=document.document_id,
            text="",
            title=document.title,
            metadata=document.metadata,
            source=document.source,
            tenant=document.tenant,
        ),
    )
    return {name: value for name, value in fields.items() if name not in FIXED}
