"""The catalog's steps of the write order. Each function runs inside one transaction that the caller opens and commits.

The rule that everything here follows: a document serves at most one version, `current_version`. Points of any other version that the
served one lacks are obsolete; shared points whose payload differs between versions must be refreshed. Whatever the status, a document is
settled by forgetting all versions but the served one, and the document with them when none is served.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, TypeVar

from sqlalchemy import delete, func, insert, select, tuple_, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from qwen3_rag.catalog.documents import chunk_record, document_record
from qwen3_rag.catalog.records import ChunkRecord, Deletion, DocumentRecord, DocumentStatus, Unfinished, Write
from qwen3_rag.catalog.tables import ChunkRow, DocumentRow, FailureRow, VersionRow
from qwen3_rag.errors import CatalogError

BATCH = 1000
"""Rows named in one statement; SQLite takes 32,766 parameters at most."""

Value = TypeVar("Value")


def begin_writes(
    session: Session, collection: int, items: Sequence[tuple[DocumentRecord, Sequence[ChunkRecord]]], now: datetime
) -> list[Write]:
    """Register a pending version of each document, with the points it intends."""
    names = [record.document_id for record, _ in items]
    if len(set(names)) != len(names):
        raise ValueError("A document may be written once in a batch.")
    keys = _ensure_documents(session, collection, names, now)
    numbers = _next_versions(session, keys.values())
    writes = [Write(name, numbers[keys[name]], keys[name]) for name in names]
    versions = [_version_row(write, record) for write, (record, _) in zip(writes, items, strict=True)]
    chunks = [_chunk_row(write, chunk) for write, (_, chunks) in zip(writes, items, strict=True) for chunk in chunks]
    pending = [{"id": write.key, "pending_version": write.version, "status": DocumentStatus.WRITING} for write in writes]
    for table, rows in ((VersionRow, versions), (ChunkRow, chunks)):
        if rows:
            session.execute(insert(table), rows)
    if pending:
        session.execute(update(DocumentRow), pending)
    return writes


def commit_writes(session: Session, writes: Sequence[Write], now: datetime) -> None:
    """Make pending versions current, and forget the documents' failures."""
    _require(session, {write.key: (DocumentStatus.WRITING, write.version) for write in writes})
    for batch in batches(writes):
        session.execute(
            update(DocumentRow)
            .where(DocumentRow.id.in_([write.key for write in batch]))
            .values(current_version=DocumentRow.pending_version, pending_version=None, status=DocumentStatus.CLEANING, updated_at=now)
            .execution_options(synchronize_session=False)
        )
    _forget_failures_of(session, [write.key for write in writes])


def finish_writes(session: Session, writes: Sequence[Write]) -> None:
    """Forget the versions that committed writes replaced."""
    _require(session, {write.key: (DocumentStatus.CLEANING, write.version) for write in writes})
    _settle(session, [write.key for write in writes])


def abandon_writes(session: Session, writes: Sequence[Write]) -> None:
    """Forget pending versions, as if they had never begun."""
    _require(session, {write.key: (DocumentStatus.WRITING, write.version) for write in writes})
    _settle(session, [write.key for write in writes])


def begin_deletes(session: Session, collection: int, document_ids: Sequence[str]) -> list[Deletion]:
    """Stop serving documents; those unknown are left out."""
    rows = [row for batch in batches(document_ids) for row in _select_documents(session, collection, batch)]
    keys = [key for _, key in rows]
    for batch in batches(keys):
        session.execute(
            update(DocumentRow)
            .where(DocumentRow.id.in_(batch))
            .values(current_version=None, pending_version=None, status=DocumentStatus.DELETING)
            .execution_options(synchronize_session=False)
        )
    points = _points(session, keys)
    return [Deletion(name, tuple(points.get(key, ())), key) for name, key in rows]


def _points(session: Session, keys: Sequence[int]) -> dict[int, dict[str, None]]:
    """The points of all versions of each document, in order, each once."""
    found: dict[int, dict[str, None]] = {}
    columns = select(ChunkRow.document, ChunkRow.point_id).order_by(ChunkRow.document, ChunkRow.version, ChunkRow.ordinal)
    for batch in batches(keys):
        for key, point in session.execute(columns.where(ChunkRow.document.in_(batch))):
            found.setdefault(key, {})[point] = None
    return found


def finish_deletes(session: Session, deletions: Sequence[Deletion]) -> None:
    """Forget deleted documents and their failures."""
    _require(session, {deletion.key: (DocumentStatus.DELETING, None) for deletion in deletions})
    keys = [deletion.key for deletion in deletions]
    _forget_failures_of(session, keys)
    _settle(session, keys)


def unfinished(session: Session, collection: int) -> list[Unfinished]:
    """Every document that is not `current`, by id."""
    keys = session.scalars(
        select(DocumentRow.id)
        .where(DocumentRow.collection == collection, DocumentRow.status != DocumentStatus.CURRENT)
        .order_by(DocumentRow.document_id)
    ).all()
    return _unfinished(session, keys)


def has_unfinished(session: Session, collection: int) -> bool:
    """Whether any document is not `current`."""
    some = select(DocumentRow.id).where(DocumentRow.collection == collection, DocumentRow.status != DocumentStatus.CURRENT)
    return session.scalar(some.limit(1)) is not None


def abandon_pending(session: Session, collection: int) -> None:
    """Leave every document of the collection with the version served, if any; what the pending ones may have in the store is obsolete."""
    pending = (DocumentRow.collection == collection, DocumentRow.status == DocumentStatus.WRITING)
    keys = session.scalars(select(DocumentRow.id).where(*pending).order_by(DocumentRow.id).with_for_update()).all()
    served = DocumentRow.current_version.is_not(None)
    for batch in batches(keys):
        for which, status in ((served, DocumentStatus.CLEANING), (~served, DocumentStatus.DELETING)):
            session.execute(
                update(DocumentRow)
                .where(DocumentRow.id.in_(batch), which)
                .values(status=status, pending_version=None)
                .execution_options(synchronize_session=False)
            )


def leftovers(session: Session, writes: Sequence[Write]) -> list[Unfinished]:
    """The state of each write's document, in the order of `writes`."""
    found = {item.key: item for item in _unfinished(session, [write.key for write in writes])}
    if missing := [write.document_id for write in writes if write.key not in found]:
        raise CatalogError(f"The catalog no longer knows {', '.join(missing[:5])}: another run changed it meanwhile. Run this again.")
    return [found[write.key] for write in writes]


def settle(session: Session, items: Sequence[Unfinished]) -> None:
    """Forget everything but the served versions, provided nothing changed since `unfinished`."""
    wanted = {item.key: (item.status, item.current_version if item.pending_version is None else item.pending_version) for item in items}
    _require(session, wanted)
    _settle(session, list(wanted))


def forget_failures(session: Session, collection: int, document_ids: Sequence[str]) -> None:
    """Delete the failures of these documents."""
    for batch in batches(document_ids):
        session.execute(delete(FailureRow).where(FailureRow.collection == collection, FailureRow.document_id.in_(batch)))


def _forget_failures_of(session: Session, keys: Sequence[int]) -> None:
    for batch in batches(keys):
        documents = select(DocumentRow.collection, DocumentRow.document_id).where(DocumentRow.id.in_(batch))
        session.execute(
            delete(FailureRow)
            .where(tuple_(FailureRow.collection, FailureRow.document_id).in_(documents))
            .execution_options(synchronize_session=False)
        )


def batches(values: Collection[Value]) -> Iterator[list[Value]]:
    """Cut `values` into lists that one statement can name."""
    everything = list(values)
    for start in range(0, len(everything), BATCH):
        yield everything[start : start + BATCH]


def _ensure_documents(session: Session, collection: int, names: Sequence[str], now: datetime) -> dict[str, int]:
    """Make the rows that are missing; returns the key of each document. Rows stay locked until the transaction ends."""
    rows = [
        {"collection": collection, "document_id": name, "status": DocumentStatus.WRITING, "created_at": now, "updated_at": now}
        for name in sorted(names)
    ]
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    if rows:
        session.execute(dialect.insert(DocumentRow).on_conflict_do_nothing(index_elements=["collection", "document_id"]), rows)
    return {
        name: key for batch in batches(rows) for name, key in _select_documents(session, collection, [row["document_id"] for row in batch])
    }


def _select_documents(session: Session, collection: int, names: Sequence[Any]) -> list[tuple[str, int]]:
    """Id and key of the documents that exist, locked in a fixed order so that two writers cannot wait for each other."""
    statement = (
        select(DocumentRow.document_id, DocumentRow.id)
        .where(DocumentRow.collection == collection, DocumentRow.document_id.in_(names))
        .order_by(DocumentRow.document_id)
        .with_for_update()
    )
    return [(name, key) for name, key in session.execute(statement)]


def _next_versions(session: Session, keys: Iterable[int]) -> dict[int, int]:
    numbers = dict.fromkeys(keys, 1)
    for batch in batches(numbers):
        latest = (
            select(VersionRow.document, func.max(VersionRow.version)).where(VersionRow.document.in_(batch)).group_by(VersionRow.document)
        )
        numbers.update({key: number + 1 for key, number in session.execute(latest)})
    return numbers


def _require(session: Session, wanted: Mapping[int, tuple[DocumentStatus, int | None]]) -> None:
    """Refuse a step out of order, or on a version that another write has superseded."""
    found: dict[int, tuple[DocumentStatus, int | None]] = {}
    columns = (DocumentRow.id, DocumentRow.status, DocumentRow.current_version, DocumentRow.pending_version)
    for batch in batches(wanted):
        rows = session.execute(select(*columns).where(DocumentRow.id.in_(batch)).order_by(DocumentRow.id).with_for_update())
        found.update({key: (status, current if pending is None else pending) for key, status, current, pending in rows})
    for key, state in wanted.items():
        if found.get(key) != state:
            raise CatalogError(
                f"A step of the write order came too late: document number {key} should be {_describe(state)} but is "
                f"{_describe(found.get(key))}, because another run changed it meanwhile. Nothing of this step was written. Run this again."
            )


def _describe(state: tuple[DocumentStatus, int | None] | None) -> str:
    return "gone" if state is None else f"{state[0].value} version {state[1]}"


def _settle(session: Session, keys: Sequence[int]) -> None:
    served = select(DocumentRow.current_version).where(DocumentRow.id == VersionRow.document).scalar_subquery()
    for batch in batches(keys):
        documents = DocumentRow.id.in_(batch)
        session.execute(
            delete(VersionRow)
            .where(VersionRow.document.in_(batch), VersionRow.version.is_distinct_from(served))
            .execution_options(synchronize_session=False)
        )
        session.execute(
            delete(DocumentRow).where(documents, DocumentRow.current_version.is_(None)).execution_options(synchronize_session=False)
        )
        session.execute(
            update(DocumentRow)
            .where(documents)
            .values(status=DocumentStatus.CURRENT, pending_version=None)
            .execution_options(synchronize_session=False)
        )


def _unfinished(session: Session, keys: Sequence[int]) -> list[Unfinished]:
    return [item for batch in batches(keys) for item in _unfinished_batch(session, batch)]


def _unfinished_batch(session: Session, keys: Sequence[int]) -> Iterator[Unfinished]:
    documents = {row.id: row for row in session.scalars(select(DocumentRow).where(DocumentRow.id.in_(keys)))}
    records = {
        version.document: document_record(documents[version.document], version)
        for version in session.scalars(
            select(VersionRow)
            .join(DocumentRow, DocumentRow.id == VersionRow.document)
            .where(DocumentRow.id.in_(keys), VersionRow.version == DocumentRow.current_version)
        )
    }
    chunks = _chunks_of_several_versions(session, keys)
    for key in keys:
        if (row := documents.get(key)) is not None:
            obsolete, moved = _compare(chunks.get(key, ()), row.current_version)
            yield Unfinished(row.document_id, row.status, records.get(key), obsolete, moved, key, row.current_version, row.pending_version)


def _chunks_of_several_versions(session: Session, keys: Sequence[int]) -> dict[int, list[ChunkRow]]:
    """All chunks of the documents that have versions besides the one served; the others have nothing to compare."""
    besides = (
        select(VersionRow.document)
        .join(DocumentRow, DocumentRow.id == VersionRow.document)
        .where(DocumentRow.id.in_(keys), VersionRow.version.is_distinct_from(DocumentRow.current_version))
        .distinct()
    )
    rows = session.scalars(
        select(ChunkRow).where(ChunkRow.document.in_(besides)).order_by(ChunkRow.document, ChunkRow.version, ChunkRow.ordinal)
    )
    return {key: list(group) for key, group in groupby(rows, key=lambda row: row.document)}


def _compare(chunks: Iterable[ChunkRow], served: int | None) -> tuple[tuple[str, ...], tuple[ChunkRecord, ...]]:
    """Points that only other versions have, and served chunks whose payload another version may have written."""
    current = {row.point_id: row for row in chunks if row.version == served}
    others = [row for row in chunks if row.version != served]
    obsolete = dict.fromkeys(row.point_id for row in others if row.point_id not in current)
    rewritten = {row.point_id for row in others if row.point_id in current and row.payload_hash != current[row.point_id].payload_hash}
    return tuple(obsolete), tuple(chunk_record(row) for row in current.values() if row.point_id in rewritten)


def _version_row(write: Write, record: DocumentRecord) -> dict[str, Any]:
    return {
        "document": write.key,
        "version": write.version,
        "source": record.source,
        "root": record.root,
        "title": record.title,
        "content_hash": record.content_hash,
        "settings_hash": record.settings_hash,
        "record_hash": record.record_hash,
        "language": record.language,
        "tenant": record.tenant,
        "metadata_": dict(record.metadata),
        "size": record.size,
    }


def _chunk_row(write: Write, chunk: ChunkRecord) -> dict[str, Any]:
    return {
        "document": write.key,
        "version": write.version,
        "ordinal": chunk.ordinal,
        "point_id": chunk.point_id,
        "content_hash": chunk.content_hash,
        "start": chunk.start,
        "end": chunk.end,
        "tokens": chunk.tokens,
        "headings": list(chunk.headings),
        "payload_hash": chunk.payload_hash,
    }
