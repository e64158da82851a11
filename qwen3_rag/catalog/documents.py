"""Questions about the documents and chunks that are served. Reads only; each function runs inside a transaction that the caller opens.

A document counts as served when it has a current version, also while another one is pending or old points are still being removed.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session

from qwen3_rag.catalog.records import ChunkRecord, Counts, DocumentRecord, DocumentState
from qwen3_rag.catalog.tables import ChunkRow, DocumentRow, FailureRow, VersionRow

_SERVED_VERSION = and_(VersionRow.document == DocumentRow.id, VersionRow.version == DocumentRow.current_version)
_SERVED_CHUNKS = and_(ChunkRow.document == DocumentRow.id, ChunkRow.version == DocumentRow.current_version)


def get_document(session: Session, collection: int, document_id: str) -> DocumentRecord | None:
    """One served document."""
    row = session.execute(_records(collection).where(DocumentRow.document_id == document_id)).one_or_none()
    return None if row is None else document_record(*row)


def list_documents(
    session: Session,
    collection: int,
    *,
    limit: int | None = None,
    offset: int = 0,
    after: str | None = None,
    prefix: str | None = None,
    root: str | None = None,
    language: str | None = None,
) -> list[DocumentRecord]:
    """Served documents by id, `after` one if given."""
    statement = _records(collection).order_by(DocumentRow.document_id).offset(offset).limit(limit)
    if after is not None:
        statement = statement.where(DocumentRow.document_id > after)
    if prefix is not None:
        # Not LIKE: it ignores case on SQLite.
        statement = statement.where(func.substr(DocumentRow.document_id, 1, len(prefix)) == prefix)
    if root is not None:
        statement = statement.where(VersionRow.root == root)
    if language is not None:
        statement = statement.where(VersionRow.language == language)
    return [document_record(*row) for row in session.execute(statement)]


def document_states(session: Session, collection: int, root: str | None, ids: Collection[str] | None) -> dict[str, DocumentState]:
    """What tells whether served documents changed."""
    statement = (
        select(DocumentRow.document_id, VersionRow.content_hash, VersionRow.settings_hash, VersionRow.record_hash, VersionRow.root)
        .join(VersionRow, _SERVED_VERSION)
        .where(DocumentRow.collection == collection)
    )
    if root is not None:
        statement = statement.where(VersionRow.root == root)
    if ids is not None:
        statement = statement.where(DocumentRow.document_id.in_(ids))
    return {row[0]: DocumentState(*row[1:]) for row in session.execute(statement)}


def current_chunks(session: Session, collection: int, document_id: str) -> list[ChunkRecord]:
    """The served chunks of one document, in order."""
    statement = (
        select(ChunkRow)
        .join(DocumentRow, _SERVED_CHUNKS)
        .where(DocumentRow.collection == collection, DocumentRow.document_id == document_id)
        .order_by(ChunkRow.ordinal)
    )
    return [chunk_record(row) for row in session.scalars(statement)]


def current_point_ids(session: Session, collection: int, document_id: str) -> set[str]:
    """The points of one served document."""
    statement = (
        select(ChunkRow.point_id)
        .join(DocumentRow, _SERVED_CHUNKS)
        .where(DocumentRow.collection == collection, DocumentRow.document_id == document_id)
    )
    return set(session.scalars(statement))


def point_ids_page(session: Session, collection: int, after: int, documents: int) -> tuple[Sequence[str], int | None]:
    """The points of the next `documents` documents after key `after`, and the last key seen; None at the end."""
    in_collection = DocumentRow.collection == collection
    keys = session.scalars(
        select(DocumentRow.id).where(in_collection, DocumentRow.id > after).order_by(DocumentRow.id).limit(documents)
    ).all()
    if not keys:
        return (), None
    statement = (
        select(ChunkRow.point_id)
        .join(DocumentRow, _SERVED_CHUNKS)
        .where(in_collection, DocumentRow.id > after, DocumentRow.id <= keys[-1])
        .order_by(DocumentRow.id, ChunkRow.ordinal)
    )
    return session.scalars(statement).all(), keys[-1]


def languages(session: Session, collection: int) -> dict[str, int]:
    """Served documents per language; those without one are left out."""
    statement = (
        select(VersionRow.language, func.count())
        .join(DocumentRow, _SERVED_VERSION)
        .where(DocumentRow.collection == collection, VersionRow.language.is_not(None))
        .group_by(VersionRow.language)
        .order_by(func.count().desc(), VersionRow.language)
    )
    return {language: count for language, count in session.execute(statement) if language is not None}


def has_documents(session: Session, collection: int) -> bool:
    """Whether any document is served."""
    some = select(DocumentRow.id).where(DocumentRow.collection == collection, DocumentRow.current_version.is_not(None))
    return session.scalar(some.limit(1)) is not None


def counts(session: Session, collection: int) -> Counts:
    """Served documents and chunks, and failures."""
    served = (DocumentRow.collection == collection, DocumentRow.current_version.is_not(None))
    return Counts(
        documents=session.scalar(select(func.count()).select_from(DocumentRow).where(*served)) or 0,
        chunks=session.scalar(select(func.count()).select_from(DocumentRow).join(ChunkRow, _SERVED_CHUNKS).where(*served)) or 0,
        failures=session.scalar(select(func.count()).select_from(FailureRow).where(FailureRow.collection == collection)) or 0,
    )


def document_record(document: DocumentRow, version: VersionRow, chunks: int | None = None) -> DocumentRecord:
    """The record of one version."""
    return DocumentRecord(
        document_id=document.document_id,
        content_hash=version.content_hash,
        settings_hash=version.settings_hash,
        source=version.source,
        root=version.root,
        title=version.title,
        language=version.language,
        tenant=version.tenant,
        metadata=version.metadata_,
        size=version.size,
        version=version.version,
        status=document.status,
        chunks=chunks,
        created_at=document.created_at,
        updated_at=document.updated_at,
    )


def chunk_record(row: ChunkRow) -> ChunkRecord:
    """The record of one chunk."""
    return ChunkRecord(
        ordinal=row.ordinal,
        point_id=row.point_id,
        content_hash=row.content_hash,
        start=row.start,
        end=row.end,
        tokens=row.tokens,
        headings=tuple(row.headings),
        payload_hash=row.payload_hash,
    )


def _records(collection: int) -> Select[Any]:
    chunks = select(func.count()).select_from(ChunkRow).where(_SERVED_CHUNKS).correlate(DocumentRow).scalar_subquery()
    return select(DocumentRow, VersionRow, chunks).join(VersionRow, _SERVED_VERSION).where(DocumentRow.collection == collection)
