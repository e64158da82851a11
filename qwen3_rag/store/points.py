"""Chunk → point and back: ids, payload, hits. It knows neither a client nor a model.

Payload keys, exactly: text, metadata, document_id, ordinal, start, end, headings, title, source, tenant, language. A passage has
passage_id and extra besides.
"""

from __future__ import annotations

import hashlib
import json
import math
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic_core import PydanticSerializationError, to_jsonable_python
from qdrant_client import models

from qwen3_rag.checks import lone_surrogate
from qwen3_rag.errors import ConfigurationError
from qwen3_rag.types import Chunk, Document, Hit, Passage, Stage, context_line

DENSE = "dense"
LEXICAL = "bm25"
METADATA = "metadata"
PASSAGE_ID = "passage_id"
EXTRA = "extra"
EMBED_AS = "embed_as"
NOT_A_PASSAGE = models.IsEmptyCondition(is_empty=models.PayloadField(key=PASSAGE_ID))
OWN_FIELDS = frozenset(
    {"text", "document_id", "ordinal", "start", "end", "headings", "title", "source", "tenant", "language", "passage_id"}
)
"""Payload keys that are not the user's metadata."""

NAMESPACE = uuid.UUID("0c0d1f55-6a5b-5d3c-9a43-0a4b8f5e7d21")
"""Fixed for ever: point ids are UUIDv5 in it."""


def content_hash(chunk: Chunk) -> str:
    """SHA-256 of what the vectors and the stored text depend on, in hexadecimal: context line, text, and language of analysis."""
    parts = json.dumps([chunk.context, chunk.text, chunk.language])
    return hashlib.sha256(parts.encode()).hexdigest()


def point_id(document_id: str, content_hash: str, occurrence: int) -> str:
    """The id of the `occurrence`-th chunk (from 0) of a document that has this content."""
    return str(uuid.uuid5(NAMESPACE, f"{len(document_id)}:{document_id}:{content_hash}:{occurrence}"))


def passage_point_id(passage_id: str) -> str:
    """The id of the point that holds a passage, whatever text its own id is. No chunk has such a point id."""
    return str(uuid.uuid5(NAMESPACE, f"passage:{passage_id}"))


def chunk_point_id(chunk_id: str) -> str | None:
    """The point of an ingested chunk, whose id is that point's own; None for what can be no such id."""
    try:
        return str(uuid.UUID(chunk_id))
    except ValueError:
        return None


def assign_point_ids(chunks: Sequence[Chunk]) -> list[str]:
    """One id a chunk, in order; repeated chunks of a document are told apart by how often they came before."""
    seen: Counter[tuple[str, str]] = Counter()
    ids = []
    for chunk in chunks:
        key = chunk.document_id, content_hash(chunk)
        ids.append(point_id(*key, seen[key]))
        seen[key] += 1
    return ids


def payload(chunk: Chunk, document: Document) -> dict[str, Any]:
    """What is stored beside the vectors, as plain JSON types.

    Raises:
        ConfigurationError: when the document's metadata holds something that JSON cannot express.
    """
    return {
        "text": chunk.text,
        METADATA: _plain(document.metadata, f"document {document.id!r}"),
        "document_id": chunk.document_id,
        "ordinal": chunk.ordinal,
        "start": chunk.start,
        "end": chunk.end,
        "headings": list(chunk.headings),
        "title": chunk.title,
        "source": document.source,
        "tenant": document.tenant,
        "language": chunk.language,
    }


def to_point(
    point_id: str, chunk: Chunk, document: Document, dense: NDArray[np.float32] | Sequence[float], lexical: models.SparseVector
) -> models.PointStruct:
    """A point with both vectors."""
    return models.PointStruct(id=point_id, vector=_vectors(dense, lexical), payload=payload(chunk, document))


def passage_point(
    passage: Passage, language: str, dense: NDArray[np.float32] | Sequence[float], lexical: models.SparseVector
) -> models.PointStruct:
    """The point of a passage.

    Raises:
        ConfigurationError: when its metadata or `extra` holds something that JSON cannot express.
    """
    stored = {
        "text": passage.text,
        METADATA: _plain(passage.metadata, f"passage {passage.id!r}"),
        "document_id": passage.document_id or passage.id,
        "ordinal": passage.ordinal,
        "start": 0,
        "end": len(passage.text),
        "headings": list(passage.headings),
        "title": passage.title,
        "source": passage.source,
        "tenant": passage.tenant,
        "language": language,
        PASSAGE_ID: passage.id,
        EXTRA: _plain(passage.extra, f"passage {passage.id!r}"),
    }
    if passage.embed_as is not None and passage.embed_as != replace(passage, embed_as=None).embedding_text:
        stored[EMBED_AS] = _around(passage.text, passage.embed_as)
    return models.PointStruct(id=passage_point_id(passage.id), vector=_vectors(dense, lexical), payload=stored)


def _vectors(dense: NDArray[np.float32] | Sequence[float], lexical: models.SparseVector) -> dict[str, Any]:
    """Text without words has no lexical vector, so that it does not count for IDF."""
    vectors: dict[str, Any] = {DENSE: np.asarray(dense, dtype=np.float32).tolist()}
    return vectors | {LEXICAL: lexical} if lexical.indices else vectors


def to_hit(
    point: models.Record | models.ScoredPoint,
    *,
    score: float,
    stages: Mapping[str, Stage],
    reranked: bool | None = None,
    truncated: bool = False,
) -> Hit:
    """The hit a stored point stands for. Keys that are missing, as in points of other writers, get empty values."""
    stored = point.payload or {}
    return Hit(
        document_id=str(stored.get("document_id") or ""),
        ordinal=int(stored.get("ordinal") or 0),
        text=str(stored.get("text") or ""),
        start=int(stored.get("start") or 0),
        end=int(stored.get("end") or 0),
        headings=tuple(stored.get("headings") or ()),
        title=stored.get("title"),
        source=stored.get("source"),
        metadata=stored.get(METADATA) or {},
        score=score,
        stages=stages,
        point_id=str(point.id),
        reranked=reranked,
        truncated=truncated,
        passage_id=stored.get(PASSAGE_ID),
        extra=stored.get(EXTRA) or {},
        embed_as=_rebuilt(str(stored.get("text") or ""), stored.get(EMBED_AS)),
    )


def _around(text: str, embed_as: str) -> list[str]:
    """What comes before and after `text`, which is not stored twice; the whole alone where it is not in it."""
    before, found, after = embed_as.partition(text) if text else (embed_as, "", "")
    return [before, after] if found else [embed_as]


def _rebuilt(text: str, stored: object) -> str | None:
    if not isinstance(stored, list):
        return None
    return str(stored[0]) if len(stored) == 1 else f"{stored[0]}{text}{stored[1]}"


def embedding_text(hit: Hit) -> str:
    """What was embedded for a hit, and what the reranker reads: what a passage says itself, else the context line, then the text."""
    if hit.embed_as is not None:
        return hit.embed_as
    context = context_line(hit.title, hit.headings)
    return f"{context}\n{hit.text}" if context else hit.text


def check_passage(passage: Passage) -> None:
    """Refuse a passage whose fields are not what their types say, or are not valid Unicode.

    Raises:
        ConfigurationError: naming the passage, the field and what belongs there.
    """
    if not isinstance(passage.id, str) or not passage.id:
        raise ConfigurationError(f"A passage's id is text that is not empty, not {passage.id!r}.")
    for name in ("text", "title", "source", "tenant", "document_id", "language", "embed_as"):
        value = getattr(passage, name)
        if not isinstance(value, str) and (value is not None or name == "text"):
            raise ConfigurationError(f"Passage {passage.id!r}: its {name} is not a string but {type(value).__name__}. Give it as a string.")
    for name in ("id", "text", "title", "source", "tenant", "document_id", "embed_as"):
        _check_unicode(getattr(passage, name) or "", f"passage {passage.id!r}", name)
    for heading in passage.headings:
        _check_unicode(heading, f"passage {passage.id!r}", "heading")


def _plain(fields: Mapping[str, Any], of: str) -> dict[str, Any]:
    try:
        plain: dict[str, Any] = to_jsonable_python(dict(fields))
    except (PydanticSerializationError, ValueError, RecursionError) as error:
        raise ConfigurationError(
            f"Metadata of {of} cannot be stored: {error}. Use text, numbers, booleans, dates, lists and mappings."
        ) from error
    for key, value in plain.items():
        _check_value(value, of, key)
    return plain


def _check_value(value: Any, of: str, key: str) -> None:
    """Refuse what JSON has no word for, somewhere in a value of the metadata. `key` is where it is."""
    match value:
        case float() if not math.isfinite(value):
            raise ConfigurationError(f"Metadata {key!r} of {of} is {value}, which JSON cannot express. Leave it away, or give None.")
        case str():
            _check_unicode(value, of, f"metadata {key!r}")
        case dict():
            for name, member in value.items():
                _check_value(member, of, f"{key}.{name}")
        case list():
            for member in value:
                _check_value(member, of, key)


def _check_unicode(text: str, of: str, what: str) -> None:
    if (place := lone_surrogate(text)) is not None:
        raise ConfigurationError(
            f"The {what} of {of} is not valid Unicode: a lone surrogate at character {place}. Decode it properly, or replace it."
        )
