"""The part of the embedded client that changes points.

A write that returned is in the engine's log: it survives the end of the process, and a power cut after `sync` or a few seconds later.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import count, islice, repeat
from typing import Any
from uuid import uuid4

import numpy as np
from qdrant_client import models
from qdrant_client.conversions import common_types as types

from qwen3_rag.errors import CollectionError
from qwen3_rag.store.edge import results
from qwen3_rag.store.edge.columns import payload_data, point_batches, vector_batch
from qwen3_rag.store.edge.handle import Handle
from qwen3_rag.store.edge.requests import plain, plain_filter, selector

_UPLOAD_BATCH = 64


class Writing(Handle):
    """Points in, points changed, points out."""

    def upsert(
        self,
        collection_name: str,
        points: types.Points,
        update_filter: types.Filter | None = None,
        update_mode: types.UpdateMode | None = None,
        **kwargs: Any,
    ) -> types.UpdateResult:
        """Adds points or replaces those with the same ids. The whole batch is checked before any of it is written.

        Raises:
            CollectionError: an id, vector or payload does not fit; nothing was written.
            StoreFullError: the disk is full.
        """
        collection = self._collection(collection_name)
        condition, mode = plain_filter(update_filter), plain(update_mode)
        for batch in point_batches(points, collection.config):
            operation = {
                "op": "upsert",
                "batch": batch,
                "update_filter": condition,
                "update_mode": mode and str(getattr(mode, "value", mode)),
            }
            collection.update(operation, changed=len(batch["ids"]))
        return results.completed()

    def update_vectors(
        self, collection_name: str, points: Sequence[types.PointVectors], update_filter: types.Filter | None = None, **kwargs: Any
    ) -> types.UpdateResult:
        """Replaces the given vectors of points that exist and leaves their others."""
        collection = self._collection(collection_name)
        batch = vector_batch(points, collection.config)
        operation = {"op": "update_vectors", "batch": batch, "update_filter": plain_filter(update_filter)}
        collection.update(operation, changed=len(batch["ids"]))
        return results.completed()

    def delete_vectors(
        self, collection_name: str, vectors: Sequence[str], points: types.PointsSelector, **kwargs: Any
    ) -> types.UpdateResult:
        """Removes named vectors from points."""
        return self._change(collection_name, "delete_vectors", points, names=list(vectors))

    def delete(self, collection_name: str, points_selector: types.PointsSelector, **kwargs: Any) -> types.UpdateResult:
        """Removes points, by ids or by filter."""
        return self._change(collection_name, "delete", points_selector)

    def set_payload(
        self, collection_name: str, payload: types.Payload, points: types.PointsSelector, key: str | None = None, **kwargs: Any
    ) -> types.UpdateResult:
        """Sets fields of the payload, below `key` when it is given, and leaves the others."""
        return self._change(collection_name, "set_payload", points, payload=payload_data(payload), key=key)

    def overwrite_payload(
        self, collection_name: str, payload: types.Payload, points: types.PointsSelector, key: str | None = None, **kwargs: Any
    ) -> types.UpdateResult:
        """Replaces the whole payload."""
        return self._change(collection_name, "overwrite_payload", points, payload=payload_data(payload), key=key)

    def delete_payload(self, collection_name: str, keys: Sequence[str], points: types.PointsSelector, **kwargs: Any) -> types.UpdateResult:
        """Removes fields of the payload."""
        return self._change(collection_name, "delete_payload", points, keys=list(keys))

    def clear_payload(self, collection_name: str, points_selector: types.PointsSelector, **kwargs: Any) -> types.UpdateResult:
        """Removes the whole payload."""
        return self._change(collection_name, "clear_payload", points_selector)

    def batch_update_points(
        self, collection_name: str, update_operations: Sequence[types.UpdateOperation], **kwargs: Any
    ) -> list[types.UpdateResult]:
        """Applies operations one after the other; one that fails ends the batch."""
        return [self._apply(collection_name, operation) for operation in update_operations]

    def upload_points(
        self, collection_name: str, points: Iterable[types.PointStruct], batch_size: int = _UPLOAD_BATCH, **kwargs: Any
    ) -> None:
        """Upserts any number of points, batch by batch."""
        options = {name: kwargs.get(name) for name in ("update_filter", "update_mode")}
        stream = iter(points)
        while batch := list(islice(stream, batch_size)):
            self.upsert(collection_name, batch, **options)

    def upload_collection(
        self,
        collection_name: str,
        vectors: Any,
        payload: Iterable[dict[Any, Any]] | None = None,
        ids: Iterable[types.PointId] | None = None,
        batch_size: int = _UPLOAD_BATCH,
        **kwargs: Any,
    ) -> None:
        """Upserts vectors with payloads and ids, by position; new UUIDs when there are no ids."""
        ids = (str(uuid4()) for _ in count()) if ids is None else ids
        rows = zip(ids, _vector_rows(vectors), repeat(None) if payload is None else payload, strict=False)
        points = (models.PointStruct(id=one_id, vector=vector, payload=fields) for one_id, vector, fields in rows)
        self.upload_points(collection_name, points, batch_size, **kwargs)

    def sync(self, collection_name: str) -> None:
        """Has every write so far survive a power cut; otherwise that takes `UpkeepPolicy.flush_seconds`. Not in qdrant-client."""
        self._collection(collection_name).sync()

    def _change(self, collection_name: str, op: str, points: Any, **values: Any) -> types.UpdateResult:
        chosen = selector(points)
        self._collection(collection_name).update({"op": op, **chosen, **values}, changed=len(chosen.get("ids", ())))
        return results.completed()

    def _apply(self, name: str, operation: types.UpdateOperation) -> types.UpdateResult:
        match operation:
            case models.UpsertOperation(upsert=batch):
                points = batch.batch if isinstance(batch, models.PointsBatch) else batch.points
                return self.upsert(name, points, batch.update_filter, batch.update_mode)
            case models.DeleteOperation(delete=chosen):
                return self.delete(name, chosen)
            case models.SetPayloadOperation(set_payload=change):
                return self.set_payload(name, change.payload, _chosen(change), change.key)
            case models.OverwritePayloadOperation(overwrite_payload=change):
                return self.overwrite_payload(name, change.payload, _chosen(change), change.key)
            case models.DeletePayloadOperation(delete_payload=removal):
                return self.delete_payload(name, removal.keys, _chosen(removal))
            case models.ClearPayloadOperation(clear_payload=chosen):
                return self.clear_payload(name, chosen)
            case models.UpdateVectorsOperation(update_vectors=update):
                return self.update_vectors(name, update.points, update.update_filter)
            case models.DeleteVectorsOperation(delete_vectors=vectors):
                return self.delete_vectors(name, vectors.vector, _chosen(vectors))
        raise CollectionError(f"Unknown update operation: {operation!r}")


def _chosen(operation: Any) -> Any:
    return operation.points if operation.points is not None else operation.filter


def _vector_rows(vectors: Any) -> Iterable[Any]:
    if isinstance(vectors, Mapping):
        lengths = {len(column) for column in vectors.values()}
        if len(lengths) != 1:
            raise CollectionError("Each named vector should have the same number of vectors")
        return ({name: _row(column[row]) for name, column in vectors.items()} for row in range(lengths.pop()))
    return (_row(vector) for vector in vectors)


def _row(vector: Any) -> Any:
    return vector.tolist() if isinstance(vector, np.ndarray) else vector
