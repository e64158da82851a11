"""Points to and from the engine. On the wire they are columns: ids, payloads and, per vector name, one block of numbers."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import qdrant_edge as qe

Row = tuple[Any, Any, Any, Any]
"""A record on the wire: id, payload, vectors, order value."""
ScoredRow = tuple[Any, Any, Any, Any, int, float]
"""A record followed by its version and score."""


def vectors_by_row(columns: Mapping[str, Mapping[str, Any]], count: int) -> list[dict[str, Any]]:
    """For each of `count` points a dict of its vectors. A column has `rows` (None for all), `kind` and its numbers."""
    vectors: list[dict[str, Any]] = [{} for _ in range(count)]
    for name, column in columns.items():
        rows = range(count) if column["rows"] is None else column["rows"]
        for row, vector in zip(rows, _column_vectors(column), strict=True):
            vectors[row][name] = vector
    return vectors


def _column_vectors(column: Mapping[str, Any]) -> list[Any]:
    kind = column["kind"]
    if kind == "sparse":
        return [qe.SparseVector(indices, values) for indices, values in column["data"]]
    numbers = array("f")
    numbers.frombytes(column["data"])
    dim = column["dim"]
    # arrays, not lists: the engine reads them as fast, and the lists' million float objects need not be made
    flat = [numbers[start : start + dim] for start in range(0, len(numbers), dim)]
    if kind == "dense":
        return flat
    vectors, start = [], 0
    for length in column["lengths"]:
        vectors.append(flat[start : start + length])
        start += length
    return vectors


def record_row(record: Any) -> Row:
    """A record of the engine on its way back."""
    return _id(record.id), record.payload, vector_out(record.vector), record.order_value


def scored_row(point: Any, keep_vector: bool) -> ScoredRow:
    """A scored point on its way back. The engine adds vectors unasked after MMR: `keep_vector` says whether they were asked for."""
    vector = vector_out(point.vector) if keep_vector else None
    return _id(point.id), point.payload, vector, point.order_value, point.version, point.score


def vector_out(vector: Any) -> Any:
    """Plain lists; a sparse vector as `{"indices": …, "values": …}`."""
    if isinstance(vector, dict):
        return {name: vector_out(one) for name, one in vector.items()}
    if isinstance(vector, qe.SparseVector):
        return {"indices": list(vector.indices), "values": list(vector.values)}
    return vector


def _id(point_id: Any) -> int | str:
    return str(point_id) if isinstance(point_id, UUID) else point_id


def to_points(batch: Mapping[str, Any]) -> list[qe.Point]:
    """A batch on the wire as the engine's points."""
    ids: Sequence[Any] = batch["ids"]
    vectors = vectors_by_row(batch["vectors"], len(ids))
    return [qe.Point(*point) for point in zip(ids, vectors, batch["payloads"], strict=True)]


def to_point_vectors(batch: Mapping[str, Any]) -> list[qe.PointVectors]:
    """A batch on the wire as vectors for points that exist."""
    ids: Sequence[Any] = batch["ids"]
    return [qe.PointVectors(*point) for point in zip(ids, vectors_by_row(batch["vectors"], len(ids)), strict=True)]
