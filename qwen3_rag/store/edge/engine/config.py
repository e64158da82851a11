"""From a collection's configuration, as the REST API writes it, to the engine's own classes.

Values that the configuration leaves open get Qdrant's documented defaults. Knows nothing of files or points.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import qdrant_edge as qe

from qwen3_rag.store.edge.facts import HNSW, dense_vectors

_OPTIMIZER_FIELDS = (
    "deleted_threshold",
    "vacuum_min_vector_number",
    "default_segment_number",
    "max_segment_size",
    "indexing_threshold",
    "prevent_unoptimized",
)


def shard_config(config: Mapping[str, Any]) -> qe.EdgeConfig:
    """The engine's configuration for a `CreateCollection` request."""
    vectors = {name: _vector_params(params, config) for name, params in dense_vectors(config).items()}
    sparse = {name: _sparse_params(params) for name, params in (config.get("sparse_vectors") or {}).items()}
    return qe.EdgeConfig(
        vectors=vectors or None,
        sparse_vectors=sparse or None,
        on_disk_payload=config.get("on_disk_payload"),
        payload_memory=_memory((config.get("payload") or {}).get("memory")),
        id_tracker_memory=_memory((config.get("id_tracker") or {}).get("memory")),
        hnsw_config=_hnsw(config.get("hnsw_config")),
        quantization_config=quantization(config.get("quantization_config")),
        optimizers=_optimizers(config.get("optimizers_config")),
    )


def distance(name: str) -> qe.Distance:
    """`"Cosine"`, `"Dot"`, `"Euclid"` or `"Manhattan"`."""
    kind: qe.Distance = member(qe.Distance, name)
    return kind


def datatype(name: str | None) -> qe.VectorStorageDatatype | None:
    """How one number of a vector is stored: `"float32"`, `"float16"`, `"uint8"` and so on."""
    return None if name is None else member(qe.VectorStorageDatatype, name)


def multivector(config: Mapping[str, Any] | None) -> qe.MultiVectorConfig | None:
    """The only comparator there is: maximal similarity."""
    return None if config is None else qe.MultiVectorConfig(member(qe.MultiVectorComparator, config["comparator"]))


def modifier(name: str | None) -> qe.Modifier | None:
    """`"idf"`, or `"none"`."""
    return qe.Modifier.Idf if name == "idf" else None


def quantization(config: Mapping[str, Any] | None) -> qe.QuantizationConfigType | None:
    """Scalar, product, binary or turbo quantization."""
    if not config:
        return None
    kind, params = next(iter(config.items()))
    ram = {"always_ram": params.get("always_ram"), "memory": _memory(params.get("memory"))}
    if kind == "scalar":
        return qe.ScalarQuantizationConfig(type=member(qe.ScalarType, params["type"]), quantile=params.get("quantile"), **ram)
    if kind == "product":
        return qe.ProductQuantizationConfig(compression=member(qe.CompressionRatio, params["compression"]), **ram)
    if kind == "binary":
        encoding, query = params.get("encoding"), params.get("query_encoding")
        return qe.BinaryQuantizationConfig(
            encoding=encoding and member(qe.BinaryQuantizationEncoding, encoding),
            query_encoding=query and member(qe.BinaryQuantizationQueryEncoding, query),
            **ram,
        )
    if kind == "turbo":
        bits = params.get("bits")
        return qe.TurboQuantQuantizationConfig(bits=bits and member(qe.TurboQuantBitSize, bits), **ram)
    raise ValueError(f"Unknown quantization {kind!r}")


def _vector_params(params: Mapping[str, Any], config: Mapping[str, Any]) -> qe.EdgeVectorParams:
    own_hnsw = params.get("hnsw_config")
    return qe.EdgeVectorParams(
        size=params["size"],
        distance=distance(params["distance"]),
        on_disk=params.get("on_disk"),
        memory=_memory(params.get("memory")),
        datatype=datatype(params.get("datatype")),
        multivector_config=multivector(params.get("multivector_config")),
        quantization_config=quantization(params.get("quantization_config")),
        hnsw_config=_hnsw({**(config.get("hnsw_config") or {}), **own_hnsw}) if own_hnsw else None,
    )


def _sparse_params(params: Mapping[str, Any]) -> qe.EdgeSparseVectorParams:
    index = params.get("index") or {}
    return qe.EdgeSparseVectorParams(
        full_scan_threshold=index.get("full_scan_threshold"),
        on_disk=index.get("on_disk"),
        memory=_memory(index.get("memory")),
        datatype=datatype(index.get("datatype")),
        modifier=modifier(params.get("modifier")),
    )


def _hnsw(config: Mapping[str, Any] | None) -> qe.HnswIndexConfig:
    values = {**HNSW, **{name: value for name, value in (config or {}).items() if value is not None}}
    values["memory"] = _memory(values.get("memory"))
    return qe.HnswIndexConfig(**values)


def _optimizers(config: Mapping[str, Any] | None) -> qe.EdgeOptimizersConfig:
    return qe.EdgeOptimizersConfig(**{name: (config or {}).get(name) for name in _OPTIMIZER_FIELDS})


def _memory(name: str | None) -> qe.Memory | None:
    return None if name is None else member(qe.Memory, name)


def member(kind: Any, name: str) -> Any:
    """The member of an engine enum for its name in the REST API: `int8` → `Int8`, `max_sim` → `MaxSim`, `bits1_5` → `Bits1_5`."""
    wanted = name.replace("_", "").lower()
    for candidate in vars(kind):
        if not candidate.startswith("_") and candidate.replace("_", "").lower() == wanted:
            return getattr(kind, candidate)
    raise ValueError(f"{kind.__name__} has no {name!r}")
