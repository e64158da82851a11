"""Collections and the embedding spaces they are in. Each function runs inside a transaction that the caller opens."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, select, update
from sqlalchemy.orm import Session

from qwen3_rag.catalog.records import CollectionRecord
from qwen3_rag.catalog.tables import CollectionRow, EmbeddingSpaceRow
from qwen3_rag.errors import CatalogError, ConfigurationError
from qwen3_rag.types import EmbeddingSpace


def collection_key(session: Session, name: str) -> int | None:
    """The catalog's own number of a collection; None when there is no such collection."""
    return session.scalar(select(CollectionRow.id).where(CollectionRow.name == name))


def require_collection(session: Session, name: str) -> int:
    """The number of a collection that must be there."""
    key = collection_key(session, name)
    if key is None:
        raise CatalogError(f"The catalog has no collection {name!r}. Ingest into it first: qwen3-rag ingest PATH")
    return key


def create_collection(
    session: Session, name: str, space: EmbeddingSpace, reranker: str | None, chunking: str | None, now: datetime
) -> CollectionRecord:
    """Make a collection; one of that name must not be there."""
    if not name or "\x00" in name:
        raise ConfigurationError(f"{name!r} cannot be the name of a collection.")
    if collection_key(session, name) is not None:
        raise CatalogError(f"The catalog has a collection {name!r} already. Use it, or choose another name with the setting `collection`.")
    row = CollectionRow(name=name, embedding_space=_space_key(session, space), reranker=reranker, chunking=chunking, created_at=now)
    session.add(row)
    session.flush()
    return CollectionRecord(name, space, reranker, chunking, now)


def list_collections(session: Session, name: str | None = None) -> list[CollectionRecord]:
    """All collections by name, or the one of that name."""
    statement = (
        select(CollectionRow, EmbeddingSpaceRow)
        .join(EmbeddingSpaceRow, EmbeddingSpaceRow.id == CollectionRow.embedding_space)
        .order_by(CollectionRow.name)
    )
    if name is not None:
        statement = statement.where(CollectionRow.name == name)
    return [_record(collection, space) for collection, space in session.execute(statement)]


def set_reranker(session: Session, name: str, reranker: str | None) -> None:
    """Remember another reranker."""
    key = require_collection(session, name)
    session.execute(update(CollectionRow).where(CollectionRow.id == key).values(reranker=reranker))


def set_chunking(session: Session, name: str, chunking: str | None) -> None:
    """Remember other chunking settings."""
    key = require_collection(session, name)
    session.execute(update(CollectionRow).where(CollectionRow.id == key).values(chunking=chunking))


def delete_collection(session: Session, name: str) -> bool:
    """Forget a collection with everything in it; whether it was there. Its embedding space goes with the last collection in it."""
    key = collection_key(session, name)
    if key is None:
        return False
    session.execute(delete(CollectionRow).where(CollectionRow.id == key))
    session.execute(delete(EmbeddingSpaceRow).where(EmbeddingSpaceRow.id.not_in(select(CollectionRow.embedding_space))))
    return True


def _space_key(session: Session, space: EmbeddingSpace) -> int:
    same = (EmbeddingSpaceRow.fingerprint == space.fingerprint, EmbeddingSpaceRow.model == space.model)
    key = session.scalar(select(EmbeddingSpaceRow.id).where(*same))
    if key is not None:
        return key
    row = EmbeddingSpaceRow(
        fingerprint=space.fingerprint,
        model=space.model,
        revision=space.revision,
        dim=space.dim,
        template=space.template,
        pooling=space.pooling,
    )
    session.add(row)
    session.flush()
    return row.id


def _record(collection: CollectionRow, space: EmbeddingSpaceRow) -> CollectionRecord:
    return CollectionRecord(
        name=collection.name,
        space=EmbeddingSpace(model=space.model, revision=space.revision, dim=space.dim, template=space.template, pooling=space.pooling),
        reranker=collection.reranker,
        chunking=collection.chunking,
        created_at=collection.created_at,
    )
