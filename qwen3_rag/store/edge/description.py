"""What `get_collection` says: a stored configuration and the engine's counts as qdrant-client's `CollectionInfo`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qdrant_client import models

from qwen3_rag.store.edge import facts


def collection_info(config: Mapping[str, Any], counts: Mapping[str, Any], *, indexing: bool) -> models.CollectionInfo:
    """`status` is yellow while an index is being built or due, green otherwise, as with a server."""
    schema = {name: models.PayloadIndexInfo(**index) for name, index in counts["payload_schema"].items()}
    return models.CollectionInfo(
        status=models.CollectionStatus.YELLOW if indexing else models.CollectionStatus.GREEN,
        optimizer_status=models.OptimizersStatusOneOf.OK,
        indexed_vectors_count=counts["indexed_vectors_count"],
        points_count=counts["points_count"],
        segments_count=counts["segments_count"],
        config=_config(config),
        payload_schema=schema,
    )


def _config(config: Mapping[str, Any]) -> models.CollectionConfig:
    params = {name: config.get(name) for name in ("vectors", "sparse_vectors", "on_disk_payload", "payload", "id_tracker")}
    return models.CollectionConfig.model_validate(
        {
            "params": {**params, "shard_number": 1, "replication_factor": 1, "write_consistency_factor": 1},
            "hnsw_config": {**facts.HNSW, **(config.get("hnsw_config") or {})},
            "optimizer_config": {
                "deleted_threshold": facts.DELETED_THRESHOLD,
                "vacuum_min_vector_number": facts.VACUUM_MIN_VECTORS,
                "default_segment_number": 0,
                "indexing_threshold": facts.INDEXING_THRESHOLD_KB,
                "flush_interval_sec": facts.FLUSH_INTERVAL_SECONDS,
                **(config.get("optimizers_config") or {}),
            },
            "wal_config": {"wal_capacity_mb": facts.WAL_CAPACITY_MB, "wal_segments_ahead": 0},
            "quantization_config": config.get("quantization_config"),
            "metadata": config.get("metadata"),
        }
    )
