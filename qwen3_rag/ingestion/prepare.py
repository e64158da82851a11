"""From a file or a `Document` to chunks with point ids, or to the reason why not. Runs in the reader threads.

It knows what the catalog holds of each document, to leave out what is unchanged, but writes nothing.
"""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from qwen3_rag.catalog import Catalog, ChunkRecord, DocumentRecord, DocumentState
from qwen3_rag.checks import lone_surrogate
from qwen3_rag.chunking import Chunker
from qwen3_rag.errors import CatalogError, Qwen3RagError, SourceError, StoreError, UnsupportedFormatError
from qwen3_rag.ingestion.items import Item, id_of
from qwen3_rag.ingestion.report import Action, Outcome
from qwen3_rag.settings import SourceSettings
from qwen3_rag.sources import hash_file, read
from qwen3_rag.store.language import detect, primary
from qwen3_rag.store.points import assign_point_ids, content_hash, payload
from qwen3_rag.types import Chunk, Document, Syntax

logger = logging.getLogger(__name__)

PREPARATION_VERSION = "1"
"""Part of the settings hash: raise it when readers or payloads change so that documents are prepared anew."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A document ready to be embedded. `fresh` are the indices of the chunks to embed, `added` the points that the served version lacks."""

    document: Document
    record: DocumentRecord
    chunks: tuple[Chunk, ...]
    chunk_records: tuple[ChunkRecord, ...]
    fresh: tuple[int, ...]
    added: frozenset[str]
    known: bool

    @property
    def fresh_chunks(self) -> list[Chunk]:
        """The chunks to embed."""
        return [self.chunks[index] for index in self.fresh]


class Preparer:
    """Prepares documents of one run.

    Args:
        force: prepare also what is unchanged, every chunk fresh.
        missing: points that the catalog serves and the store lacks. Documents that they belong to are prepared although they are unchanged.
    """

    def __init__(
        self,
        catalog: Catalog,
        collection: str,
        chunker: Chunker,
        sources: SourceSettings,
        *,
        language: str | None,
        states: Mapping[str, DocumentState],
        force: bool,
        missing: frozenset[str] = frozenset(),
    ) -> None:
        self._catalog = catalog
        self._collection = collection
        self._chunker = chunker
        self._sources = sources
        self._language = language
        self._states = states
        self._force = force
        self._missing = missing
        self._settings_hash = _digest([PREPARATION_VERSION, chunker.fingerprint, language])

    def __call__(self, item: Item) -> Prepared | Outcome:
        """Prepare one document, or say why it goes no further. Never raises for a fault of the document."""
        document_id, stage = id_of(item), "read"
        try:
            if isinstance(item, Document):
                check_document(item)
            digest = document_hash(item) if isinstance(item, Document) else hash_file(item.path)
            if self._unchanged(document_id, digest):
                return Outcome(document_id, Action.UNCHANGED)
            document = item if isinstance(item, Document) else read(item, self._sources)
            stage = "chunk"
            return self._prepared(document, digest, root=None if isinstance(item, Document) else item.root or item.path.parent)
        except (CatalogError, StoreError):
            raise
        except UnsupportedFormatError as error:
            return Outcome(document_id, Action.SKIPPED, stage=stage, reason=str(error))
        except Qwen3RagError as error:
            return Outcome(document_id, Action.FAILED, stage=stage, reason=str(error))
        except Exception as error:
            logger.info("%s could not be prepared", document_id, exc_info=True)  # the reason is in the report and in `failures`
            return Outcome(document_id, Action.FAILED, stage=stage, reason=f"{type(error).__name__}: {error}")

    def _unchanged(self, document_id: str, digest: str) -> bool:
        state = self._states.get(document_id)
        if self._force or state is None or (state.content_hash, state.settings_hash) != (digest, self._settings_hash):
            return False
        return not self._missing or self._missing.isdisjoint(self._catalog.current_point_ids(self._collection, document_id))

    def _served(self, document_id: str) -> set[str]:
        """The points of the document's current version, as far as the store has them."""
        return self._catalog.current_point_ids(self._collection, document_id) - self._missing

    def _prepared(self, document: Document, digest: str, root: object) -> Prepared | Outcome:
        language = primary(document.language) or self._language or _language(document)
        chunks = tuple(replace(chunk, language=language) for chunk in self._chunker.chunk(document))
        if not chunks:
            return Outcome(document.id, Action.EMPTY, stage="chunk", reason="there is no text in it")
        records = tuple(_chunk_record(chunk, point, document) for chunk, point in zip(chunks, assign_point_ids(chunks), strict=True))
        known = document.id in self._states
        served = self._served(document.id) if known else set()
        return Prepared(
            document=document,
            record=self._record(document, digest, language, root, payload(chunks[0], document)["metadata"]),
            chunks=chunks,
            chunk_records=records,
            fresh=tuple(index for index, record in enumerate(records) if self._force or record.point_id not in served),
            added=frozenset(record.point_id for record in records) - served,
            known=known,
        )

    def _record(self, document: Document, digest: str, language: str, root: object, metadata: dict[str, Any]) -> DocumentRecord:
        return DocumentRecord(
            document_id=document.id,
            source=document.source,
            root=str(root) if root else None,
            title=document.title,
            content_hash=digest,
            settings_hash=self._settings_hash,
            language=language,
            tenant=document.tenant,
            metadata=metadata,
            size=len(document.text),
        )


def check_document(document: Document) -> None:
    """Refuse a `Document` whose fields are not what their types say, or that no database can keep.

    Raises:
        SourceError: naming the document, the field and what belongs there.
    """
    for name in ("text", "title", "source", "language", "tenant"):
        value = getattr(document, name)
        if not isinstance(value, str) and (value is not None or name == "text"):
            raise SourceError(f"Document {document.id!r}: its {name} is not a string but {type(value).__name__}. Give it as a string")
    for name in ("id", "title"):
        if lone_surrogate(getattr(document, name) or "") is not None:
            raise SourceError(f"Document {document.id!r}: its {name} holds a lone surrogate, which is not valid Unicode. Replace it")
    try:
        written = json.dumps(dict(document.metadata), sort_keys=True, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError) as error:
        raise SourceError(
            f"Document {document.id!r}: its metadata is not a mapping that can be written as JSON ({error}). "
            "Use text keys, and text, numbers, booleans, dates, lists and mappings as values"
        ) from None
    if lone_surrogate(written) is not None:
        raise SourceError(f"Document {document.id!r}: its metadata holds a lone surrogate, which is not valid Unicode. Replace it")


def document_hash(document: Document) -> str:
    """SHA-256 over everything of a `Document` that reaches the store."""
    headings = [[item.text, item.level, item.start] for item in document.headings]
    identity = [document.text, document.title, dict(document.metadata), document.source, document.content_hash, headings]
    analysis = [document.syntax, document.code, document.language, document.tenant]
    return _digest([identity, analysis])


def _language(document: Document) -> str:
    """The language that BM25 analyses the document in. Code is English words, whatever its comments are in."""
    return "en" if document.syntax is Syntax.CODE else detect(document.text)


def _chunk_record(chunk: Chunk, point_id: str, document: Document) -> ChunkRecord:
    return ChunkRecord(
        ordinal=chunk.ordinal,
        point_id=point_id,
        content_hash=content_hash(chunk),
        start=chunk.start,
        end=chunk.end,
        tokens=chunk.tokens,
        headings=chunk.headings,
        payload_hash=_digest(payload(chunk, document)),
    )


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False, default=str).encode("utf-8", "surrogatepass")).hexdigest()
