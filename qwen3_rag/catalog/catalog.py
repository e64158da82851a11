"""`Catalog`: the truth about what was ingested, for the other rooms. Records in, records out; sessions and rows stay inside.

Every method is one transaction. It knows nothing of files, vectors or Qdrant; point ids and hashes are given to it.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import Engine
from sqlalchemy.orm import Session

from qwen3_rag.catalog import documents, migrate, runs, spaces, writes
from qwen3_rag.catalog.engine import is_sqlite, open_engine, shown_url, translated_errors, writing
from qwen3_rag.catalog.index_records import IndexRecords
from qwen3_rag.catalog.lock import Check, WriterLock
from qwen3_rag.catalog.records import (
    ChunkRecord,
    CollectionRecord,
    Counts,
    Deletion,
    DocumentRecord,
    DocumentState,
    FailureRecord,
    FailureStage,
    RunRecord,
    RunStatus,
    Unfinished,
    Write,
)
from qwen3_rag.settings import CatalogSettings
from qwen3_rag.types import EmbeddingSpace

_PAGE = 1000


class Catalog:
    """Collections, documents, chunks, runs and failures in SQLite or PostgreSQL. Safe to use from several threads.

    Methods that read answer for a collection that is not there as for an empty one; methods that write need it. Any of them raises
    `CatalogError` when the database cannot be reached, is damaged, or its disk is full; the step is then not written at all.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._writer = writing(engine)
        self._lock = WriterLock(engine)
        self._checks: dict[str, Check] = {}
        # SQLite has one writer anyway; among our own threads a lock is fairer than its polling.
        self._one_writer: AbstractContextManager[Any] = threading.Lock() if is_sqlite(engine) else nullcontext()
        self.url: str = shown_url(engine)

    @classmethod
    def open(cls, settings: CatalogSettings) -> Self:
        """Open a catalog; a new, empty database gets its tables.

        Raises:
            CatalogVersionError: its tables are older (`qwen3-rag db upgrade`) or newer (upgrade the package).
            CatalogError: it cannot be reached, read or written, or holds something else.
            MissingExtraError: PostgreSQL without psycopg.
        """
        engine = open_engine(settings.url)
        try:
            with translated_errors(engine):
                migrate.prepare(engine)
        except BaseException:
            engine.dispose()
            raise
        return cls(engine)

    def close(self) -> None:
        """Close all connections. Safe to repeat."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @contextmanager
    def writing(self, collection: str, timeout: float = 1.0) -> Iterator[None]:
        """Be the only writer into `collection`, among all threads and processes; runs that an earlier writer left are `interrupted`.

        Nobody else can be halfway through the write order inside, so whatever is unfinished can be repaired. Not reentrant.

        Args:
            collection: its name; it need not be there yet.
            timeout: seconds to wait for another writer.

        Raises:
            WriterBusyError: there is another writer.
        """
        with ExitStack() as held:
            with translated_errors(self._engine):
                self._checks[collection] = held.enter_context(self._lock.hold(collection, timeout))
            held.callback(self._checks.pop, collection)
            with self._write() as session:
                runs.mark_interrupted(session, collection)
            yield

    def check_writing(self, collection: str) -> None:
        """See that whoever is inside `writing` here is still the only writer; for nobody there is nothing to see.

        Raises:
            CatalogError: the database's server dropped the lock, and somebody else may have it.
        """
        if (check := self._checks.get(collection)) is not None:
            check()

    # Collections

    def create_collection(
        self, name: str, space: EmbeddingSpace, reranker: str | None = None, chunking: str | None = None
    ) -> CollectionRecord:
        """Make a collection whose vectors are in `space`.

        Raises:
            CatalogError: there is one of that name.
        """
        with self._write() as session:
            return spaces.create_collection(session, name, space, reranker, chunking, _now())

    def get_collection(self, name: str) -> CollectionRecord | None:
        """The collection of that name; None when there is none."""
        with self._read() as session:
            return next(iter(spaces.list_collections(session, name)), None)

    def list_collections(self) -> list[CollectionRecord]:
        """All collections, by name."""
        with self._read() as session:
            return spaces.list_collections(session)

    def set_reranker(self, name: str, reranker: str | None) -> None:
        """Remember another reranker for a collection; None for none."""
        with self._write() as session:
            spaces.set_reranker(session, name, reranker)

    def set_chunking(self, name: str, chunking: str | None) -> None:
        """Remember other chunking settings for a collection."""
        with self._write() as session:
            spaces.set_chunking(session, name, chunking)

    def delete_collection(self, name: str) -> bool:
        """Forget a collection with its documents, runs and failures; returns whether it was there. The store is not touched."""
        with self._write() as session:
            return spaces.delete_collection(session, name)

    # The write order

    def begin_writes(self, collection: str, items: Sequence[tuple[DocumentRecord, Sequence[ChunkRecord]]]) -> list[Write]:
        """Step 1: register a pending version of each document with its intended points; returns handles in the order given.

        What an unfinished earlier write or deletion of the same document left is kept in mind: its points become obsolete with this one.

        Raises:
            ValueError: a document is there twice.
        """
        with self._write() as session:
            return writes.begin_writes(session, spaces.require_collection(session, collection), items, _now())

    def commit_writes(self, items: Sequence[Write]) -> None:
        """Step 3: make the versions current, with all their documents' new fields, and forget the documents' failures.

        Raises:
            CatalogError: one of them was superseded or abandoned; none was committed.
        """
        with self._write() as session:
            writes.commit_writes(session, items, _now())

    def leftovers(self, items: Sequence[Write]) -> list[Unfinished]:
        """Step 4: what to delete and refresh in the store, for each write in the order given.

        After `commit_writes`: what only older versions had. Before it: what abandoning the write would leave.
        """
        with self._read() as session:
            return writes.leftovers(session, items)

    def obsolete_points(self, write: Write) -> list[str]:
        """Points to delete from the store: those of all versions but the served one, less those that it shares. See `leftovers`."""
        return list(self.leftovers([write])[0].obsolete_points)

    def moved_chunks(self, write: Write) -> list[ChunkRecord]:
        """Served chunks whose point was there before with another payload. See `leftovers`."""
        return list(self.leftovers([write])[0].moved_chunks)

    def finish_writes(self, items: Sequence[Write]) -> None:
        """Step 5: forget the versions that committed writes replaced."""
        with self._write() as session:
            writes.finish_writes(session, items)

    def abandon_writes(self, items: Sequence[Write]) -> None:
        """Forget pending versions. Call it when the points in `leftovers` are gone from the store."""
        with self._write() as session:
            writes.abandon_writes(session, items)

    def begin_deletes(self, collection: str, document_ids: Iterable[str]) -> list[Deletion]:
        """Stop serving documents; returns a handle with the points of each that is known. The store is next, then `finish_deletes`."""
        wanted = [name for name in dict.fromkeys(document_ids) if runs.storable(name) == name]
        with self._write() as session:
            return writes.begin_deletes(session, spaces.require_collection(session, collection), wanted)

    def finish_deletes(self, items: Sequence[Deletion]) -> None:
        """Forget deleted documents, and their failures."""
        with self._write() as session:
            writes.finish_deletes(session, items)

    def unfinished(self, collection: str) -> list[Unfinished]:
        """Everything a crash left in the write order, with all that its repair needs. Empty when all is well.

        To mend it, `take_over`; for each delete `obsolete_points` in the store, refresh the payloads of `moved_chunks`; then `settle`.
        """
        with self._read() as session:
            return writes.unfinished(session, _key(session, collection))

    def has_unfinished(self, collection: str) -> bool:
        """Whether a crash left anything: cheaper than all of it."""
        with self._read() as session:
            return writes.has_unfinished(session, _key(session, collection))

    def take_over(self, collection: str) -> list[Unfinished]:
        """`unfinished`, after all pending versions are abandoned: a writer that is still alive cannot make one of them current any more.

        For whoever holds the lock of `writing`: only then may points of a pending version be deleted from the store.
        """
        with self._write() as session:
            key = _key(session, collection)
            writes.abandon_pending(session, key)
            return writes.unfinished(session, key)

    def settle(self, items: Sequence[Unfinished]) -> None:
        """Finish committed writes, abandon pending ones, finish deletions: after the store was brought in line.

        Raises:
            CatalogError: one of them changed since `unfinished`; none was settled.
        """
        with self._write() as session:
            writes.settle(session, items)

    # Documents that are served

    def get_document(self, collection: str, document_id: str) -> DocumentRecord | None:
        """One document; None when it is not served."""
        with self._read() as session:
            return documents.get_document(session, _key(session, collection), runs.storable(document_id))

    def documents(
        self,
        collection: str,
        *,
        limit: int | None = None,
        offset: int = 0,
        prefix: str | None = None,
        root: str | None = None,
        language: str | None = None,
    ) -> list[DocumentRecord]:
        """Documents by id: those whose id starts with `prefix`, that came from the folder `root`, that are in `language`."""
        with self._read() as session:
            key = _key(session, collection)
            return documents.list_documents(session, key, limit=limit, offset=offset, prefix=prefix, root=root, language=language)

    def iter_documents(self, collection: str, prefix: str | None = None) -> Iterator[DocumentRecord]:
        """All documents by id, read page by page: what changes meanwhile may or may not be seen."""
        after: str | None = None
        while True:
            with self._read() as session:
                page = documents.list_documents(session, _key(session, collection), limit=_PAGE, after=after, prefix=prefix)
            yield from page
            if len(page) < _PAGE:
                return
            after = page[-1].document_id

    def document_states(self, collection: str, root: str | None = None, ids: Iterable[str] | None = None) -> dict[str, DocumentState]:
        """Hashes by document id, to tell what changed: of all documents, of those from the folder `root`, or of `ids`."""
        with self._read() as session:
            key = _key(session, collection)
            if ids is None:
                return documents.document_states(session, key, root, None)
            states: dict[str, DocumentState] = {}
            for batch in writes.batches([name for name in ids if runs.storable(name) == name]):
                states |= documents.document_states(session, key, root, batch)
            return states

    def current_chunks(self, collection: str, document_id: str) -> list[ChunkRecord]:
        """The chunks of one document, in order; empty when it is not served."""
        with self._read() as session:
            return documents.current_chunks(session, _key(session, collection), runs.storable(document_id))

    def current_point_ids(self, collection: str, document_id: str) -> set[str]:
        """The points of one document; empty when it is not served."""
        with self._read() as session:
            return documents.current_point_ids(session, _key(session, collection), runs.storable(document_id))

    def point_ids(self, collection: str) -> Iterator[str]:
        """The points of all documents, read page by page: what the store should hold when nothing is unfinished."""
        after: int | None = 0
        while after is not None:
            with self._read() as session:
                page, after = documents.point_ids_page(session, _key(session, collection), after, _PAGE)
            yield from page

    def languages(self, collection: str) -> dict[str, int]:
        """Documents per language, most frequent first."""
        with self._read() as session:
            return documents.languages(session, _key(session, collection))

    def has_documents(self, collection: str) -> bool:
        """Whether any document is served."""
        with self._read() as session:
            return documents.has_documents(session, _key(session, collection))

    def counts(self, collection: str) -> Counts:
        """How many documents and chunks are served, and how many documents failed."""
        with self._read() as session:
            return documents.counts(session, _key(session, collection))

    # Runs and failures

    def start_run(self, collection: str, settings: Mapping[str, Any] | None = None, paths: Iterable[str] = ()) -> int:
        """Record that a run began; returns its number. Values that are not JSON are kept as text."""
        with self._write() as session:
            return runs.start_run(session, spaces.require_collection(session, collection), settings or {}, paths, _now())

    def finish_run(
        self,
        run_id: int,
        status: RunStatus,
        counts: Mapping[str, Any] | None = None,
        timing: Mapping[str, float] | None = None,
        error: str | None = None,
    ) -> None:
        """Record how a run ended. Times are in seconds."""
        with self._write() as session:
            runs.finish_run(session, run_id, status, counts or {}, timing or {}, error, _now())

    def last_run(self, collection: str) -> RunRecord | None:
        """The newest run; None when there was none."""
        return next(iter(self.runs(collection, limit=1)), None)

    def runs(self, collection: str, limit: int | None = None) -> list[RunRecord]:
        """Runs, newest first."""
        with self._read() as session:
            return runs.runs(session, _key(session, collection), limit)

    def record_failure(
        self, collection: str, document_id: str, *, stage: FailureStage | str, error: str, source: str | None = None
    ) -> None:
        """Record that a document failed; again for the same document counts one more attempt. A served version stays served."""
        with self._write() as session:
            key = spaces.require_collection(session, collection)
            runs.record_failure(session, key, document_id, FailureStage(stage), error, source, _now())

    def failures(self, collection: str, limit: int | None = None, offset: int = 0) -> list[FailureRecord]:
        """Documents that failed and have not succeeded since, by id."""
        with self._read() as session:
            return runs.failures(session, _key(session, collection), limit, offset)

    def clear_failures(self, collection: str, document_ids: Iterable[str] | None = None) -> None:
        """Forget the failures of these documents, or all."""
        with self._write() as session:
            key = spaces.require_collection(session, collection)
            if document_ids is None:
                runs.clear_failures(session, key)
            else:
                writes.forget_failures(session, key, [runs.failure_id(name) for name in document_ids])

    # Indexing runs of frameworks

    def index_records(self, namespace: str) -> IndexRecords:
        """What a framework's indexing runs have written into one index, for it to know what to skip and what to delete."""
        return IndexRecords(namespace, self._read, self._write)

    # Transactions

    @contextmanager
    def _read(self) -> Iterator[Session]:
        with translated_errors(self._engine), Session(self._engine) as session:
            yield session

    @contextmanager
    def _write(self) -> Iterator[Session]:
        with self._one_writer, translated_errors(self._engine), Session(self._writer) as session, session.begin():
            yield session


def _key(session: Session, collection: str) -> int:
    """The collection's number; 0, which no collection has, when it is not there."""
    return spaces.collection_key(session, collection) or 0


def _now() -> datetime:
    return datetime.now(UTC)
