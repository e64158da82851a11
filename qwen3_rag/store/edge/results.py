"""From what an engine process answers to qdrant-client's models. The rows come from the engine, so they are not validated again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from qdrant_client import models


def records(rows: Iterable[tuple[Any, ...]]) -> list[models.Record]:
    """Records, from rows of id, payload, vectors and order value."""
    return [
        models.Record.model_construct(id=row[0], payload=row[1], vector=_vector(row[2]), shard_key=None, order_value=row[3]) for row in rows
    ]


def scored_points(rows: Iterable[tuple[Any, ...]]) -> list[models.ScoredPoint]:
    """Scored points, from rows of a record followed by version and score."""
    return [
        models.ScoredPoint.model_construct(
            id=row[0], payload=row[1], vector=_vector(row[2]), shard_key=None, order_value=row[3], version=row[4], score=row[5]
        )
        for row in rows
    ]


def completed() -> models.UpdateResult:
    """A write is applied when it is acknowledged."""
    return models.UpdateResult(operation_id=0, status=models.UpdateStatus.COMPLETED)


def _vector(vector: Any) -> Any:
    if isinstance(vector, Mapping):
        if "indices" in vector and "values" in vector:
            return models.SparseVector.model_construct(indices=vector["indices"], values=vector["values"])
        return {name: _vector(one) for name, one in vector.items()}
    return vector
