"""From points to the columns that an engine process takes, checked against the collection's vectors first.

Checking here keeps a bad batch from being applied in part, and keeps what the engine cannot replay out of its log.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from pydantic import BaseModel
from qdrant_client import models
from qdrant_client.common.validation import validate_batch_lengths
from qdrant_client.local.local_collection import to_jsonable_python

from qwen3_rag.errors import CollectionError
from qwen3_rag.store.edge.facts import dense_vectors
from qwen3_rag.store.edge.requests import check_sparse, point_id

_BATCH_POINTS = 500
_LONGEST_MULTIVECTOR = 1_048_576  # the engine's own limit, in numbers


def point_batches(points: Any, config: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Points (`models.Batch`, or `PointStruct` objects or dicts of that shape) as columns, in batches of bounded size.

    Searches are answered between batches. All of them are checked before the first is returned.

    Raises:
        CollectionError: an id, a vector or a payload does not fit; the message names the point.
    """
    rows = list(_rows(points))
    if not rows:
        raise CollectionError("There is nothing to upsert: the batch is empty.")
    return [_batch(rows[start : start + _BATCH_POINTS], config) for start in range(0, len(rows), _BATCH_POINTS)]


def vector_batch(points: Iterable[Any], config: Mapping[str, Any]) -> dict[str, Any]:
    """Vectors for points that exist, as columns.

    Raises:
        CollectionError: an id or a vector does not fit.
    """
    pairs = [(point_id(point.id), _named(point.vector)) for point in map(_point_vectors, points)]
    ids = [one_id for one_id, _ in pairs]
    return {"ids": ids, "vectors": _columns(ids, [vectors for _, vectors in pairs], config)}


def payload_data(payload: Mapping[str, Any] | None) -> dict[str, Any]:
    """A payload as JSON-like data: dates and UUIDs become strings."""
    return _payload(payload) or {}


def _rows(points: Any) -> Iterable[tuple[Any, Any, Any]]:
    if isinstance(points, models.Batch):
        try:
            validate_batch_lengths(points)
        except ValueError as error:
            raise CollectionError(str(error)) from error
        payloads: Sequence[Any] = points.payloads or [None] * len(points.ids)
        return zip(points.ids, _batch_vectors(points), payloads, strict=True)
    return ((point.id, point.vector, point.payload) for point in map(_point, points))


def _batch(rows: Sequence[tuple[Any, Any, Any]], config: Mapping[str, Any]) -> dict[str, Any]:
    ids = [point_id(one_id) for one_id, _, _ in rows]
    vectors = [_named(vector) for _, vector, _ in rows]
    return {"ids": ids, "payloads": [_payload(payload) for _, _, payload in rows], "vectors": _columns(ids, vectors, config)}


def _point(point: Any) -> models.PointStruct:
    return models.PointStruct(**point) if isinstance(point, Mapping) else point


def _point_vectors(point: Any) -> models.PointVectors:
    return models.PointVectors(**point) if isinstance(point, Mapping) else point


def _batch_vectors(batch: models.Batch) -> list[Any]:
    if not isinstance(batch.vectors, dict):
        return list(batch.vectors)
    return [{name: column[row] for name, column in batch.vectors.items()} for row in range(len(batch.ids))]


def _named(vector: Any) -> dict[str, Any]:
    if vector is None:
        return {}
    return dict(vector) if isinstance(vector, Mapping) else {"": vector}


def _payload(payload: Any) -> dict[str, Any] | None:
    if not payload:
        return None
    try:
        value: dict[str, Any] = to_jsonable_python(payload)
    except (TypeError, ValueError) as error:
        raise CollectionError(f"The payload cannot be stored as JSON: {error}") from error
    return value


def _columns(ids: Sequence[Any], vectors: Sequence[Mapping[str, Any]], config: Mapping[str, Any]) -> dict[str, Any]:
    dense, sparse = dense_vectors(config), config.get("sparse_vectors") or {}
    by_name: dict[str, list[int]] = {}
    for row, named in enumerate(vectors):
        for name in named:
            by_name.setdefault(name, []).append(row)
    columns = {}
    for name, rows in by_name.items():
        values = [vectors[row][name] for row in rows]
        owners = [ids[row] for row in rows]
        if name in sparse:
            column = _sparse_column(name, values, owners)
        elif name in dense:
            build = _multi_column if dense[name].get("multivector_config") else _dense_column
            column = build(name, values, owners, dense[name]["size"])
        else:
            known = ", ".join(repr(known) for known in (*dense, *sparse)) or "none"
            raise CollectionError(f"Point {owners[0]} has a vector named {name!r}, which the collection does not have. It has: {known}.")
        columns[name] = {"rows": None if len(rows) == len(ids) else rows, **column}
    return columns


def _dense_column(name: str, vectors: Sequence[Any], owners: Sequence[Any], dim: int) -> dict[str, Any]:
    for owner, vector in zip(owners, vectors, strict=True):
        _check_dim(name, owner, vector, dim)
    return {"kind": "dense", "dim": dim, "data": _numbers(name, vectors, owners).tobytes()}


def _multi_column(name: str, vectors: Sequence[Any], owners: Sequence[Any], dim: int) -> dict[str, Any]:
    for owner, vector in zip(owners, vectors, strict=True):
        if len(vector) == 0 or len(vector) * dim > _LONGEST_MULTIVECTOR:
            raise CollectionError(f"Vector {name!r} of point {owner} must hold 1 to {_LONGEST_MULTIVECTOR // dim} vectors.")
        for one in vector:
            _check_dim(name, owner, one, dim)
    flat = [one for vector in vectors for one in vector]
    flat_owners = [owner for owner, vector in zip(owners, vectors, strict=True) for _ in vector]
    lengths = [len(vector) for vector in vectors]
    return {"kind": "multi", "dim": dim, "lengths": lengths, "data": _numbers(name, flat, flat_owners).tobytes()}


def _sparse_column(name: str, vectors: Sequence[Any], owners: Sequence[Any]) -> dict[str, Any]:
    pairs = []
    for owner, vector in zip(owners, vectors, strict=True):
        sparse = models.SparseVector(**vector) if isinstance(vector, Mapping) else vector
        if not isinstance(sparse, models.SparseVector):
            raise CollectionError(f"Vector {name!r} of point {owner} must be sparse, not {_described(vector)}.")
        check_sparse(sparse.indices, sparse.values)
        pairs.append((sparse.indices, sparse.values))
    return {"kind": "sparse", "data": pairs}


def _check_dim(name: str, owner: Any, vector: Any, dim: int) -> None:
    if isinstance(vector, (BaseModel, Mapping, str)) or not hasattr(vector, "__len__"):
        raise CollectionError(f"Vector {name!r} of point {owner} must be dense, not {_described(vector)}.")
    if len(vector) != dim:
        raise CollectionError(
            f"Vector dimension error: vector {name!r} of point {owner} has {len(vector)} dimensions, the collection has {dim}. "
            "Nothing was written; embed with the model and `dim` that the collection was made with."
        )


def _numbers(name: str, vectors: Sequence[Any], owners: Sequence[Any]) -> np.ndarray[Any, np.dtype[np.float32]]:
    try:
        numbers = _packed(vectors) if all(type(vector) is list for vector in vectors) else np.asarray(vectors, dtype=np.float32)
    except (TypeError, ValueError, struct.error) as error:
        raise CollectionError(f"Vector {name!r} of points {owners[0]}…{owners[-1]} does not hold numbers: {error}") from error
    finite = np.isfinite(numbers).all(axis=tuple(range(1, numbers.ndim)))
    if not finite.all():
        raise CollectionError(f"Vector {name!r} of point {owners[int(np.argmin(finite))]} holds values that are not finite.")
    return numbers


def _packed(vectors: Sequence[list[Any]]) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Lists of one length as rows. `struct` reads lists of floats twice as fast as NumPy does."""
    row = struct.Struct(f"={len(vectors[0])}f")
    try:
        return np.frombuffer(b"".join([row.pack(*vector) for vector in vectors]), dtype=np.float32).reshape(len(vectors), -1)
    except OverflowError:  # beyond float32: NumPy makes it infinite, and the caller names the point
        with np.errstate(over="ignore"):
            return np.asarray(vectors, dtype=np.float32)


def _described(vector: Any) -> str:
    return "sparse" if isinstance(vector, models.SparseVector) else type(vector).__name__
