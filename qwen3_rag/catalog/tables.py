"""The tables, as typed ORM classes. Alembic makes them (`migrations/`); a test holds the two together.

A document's row points to the version that is served. Everything that a new version may change waits in `document_versions` and
`chunks` until the pointer moves, so that making a version current is one update.
"""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    DateTime,
    Dialect,
    Double,
    Enum,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    UniqueConstraint,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column
from sqlalchemy.types import TypeDecorator

from qwen3_rag.catalog.records import DocumentStatus, FailureStage, RunStatus

Key = BigInteger().with_variant(Integer(), "sqlite")
"""SQLite numbers rows by itself only where the type is INTEGER."""

Words = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that both databases sort by code point."""

Json = JSON(none_as_null=True)
"""JSON as it was given. Not JSONB: that refuses NUL characters and changes the order of keys, and nothing here is queried by key."""


class Utc(TypeDecorator[datetime]):
    """A moment, always with time zone UTC; SQLite keeps no zone of its own."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """To UTC."""
        return value if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """In UTC, said so."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


def _choice(kind: type[StrEnum]) -> Enum:
    return Enum(kind, native_enum=False, length=16, values_callable=lambda members: [member.value for member in members])


class Base(DeclarativeBase):
    """All tables, with constraint names that migrations can refer to."""

    metadata = MetaData(
        naming_convention={
            "ix": "ix_%(table_name)s_%(column_0_N_name)s",
            "uq": "uq_%(table_name)s_%(column_0_N_name)s",
            "fk": "fk_%(table_name)s_%(column_0_N_name)s",
            "pk": "pk_%(table_name)s",
        }
    )


class EmbeddingSpaceRow(Base):
    """What makes vectors comparable, under the name by which the model is loaded."""

    __tablename__ = "embedding_spaces"
    __table_args__ = (UniqueConstraint("fingerprint", "model"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    model: Mapped[str] = mapped_column(Words)
    revision: Mapped[str] = mapped_column(Words)
    dim: Mapped[int]
    template: Mapped[str] = mapped_column(Words)
    pooling: Mapped[str] = mapped_column(Words)


class CollectionRow(Base):
    """One collection of the store."""

    __tablename__ = "collections"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    name: Mapped[str] = mapped_column(Words, unique=True)
    embedding_space: Mapped[int] = mapped_column(Key, ForeignKey("embedding_spaces.id"), index=True)
    reranker: Mapped[str | None] = mapped_column(Words)
    chunking: Mapped[str | None] = mapped_column(Words)
    created_at: Mapped[datetime] = mapped_column(Utc)


class DocumentRow(Base):
    """A document: which version is served, which is pending, and where it is in the write order."""

    __tablename__ = "documents"
    __table_args__ = (UniqueConstraint("collection", "document_id"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    collection: Mapped[int] = mapped_column(Key, ForeignKey("collections.id", ondelete="CASCADE"))
    document_id: Mapped[str] = mapped_column(Words)
    status: Mapped[DocumentStatus] = mapped_column(_choice(DocumentStatus))
    current_version: Mapped[int | None]
    pending_version: Mapped[int | None]
    created_at: Mapped[datetime] = mapped_column(Utc)
    updated_at: Mapped[datetime] = mapped_column(Utc)


class VersionRow(Base):
    """One version of a document, as it was read."""

    __tablename__ = "document_versions"

    document: Mapped[int] = mapped_column(Key, ForeignKey("documents.id", ondelete="CASCADE"), primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    source: Mapped[str | None] = mapped_column(Words)
    root: Mapped[str | None] = mapped_column(Words)
    title: Mapped[str | None] = mapped_column(Words)
    content_hash: Mapped[str] = mapped_column(String(64))
    settings_hash: Mapped[str] = mapped_column(String(64))
    record_hash: Mapped[str] = mapped_column(String(64))
    language: Mapped[str | None] = mapped_column(Words)
    tenant: Mapped[str | None] = mapped_column(Words)
    metadata_: Mapped[dict[str, Any]] = mapped_column("metadata", Json)
    size: Mapped[int] = mapped_column(BigInteger)


class ChunkRow(Base):
    """One chunk of one version. Its point is found through its document; an index on `point_id` would cost a fifth of the write time."""

    __tablename__ = "chunks"
    __table_args__ = (
        ForeignKeyConstraint(["document", "version"], ["document_versions.document", "document_versions.version"], ondelete="CASCADE"),
    )

    document: Mapped[int] = mapped_column(Key, primary_key=True)
    version: Mapped[int] = mapped_column(primary_key=True)
    ordinal: Mapped[int] = mapped_column(primary_key=True)
    point_id: Mapped[str] = mapped_column(String(36))
    content_hash: Mapped[str] = mapped_column(String(64))
    start: Mapped[int]
    end: Mapped[int]
    tokens: Mapped[int]
    headings: Mapped[list[str]] = mapped_column(Json)
    payload_hash: Mapped[str] = mapped_column(String(64))


class RunRow(Base):
    """One ingestion run."""

    __tablename__ = "runs"

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    collection: Mapped[int] = mapped_column(Key, ForeignKey("collections.id", ondelete="CASCADE"), index=True)
    status: Mapped[RunStatus] = mapped_column(_choice(RunStatus))
    started_at: Mapped[datetime] = mapped_column(Utc)
    finished_at: Mapped[datetime | None] = mapped_column(Utc)
    settings: Mapped[dict[str, Any]] = mapped_column(Json)
    paths: Mapped[list[str]] = mapped_column(Json)
    counts: Mapped[dict[str, Any]] = mapped_column(Json)
    timing: Mapped[dict[str, float]] = mapped_column(Json)
    error: Mapped[str | None] = mapped_column(Words)


class FailureRow(Base):
    """A document that could not be ingested. It needs no row in `documents`: most failures never got that far."""

    __tablename__ = "failures"
    __table_args__ = (UniqueConstraint("collection", "document_id"),)

    id: Mapped[int] = mapped_column(Key, primary_key=True)
    collection: Mapped[int] = mapped_column(Key, ForeignKey("collections.id", ondelete="CASCADE"))
    document_id: Mapped[str] = mapped_column(Words)
    source: Mapped[str | None] = mapped_column(Words)
    stage: Mapped[FailureStage] = mapped_column(_choice(FailureStage))
    error: Mapped[str] = mapped_column(Words)
    attempts: Mapped[int]
    first_seen: Mapped[datetime] = mapped_column(Utc)
    last_seen: Mapped[datetime] = mapped_column(Utc)


class IndexRecordRow(Base):
    """A key that a framework's indexing run has written into an index, which is a namespace here."""

    __tablename__ = "index_records"
    __table_args__ = (Index(None, "namespace", "updated_at"), Index(None, "namespace", "group_id"))

    namespace: Mapped[str] = mapped_column(Words, primary_key=True)
    key: Mapped[str] = mapped_column(Words, primary_key=True)
    group_id: Mapped[str | None] = mapped_column(Words)
    updated_at: Mapped[float] = mapped_column(Double)
