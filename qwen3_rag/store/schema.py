"""The one schema of a knowledge base's collection, and the check that its vectors are of the embedder at hand.

It builds collections through qdrant-client's interface only; it does not know which backend answers.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import date, datetime
from typing import Any

from qdrant_client import models
from qdrant_client.client_base import QdrantBase
from qdrant_client.local.qdrant_local import QdrantLocal

from qwen3_rag.errors import DimensionError, EmbeddingSpaceError, StoreError
from qwen3_rag.settings import Quantization, StoreSettings
from qwen3_rag.store.backend import backend_of
from qwen3_rag.store.filters import payload_path
from qwen3_rag.store.points import DENSE, LEXICAL, NOT_A_PASSAGE, PASSAGE_ID
from qwen3_rag.types import EmbeddingSpace

logger = logging.getLogger(__name__)

SCHEMA_VERSION = 1
METADATA_KEY = "qwen3_rag"
"""Key of the collection's own metadata under which everything of ours is."""

INT8_QUANTILE = 0.99
"""Share of components inside the int8 range: normalised embeddings have a few outlying dimensions that would stretch it."""

_PAYLOAD_INDEXES: dict[str, models.PayloadSchemaType | models.KeywordIndexParams] = {
    "document_id": models.PayloadSchemaType.KEYWORD,
    PASSAGE_ID: models.PayloadSchemaType.KEYWORD,
    "source": models.PayloadSchemaType.KEYWORD,
    "language": models.PayloadSchemaType.KEYWORD,
    "tenant": models.KeywordIndexParams(type=models.KeywordIndexType.KEYWORD, is_tenant=True),
}


def ensure_collection(client: QdrantBase, settings: StoreSettings, space: EmbeddingSpace) -> bool:
    """Create the collection, or check that the one there holds vectors of `space`. Tells whether it was created.

    One that is there is kept from now on as `quantization` and `on_disk` say, where they are given.

    Raises:
        EmbeddingSpaceError: the collection holds vectors of another space.
        StoreError: the collection was made by something else, or by a newer version of this package.
    """
    created = not client.collection_exists(settings.collection) and _create(client, settings, space)
    if not created:
        check_space(client, settings.collection, space)
        _adapt(client, settings)
    _ensure_indexes(client, settings.collection)
    return created


def _create(client: QdrantBase, settings: StoreSettings, space: EmbeddingSpace) -> bool:
    """Create the collection; False if somebody else has done so meanwhile."""
    try:
        client.create_collection(
            settings.collection,
            vectors_config={DENSE: dense_params(space.dim, settings)},
            sparse_vectors_config={LEXICAL: _sparse_params(settings)},
            metadata={METADATA_KEY: _describe(space)},
        )
    except Exception:  # each backend has an error of its own for a collection that is there already
        if not client.collection_exists(settings.collection):
            raise
        return False
    return True


def _adapt(client: QdrantBase, settings: StoreSettings) -> None:
    """Have the vectors kept as the settings say. The backend rewrites them in the background, with the next index it builds."""
    vectors = client.get_collection(settings.collection).config.params.vectors
    if is_plain(client) or not isinstance(vectors, Mapping):
        return
    held, changes = vectors[DENSE], models.VectorParamsDiff()
    if settings.quantization not in (None, _kind(held.quantization_config)):
        changes.quantization_config = _quantization(settings.quantization) or models.Disabled.DISABLED
    if settings.on_disk not in (None, bool(held.on_disk)):
        changes.on_disk = settings.on_disk
    if changes.model_fields_set:
        sparse = {LEXICAL: _sparse_params(settings)} if changes.on_disk is not None else None
        client.update_collection(settings.collection, vectors_config={DENSE: changes}, sparse_vectors_config=sparse)
        logger.info("collection %r: vectors are kept anew, %s", settings.collection, changes.model_dump(mode="json", exclude_unset=True))


def dense_params(size: int, settings: StoreSettings) -> models.VectorParams:
    """Parameters of one dense vector of the schema. Compressed copies stay in memory wherever the originals are."""
    return models.VectorParams(
        size=size,
        distance=models.Distance.COSINE,
        on_disk=bool(settings.on_disk),
        quantization_config=_quantization(settings.quantization),
    )


def read_space(client: QdrantBase, collection: str) -> EmbeddingSpace:
    """The embedding space that a collection says its vectors are of.

    Raises:
        StoreError: the collection does not exist, does not say, or is of a newer schema.
    """
    if not client.collection_exists(collection):
        raise StoreError(f"There is no collection {collection!r} in the store. `qwen3-rag ingest` makes it; `collection` names another.")
    described = (client.get_collection(collection).config.metadata or {}).get(METADATA_KEY)
    if not isinstance(described, Mapping):
        raise StoreError(
            f"Collection {collection!r} was not made by qwen3-rag: it does not say which model its vectors are of. "
            "Choose another name with the setting `collection` (QWEN3_RAG_COLLECTION)."
        )
    if described.get("schema_version", 0) > SCHEMA_VERSION:
        raise StoreError(
            f"Collection {collection!r} has schema version {described['schema_version']}; this qwen3-rag knows up to {SCHEMA_VERSION}. "
            "Upgrade it: pip install -U qwen3-rag"
        )
    return _space(described["space"])


def check_space(client: QdrantBase, collection: str, space: EmbeddingSpace) -> None:
    """Refuse vectors that do not compare with those of the collection.

    Raises:
        EmbeddingSpaceError: naming both spaces and the way to a knowledge base of the other.
        StoreError: as `read_space`.
    """
    held = read_space(client, collection)
    if held.fingerprint != space.fingerprint:
        raise EmbeddingSpaceError(
            f"Collection {collection!r} holds vectors of {held}{_details(held, space)}; the embedder at hand makes {space}"
            f"{_details(space, held)}. They do not compare. Open it with the first, or embed the documents again into a new "
            f"knowledge base: qwen3-rag ingest PATH --kb NEW --embedder {space.model} --dim {space.dim}"
        )


def check_width(client: QdrantBase, collection: str, vector: Sequence[float]) -> None:
    """Refuse a query's vector of another width than the collection's: the engines each say it in their own way, or not at all.

    Raises:
        DimensionError: naming both widths.
        StoreError: as `read_space`.
    """
    held = read_space(client, collection)
    if len(vector) != held.dim:
        raise DimensionError(
            f"A query's vector of {len(vector)} dimensions does not fit a collection of {held}. Embed the query with that model and dim."
        )


def count_chunks(client: QdrantBase, collection: str) -> tuple[int, int]:
    """How many points are chunks, and how many passages that frameworks put there."""
    passages = models.Filter(must_not=[NOT_A_PASSAGE])
    count = client.count(collection, count_filter=passages, exact=True).count
    return client.count(collection, exact=True).count - count, count


def ensure_metadata_index(client: QdrantBase, collection: str, key: str, example: Any) -> bool:
    """Index a metadata key by the type of an example of its values. Tells whether there is an index for such values.

    Filters on keys without an index are right but read the payload of every point they meet (50,000 points in the embedded engine:
    60 ms a query, 1.6 ms with the index). An index holds values of one type, and values of another are then not found: index only keys
    whose values are all like the example.
    """
    kind = _index_type(example)
    if kind is None or is_plain(client):
        return False
    client.create_payload_index(collection, payload_path(key), field_schema=kind, wait=True)
    return True


def _index_type(value: Any) -> models.PayloadSchemaType | None:
    match value:
        case bool():
            return models.PayloadSchemaType.BOOL
        case int() | float():
            return models.PayloadSchemaType.FLOAT
        case datetime() | date():
            return models.PayloadSchemaType.DATETIME
        case str():
            return models.PayloadSchemaType.KEYWORD
        case [first, *_]:
            return _index_type(first)
        case _:
            return None


def is_plain(client: QdrantBase) -> bool:
    """Whether this is qdrant-client's local mode: it has neither indexes nor quantization and warns when it is told about them."""
    return isinstance(backend_of(client), QdrantLocal)


def _ensure_indexes(client: QdrantBase, collection: str) -> None:
    if is_plain(client):
        return
    present = client.get_collection(collection).payload_schema or {}
    for field, schema in _PAYLOAD_INDEXES.items():
        if field not in present:
            client.create_payload_index(collection, field, field_schema=schema, wait=True)


def _sparse_params(settings: StoreSettings) -> models.SparseVectorParams:
    return models.SparseVectorParams(index=models.SparseIndexParams(on_disk=bool(settings.on_disk)), modifier=models.Modifier.IDF)


def _kind(quantization: models.QuantizationConfig | None) -> Quantization | None:
    """The setting that a collection's quantization stands for; None for one that there is no setting for."""
    match quantization:
        case None:
            return Quantization.NONE
        case models.ScalarQuantization():
            return Quantization.INT8
        case models.BinaryQuantization():
            return Quantization.BINARY
        case _:
            return None


def _quantization(quantization: Quantization | None) -> models.QuantizationConfig | None:
    match quantization:
        case Quantization.INT8 | None:
            return models.ScalarQuantization(
                scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=INT8_QUANTILE, always_ram=True)
            )
        case Quantization.BINARY:
            return models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))
        case Quantization.NONE:
            return None


def _describe(space: EmbeddingSpace) -> dict[str, Any]:
    fields = {"model": space.model, "revision": space.revision, "dim": space.dim, "template": space.template, "pooling": space.pooling}
    return {"schema_version": SCHEMA_VERSION, "fingerprint": space.fingerprint, "space": fields}


def _space(fields: Mapping[str, Any]) -> EmbeddingSpace:
    return EmbeddingSpace(
        model=fields["model"],
        revision=fields["revision"],
        dim=int(fields["dim"]),
        template=fields["template"],
        pooling=fields["pooling"],
    )


def _details(space: EmbeddingSpace, other: EmbeddingSpace) -> str:
    """What differs and the description of a space does not show."""
    hidden = [f"{name} {getattr(space, name)}" for name in ("template", "pooling") if getattr(space, name) != getattr(other, name)]
    return f" with {' and '.join(hidden)}" if hidden else ""
