"""Runs and failures: what was tried, and what did not work. Each function runs inside a transaction that the caller opens."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import delete, func, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from qwen3_rag.catalog.records import MAX_ID_BYTES, FailureRecord, FailureStage, RunRecord, RunStatus
from qwen3_rag.catalog.tables import CollectionRow, FailureRow, RunRow
from qwen3_rag.errors import CatalogError

MAX_ERROR_CHARACTERS = 4000


def start_run(session: Session, collection: int, settings: Mapping[str, Any], paths: Iterable[str], now: datetime) -> int:
    """Record that a run began; returns its number."""
    row = RunRow(
        collection=collection,
        status=RunStatus.RUNNING,
        started_at=now,
        settings=_plain(settings),
        paths=[str(path) for path in paths],
        counts={},
        timing={},
    )
    session.add(row)
    session.flush()
    return row.id


def finish_run(
    session: Session,
    run_id: int,
    status: RunStatus,
    counts: Mapping[str, Any],
    timing: Mapping[str, float],
    error: str | None,
    now: datetime,
) -> None:
    """Record how a run ended."""
    row = session.get(RunRow, run_id)
    if row is None:
        raise CatalogError(f"The catalog knows no run {run_id}: its collection was deleted meanwhile.")
    row.status, row.finished_at, row.error = status, now, None if error is None else storable(error, MAX_ERROR_CHARACTERS)
    row.counts, row.timing = _plain(counts), _plain(timing)


def mark_interrupted(session: Session, collection: str) -> None:
    """A run that still says `running` while nobody is writing was interrupted: the newest, since each writer marks what is before it."""
    owner = select(CollectionRow.id).where(CollectionRow.name == collection).scalar_subquery()
    newest = select(func.max(RunRow.id)).where(RunRow.collection == owner).scalar_subquery()
    session.execute(
        update(RunRow)
        .where(RunRow.id == newest, RunRow.status == RunStatus.RUNNING)
        .values(status=RunStatus.INTERRUPTED)
        .execution_options(synchronize_session=False)
    )


def runs(session: Session, collection: int, limit: int | None) -> list[RunRecord]:
    """Runs, newest first."""
    statement = (
        select(RunRow, CollectionRow.name)
        .join(CollectionRow, CollectionRow.id == RunRow.collection)
        .where(RunRow.collection == collection)
        .order_by(RunRow.id.desc())
        .limit(limit)
    )
    return [_run_record(row, name) for row, name in session.execute(statement)]


def record_failure(
    session: Session, collection: int, document_id: str, stage: FailureStage, error: str, source: str | None, now: datetime
) -> None:
    """Record a failure, or one more attempt of the same document."""
    values = {
        "source": None if source is None else storable(source),
        "stage": stage,
        "error": storable(error, MAX_ERROR_CHARACTERS),
        "last_seen": now,
    }
    dialect = sqlite if session.get_bind().dialect.name == "sqlite" else postgresql
    first = dialect.insert(FailureRow).values(
        collection=collection, document_id=failure_id(document_id), attempts=1, first_seen=now, **values
    )
    session.execute(
        first.on_conflict_do_update(index_elements=["collection", "document_id"], set_={**values, "attempts": FailureRow.attempts + 1})
    )


def failures(session: Session, collection: int, limit: int | None, offset: int) -> list[FailureRecord]:
    """Failures by document id."""
    statement = select(FailureRow).where(FailureRow.collection == collection).order_by(FailureRow.document_id).limit(limit).offset(offset)
    return [_failure_record(row) for row in session.scalars(statement)]


def clear_failures(session: Session, collection: int) -> None:
    """Forget all failures."""
    session.execute(delete(FailureRow).where(FailureRow.collection == collection))


def failure_id(document_id: str) -> str:
    """What a failure is kept under: the document's id, unless no document can have such an id because it is too long or no valid Unicode.

    A longer one is cut and ends with its SHA-256, so that two of them stay two.
    """
    stored = storable(document_id)
    encoded = stored.encode()
    if len(encoded) <= MAX_ID_BYTES:
        return stored
    end = f"…{hashlib.sha256(encoded).hexdigest()}"
    return encoded[: MAX_ID_BYTES - len(end.encode())].decode(errors="ignore") + end


def storable(text: str, limit: int | None = None) -> str:
    """`text` as every database can keep it: what is no valid Unicode is escaped, so that recording a failure cannot fail itself."""
    return text.encode("utf-8", "backslashreplace").decode().replace("\x00", "\\x00")[:limit]


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """Plain JSON types; what is none of them as text."""
    return dict(json.loads(json.dumps(dict(value), default=str)))


def _run_record(row: RunRow, collection: str) -> RunRecord:
    return RunRecord(
        id=row.id,
        collection=collection,
        status=row.status,
        started_at=row.started_at,
        finished_at=row.finished_at,
        settings=row.settings,
        paths=tuple(row.paths),
        counts=row.counts,
        timing=row.timing,
        error=row.error,
    )


def _failure_record(row: FailureRow) -> FailureRecord:
    return FailureRecord(
        document_id=row.document_id,
        source=row.source,
        stage=row.stage,
        error=row.error,
        attempts=row.attempts,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
    )
