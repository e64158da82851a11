"""Brings the store in line with the version that the catalog serves: obsolete points go, payloads of chunks that moved are refreshed.

All of it is on the disk when a function returns, because the catalog then forgets what there was to do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qdrant_client import QdrantClient, models

from qwen3_rag.catalog import ChunkRecord, DocumentRecord, Unfinished
from qwen3_rag.store import EdgeClient
from qwen3_rag.store.backend import backend_of
from qwen3_rag.store.points import payload, to_hit
from qwen3_rag.types import Chunk, Document, context_line

POINTS_PER_REQUEST = 256
FIXED = frozenset({"text", "language"})
"""Payload keys that belong to the content of a point: one that stays has them right already."""


def tidy(client: QdrantClient, collection: str, items: Sequence[Unfinished]) -> None:
    """Do it for every item; what was done already does no harm."""
    _delete(client, collection, [point for item in items for point in item.obsolete_points])
    for item in items:
        if item.current is not None:
            refresh_payloads(client, collection, item.current, item.moved_chunks)
    if any(item.obsolete_points or item.moved_chunks for item in items):
        sync(client, collection)


def delete_points(client: QdrantClient, collection: str, point_ids: Sequence[models.ExtendedPointId]) -> None:
    """Delete points by id. Ids that are not there are no error."""
    _delete(client, collection, point_ids)
    if point_ids:
        sync(client, collection)


def sync(client: QdrantClient, collection: str) -> None:
    """Have everything written so far on the disk. A server does so by itself, within seconds."""
    backend = backend_of(client)
    if isinstance(backend, EdgeClient):
        backend.sync(collection)


def _delete(client: QdrantClient, collection: str, point_ids: Sequence[models.ExtendedPointId]) -> None:
    for start in range(0, len(point_ids), POINTS_PER_REQUEST):
        ids: list[models.ExtendedPointId] = list(point_ids[start : start + POINTS_PER_REQUEST])
        client.delete(collection, points_selector=models.PointIdsList(points=ids), wait=True)


def refresh_payloads(client: QdrantClient, collection: str, document: DocumentRecord, chunks: Sequence[ChunkRecord]) -> None:
    """Write everything but the text anew into the payloads of chunks whose vectors stay: spans, title, headings, the document's metadata.

    Points that the store has lost are left out; they are embedded anew by the next ingest of their document.
    """
    for start in range(0, len(chunks), POINTS_PER_REQUEST):
        batch = chunks[start : start + POINTS_PER_REQUEST]
        contexts = _contexts(client, collection, [chunk.point_id for chunk in batch])
        payloads = {
            chunk.point_id: _moved_payload(document, chunk, contexts[chunk.point_id]) for chunk in batch if chunk.point_id in contexts
        }
        operations: list[models.UpdateOperation] = [
            models.SetPayloadOperation(set_payload=models.SetPayload(payload=fields, points=[point])) for point, fields in payloads.items()
        ]
        if operations:
            client.batch_update_points(collection, operations, wait=True)


def _contexts(client: QdrantClient, collection: str, point_ids: Sequence[models.ExtendedPointId]) -> dict[str, str]:
    """The context line of each point that is there. A point has the same one for ever: its id depends on it."""
    hits = [to_hit(record, score=0.0, stages={}) for record in client.retrieve(collection, point_ids, with_payload=["title", "headings"])]
    return {hit.point_id: context_line(hit.title, hit.headings) for hit in hits}


def _title(context: str, headings: Sequence[str]) -> str | None:
    """What the headings leave of a context line. A chunk's title may be shortened or left out, so it is not simply the document's."""
    return context.removesuffix(" > ".join(headings)).removesuffix(" > ") or None


def _moved_payload(document: DocumentRecord, chunk: ChunkRecord, context: str) -> dict[str, Any]:
    fields = payload(
        Chunk(
            document_id=document.document_id,
            ordinal=chunk.ordinal,
            text="",
            start=chunk.start,
            end=chunk.end,
            headings=chunk.headings,
            title=_title(context, chunk.headings),
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
