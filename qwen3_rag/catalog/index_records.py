"""Which keys a framework's indexing run has written, in which group and when, by the database's own clock.

A run takes the time at its start, stamps every key that it meets, and deletes what was stamped before its start. That loses nothing only
while no stamp is later than the next start: time here never goes back, and moves on even where the database's clock has not ticked yet or
was set back. It knows neither documents nor the store; a namespace keeps indexes apart.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import Any

from sqlalchemy import ColumnElement, Double, cast, delete, extract, func, literal, select
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.orm import Session

from qwen3_rag.catalog.tables import IndexRecordRow
from qwen3_rag.catalog.writes import batches

TICK = 1e-6
"""Seconds by which time moves on at least. A float of today's size tells four parts of it apart."""

_EPOCH = 2440587.5
"""1970-01-01 as a Julian day."""

Transaction = Callable[[], AbstractContextManager[Session]]


class IndexRecords:
    """The records of one namespace. Every method is one transaction; any of them raises `CatalogError` when the database cannot answer."""

    def __init__(self, namespace: str, read: Transaction, write: Transaction) -> None:
        self.namespace = namespace
        self._read = read
        self._write = write

    def now(self) -> float:
        """Seconds since 1970, later than every stamp of the namespace."""
        with self._read() as session:
            return _now(session, self.namespace)

    def stamp(self, keys: Sequence[str], groups: Sequence[str | None] | None = None, at_least: float | None = None) -> None:
        """Record keys as written now. Without `groups` a key that is known keeps its group. Of a key given twice the last counts.

        Raises:
            ValueError: `groups` of another length, or a time `at_least` that has not come yet: it is of another clock.
        """
        if groups is not None and len(groups) != len(keys):
            raise ValueError(f"There are {len(keys)} keys but {len(groups)} group ids. Give one group id for each key, or none at all.")
        records = dict(zip(keys, groups or [None] * len(keys), strict=True))
        with self._write() as session:
            now = _now(session, self.namespace)
            if at_least is not None and at_least > now:
                raise ValueError(
                    f"time_at_least={at_least:.6f} is {at_least - now:.6f} s ahead of the catalog's clock. Take it from get_time(); if the "
                    "clock of the database was set back meanwhile, run this again."
                )
            for batch in batches(records.items()):
                rows = [{"namespace": self.namespace, "key": key, "group_id": group, "updated_at": now} for key, group in batch]
                _upsert(session, rows, with_groups=groups is not None)

    def known(self, keys: Sequence[str]) -> list[bool]:
        """Whether each key is recorded, in order."""
        found: set[str] = set()
        with self._read() as session:
            for batch in batches(keys):
                found.update(session.scalars(select(IndexRecordRow.key).where(self._ours, IndexRecordRow.key.in_(batch))))
        return [key in found for key in keys]

    def keys(
        self, before: float | None = None, after: float | None = None, groups: Sequence[str] | None = None, limit: int | None = None
    ) -> list[str]:
        """Keys stamped before and after these times, both exclusive, in these groups; the oldest first, `limit` at most."""
        statement = select(IndexRecordRow.key).where(self._ours).order_by(IndexRecordRow.updated_at, IndexRecordRow.key)
        if before is not None:
            statement = statement.where(IndexRecordRow.updated_at < before)
        if after is not None:
            statement = statement.where(IndexRecordRow.updated_at > after)
        with self._read() as session:
            if groups is None:
                return list(session.scalars(statement.limit(limit)))
            found: list[str] = []
            for batch in batches(dict.fromkeys(groups)):
                left = None if limit is None else limit - len(found)
                found += session.scalars(statement.where(IndexRecordRow.group_id.in_(batch)).limit(left))
            return found

    def forget(self, keys: Sequence[str]) -> None:
        """Delete the records of these keys; unknown ones are left alone."""
        with self._write() as session:
            for batch in batches(keys):
                session.execute(
                    delete(IndexRecordRow).where(self._ours, IndexRecordRow.key.in_(batch)).execution_options(synchronize_session=False)
                )

    @property
    def _ours(self) -> ColumnElement[bool]:
        return IndexRecordRow.namespace == self.namespace


def _now(session: Session, namespace: str) -> float:
    latest = session.scalar(select(func.max(IndexRecordRow.updated_at)).where(IndexRecordRow.namespace == namespace))
    clock = float(session.scalar(select(_clock(session))) or 0.0)
    return clock if latest is None else max(clock, latest + TICK)


def _clock(session: Session) -> ColumnElement[float]:
    if _is_sqlite(session):
        return (func.julianday("now", type_=Double) - literal(_EPOCH)) * literal(86400.0)
    return cast(extract("epoch", func.clock_timestamp()), Double)


def _upsert(session: Session, rows: list[dict[str, Any]], *, with_groups: bool) -> None:
    dialect = sqlite if _is_sqlite(session) else postgresql
    insert = dialect.insert(IndexRecordRow)
    changed = {"updated_at": insert.excluded.updated_at} | ({"group_id": insert.excluded.group_id} if with_groups else {})
    session.execute(insert.on_conflict_do_update(index_elements=["namespace", "key"], set_=changed), rows)


def _is_sqlite(session: Session) -> bool:
    return session.get_bind().dialect.name == "sqlite"
