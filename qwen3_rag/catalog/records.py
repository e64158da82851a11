"""What goes into the catalog and what comes out: frozen plain data. Knows nothing of tables, sessions or SQL."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Any

from qwen3_rag.errors import SourceError
from qwen3_rag.types import EmbeddingSpace

MAX_ID_BYTES = 2048
"""Longest document id in UTF-8. PostgreSQL cannot index more than about 2,700 bytes."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


class DocumentStatus(StrEnum):
    """Where a document is in the write order. Anything but `CURRENT` is unfinished."""

    CURRENT = "current"
    WRITING = "writing"
    """A new version is pending; its points may be in the store. The former version, if any, is served."""
    CLEANING = "cleaning"
    """One version is served and none is pending; points that only others had may still be in the store."""
    DELETING = "deleting"
    """Not served, and no version is pending; points of it may still be in the store."""


class RunStatus(StrEnum):
    """How an ingestion run ended, or that it has not."""

    RUNNING = "running"
    OK = "ok"
    FAILED = "failed"
    INTERRUPTED = "interrupted"


class FailureStage(StrEnum):
    """Where a document failed."""

    READ = "read"
    CHUNK = "chunk"
    EMBED = "embed"
    STORE = "store"
    CATALOG = "catalog"


@dataclass(frozen=True, slots=True)
class DocumentRecord:
    """One version of a document.

    `content_hash` is of what was read, `settings_hash` of what decides how it is chunked. `root` is the ingested folder it came
    from, None for documents given as objects. The last five fields are filled by the catalog and ignored in what it is given.

    Raises:
        SourceError: an id that is empty or too long, text that no database can keep, metadata that is not JSON.
    """

    document_id: str
    content_hash: str
    settings_hash: str
    source: str | None = None
    root: str | None = None
    title: str | None = None
    language: str | None = None
    tenant: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=lambda: _NOTHING)
    size: int = 0
    version: int | None = None
    status: DocumentStatus | None = None
    chunks: int | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None

    def __post_init__(self) -> None:
        if not self.document_id:
            raise SourceError("A document has an empty id. Give every document an id of its own.")
        for name in ("document_id", "source", "root", "title", "language", "tenant"):
            _check_text(self.document_id, name, getattr(self, name))
        if len(self.document_id.encode()) > MAX_ID_BYTES:
            raise SourceError(f"The id {self.document_id[:80]!r}… is longer than {MAX_ID_BYTES} bytes. Give the document a shorter id.")
        _canonical(self)

    @property
    def record_hash(self) -> str:
        """SHA-256 over the fields that every point of the document carries: source, title, language, tenant, metadata."""
        return hashlib.sha256(_canonical(self).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class ChunkRecord:
    """One chunk of one version of a document: a span and the point that holds it.

    `payload_hash` covers what the point's payload says besides the text; a kept point whose payload hash changed needs a new payload.
    """

    ordinal: int
    point_id: str
    content_hash: str
    start: int
    end: int
    tokens: int
    headings: tuple[str, ...]
    payload_hash: str


@dataclass(frozen=True, slots=True)
class DocumentState:
    """What tells whether a document has to be prepared again."""

    content_hash: str
    settings_hash: str
    record_hash: str
    root: str | None


@dataclass(frozen=True, slots=True)
class Write:
    """The handle of one pending version, from `begin_writes`. `key` is the catalog's own number of the document."""

    document_id: str
    version: int
    key: int


@dataclass(frozen=True, slots=True)
class Deletion:
    """The handle of one deletion, from `begin_deletes`, and every point of the document that may be in the store."""

    document_id: str
    point_ids: tuple[str, ...]
    key: int


@dataclass(frozen=True, slots=True)
class Unfinished:
    """One unfinished document and what brings the store in line with the version served (`current`, None when there is none).

    Delete `obsolete_points`, refresh the payloads of `moved_chunks` (chunks of `current` whose point another version shares, with
    another payload), then call `Catalog.settle`. This holds for every status.
    """

    document_id: str
    status: DocumentStatus
    current: DocumentRecord | None
    obsolete_points: tuple[str, ...]
    moved_chunks: tuple[ChunkRecord, ...]
    key: int
    current_version: int | None
    pending_version: int | None


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """A collection and what its vectors were made with. `chunking` is how it was cut last, as the caller wrote it."""

    name: str
    space: EmbeddingSpace
    reranker: str | None
    chunking: str | None
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Counts:
    """What a collection serves, and how many documents failed."""

    documents: int
    chunks: int
    failures: int


@dataclass(frozen=True, slots=True)
class RunRecord:
    """One ingestion run. `finished_at` is None while it runs, and for a run that was interrupted."""

    id: int
    collection: str
    status: RunStatus
    started_at: datetime
    finished_at: datetime | None
    settings: Mapping[str, Any]
    paths: tuple[str, ...]
    counts: Mapping[str, Any]
    timing: Mapping[str, float]
    error: str | None


@dataclass(frozen=True, slots=True)
class FailureRecord:
    """A document that could not be ingested: where it failed last, why, and how often in a row."""

    document_id: str
    source: str | None
    stage: FailureStage
    error: str
    attempts: int
    first_seen: datetime
    last_seen: datetime


def _check_text(document_id: str, name: str, value: str | None) -> None:
    """Refuse what only some databases can keep, so that a document is not accepted by one catalog and refused by another."""
    if value is None:
        return
    try:
        value.encode()
    except UnicodeEncodeError:
        raise SourceError(f"Document {document_id!r}: its {name} {value!r} is not valid Unicode. Rename it.") from None
    if "\x00" in value:
        raise SourceError(f"Document {document_id!r}: its {name} {value!r} holds a NUL character. Remove it.")


def _canonical(record: DocumentRecord) -> str:
    fields = [record.source, record.title, record.language, record.tenant, dict(record.metadata)]
    try:
        return json.dumps(fields, sort_keys=True, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise SourceError(
            f"Document {record.document_id!r}: its metadata is not plain JSON ({error}). Use text, finite numbers, booleans, lists and "
            "dictionaries with text keys; dates as text: .isoformat()."
        ) from None
