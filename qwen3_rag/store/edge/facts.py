"""Numbers of Qdrant's engine that the owner of an engine process needs to know. Knows nothing of `qdrant_edge` itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

INDEXING_THRESHOLD_KB = 10_000
FLUSH_INTERVAL_SECONDS = 5
DELETED_THRESHOLD = 0.2
VACUUM_MIN_VECTORS = 1000
WAL_CAPACITY_MB = 32
HNSW: Mapping[str, int] = {"m": 16, "ef_construct": 100, "full_scan_threshold": 10_000}


def dense_vectors(config: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Name → parameters of the dense vectors of a `CreateCollection` request; the unnamed vector has the name `""`."""
    vectors = config.get("vectors") or {}
    return {"": vectors} if "size" in vectors and "distance" in vectors else dict(vectors)


def vector_kilobytes(config: Mapping[str, Any]) -> float:
    """Kilobytes of a point's dense vectors."""
    numbers: int = sum(params["size"] for params in dense_vectors(config).values())
    return numbers * 4 / 1024
