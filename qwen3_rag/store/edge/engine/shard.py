"""One shard and the operations that can be asked of it, with plain data in and out.

It trusts its input: vectors were checked for size and finite numbers, sparse vectors for unique indices. That matters, because the
engine writes an operation to its log before it applies it, and a malformed sparse vector makes every later replay of the log fail.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import qdrant_edge as qe

from qwen3_rag.store.edge.engine import config as configs
from qwen3_rag.store.edge.engine.filters import to_filter
from qwen3_rag.store.edge.engine.indexes import index_out, to_index
from qwen3_rag.store.edge.engine.points import record_row, scored_row, to_point_vectors, to_points
from qwen3_rag.store.edge.engine.queries import to_order, to_payload_selector, to_request
from qwen3_rag.store.edge.facts import dense_vectors

_PAYLOAD_SETTERS = {
    "set_payload": (qe.UpdateOperation.set_payload, qe.UpdateOperation.set_payload_by_filter),
    "overwrite_payload": (qe.UpdateOperation.overwrite_payload, qe.UpdateOperation.overwrite_payload_by_filter),
}
_MODES = {None: None, "upsert": qe.UpdateMode.Upsert, "insert_only": qe.UpdateMode.InsertOnly, "update_only": qe.UpdateMode.UpdateOnly}


class Shard:
    """An open shard. Methods that start with a capital-free public name can be called over the wire."""

    def __init__(self, path: str, config: Mapping[str, Any], create: bool) -> None:
        edge_config = configs.shard_config(config)
        self._shard = qe.EdgeShard.create(path, edge_config) if create else _load(path, edge_config)
        self._vector_names = [*dense_vectors(config), *(config.get("sparse_vectors") or {})]
        self._quantized = _quantized_vectors(config)

    def update(self, operations: Sequence[Mapping[str, Any]]) -> int:
        """Applies write operations in order; returns how many points there are then."""
        for operation in operations:
            self._shard.update(_update_operation(operation))
        return int(self._shard.info().points_count)

    def query(self, requests: Sequence[Mapping[str, Any]]) -> list[list[Any]]:
        """Runs queries as one batch; scored rows for each."""
        batch = [to_request(request, self._quantized) for request in requests]
        found = [self._shard.query(batch[0])] if len(batch) == 1 else self._shard.query_batch(qe.QueryBatchRequest(batch))
        return [
            [scored_row(point, bool(request.get("with_vector"))) for point in points]
            for request, points in zip(requests, found, strict=True)
        ]

    def retrieve(self, ids: Sequence[Any], with_payload: Any, with_vector: Any) -> list[Any]:
        """Rows of the points that exist, in the order asked for."""
        records = self._shard.retrieve(list(ids), to_payload_selector(with_payload), with_vector or False)
        return [record_row(record) for record in records]

    def scroll(self, request: Mapping[str, Any]) -> tuple[list[Any], Any]:
        """A page of rows and the id that the next page starts with."""
        order = request.get("order_by")
        records, following = self._shard.scroll(
            qe.ScrollRequest(
                offset=request.get("offset"),
                limit=request["limit"],
                filter=to_filter(request.get("filter")),
                with_payload=to_payload_selector(request.get("with_payload")),
                with_vector=request.get("with_vector") or False,
                order_by=None if order is None else to_order(order),
            )
        )
        return [record_row(record) for record in records], None if following is None else _plain_id(following)

    def count(self, filter_: Mapping[str, Any] | None, exact: bool) -> int:
        """How many points match."""
        return self._shard.count(qe.CountRequest(exact=exact, filter=to_filter(filter_)))

    def facet(self, request: Mapping[str, Any]) -> list[tuple[Any, int]]:
        """Values of a payload field and how many points have each."""
        response = self._shard.facet(
            qe.FacetRequest(request["key"], request["limit"], bool(request.get("exact")), to_filter(request.get("filter")))
        )
        return [(hit.value, hit.count) for hit in response.hits]

    def info(self) -> dict[str, Any]:
        """Counts, and the payload indexes."""
        info = self._shard.info()
        return {
            "segments_count": info.segments_count,
            "points_count": info.points_count,
            "indexed_vectors_count": info.indexed_vectors_count,
            "payload_schema": {name: index_out(index) for name, index in info.payload_schema.items()},
        }

    def unindexed(self) -> int:
        """How many dense vectors have no index yet. The engine's own count of indexed vectors holds sparse ones too."""
        stored = sum(self.count({"must": [{"has_vector": name}]}, exact=True) for name in self._vector_names)
        return max(0, stored - int(self._shard.info().indexed_vectors_count))

    def flush(self) -> None:
        """Writes everything to disk and trims the log."""
        self._shard.flush()

    def optimize(self) -> bool:
        """Builds what indexes are due; the process answers nothing meanwhile."""
        return self._shard.optimize()

    def close(self) -> None:
        """Flushes and closes."""
        self._shard.flush()
        self._shard.close()


def _load(path: str, config: qe.EdgeConfig) -> qe.EdgeShard:
    try:
        return qe.EdgeShard.load(path, config)
    except Exception as error:
        if "incompatible" not in str(error):
            raise
        return qe.EdgeShard.load(path)  # a crash came between adding or removing a vector name and noting it: the shard is right


def _plain_id(point_id: Any) -> int | str:
    return point_id if isinstance(point_id, int) else str(point_id)


def _quantized_vectors(config: Mapping[str, Any]) -> dict[str, str]:
    kinds = {}
    for name, params in dense_vectors(config).items():
        quantization = params.get("quantization_config") or config.get("quantization_config")
        if quantization:
            kinds[name] = next(iter(quantization))
    return kinds


def _update_operation(operation: Mapping[str, Any]) -> qe.UpdateOperation:
    return _OPERATIONS[operation["op"]](operation)


def _upsert(operation: Mapping[str, Any]) -> qe.UpdateOperation:
    condition = to_filter(operation.get("update_filter"))
    return qe.UpdateOperation.upsert_points(to_points(operation["batch"]), condition, _MODES[operation.get("update_mode")])


def _update_vectors(operation: Mapping[str, Any]) -> qe.UpdateOperation:
    return qe.UpdateOperation.update_vectors(to_point_vectors(operation["batch"]), to_filter(operation.get("update_filter")))


def _delete(operation: Mapping[str, Any]) -> qe.UpdateOperation:
    filter_ = to_filter(operation.get("filter"))
    if filter_ is not None:
        return qe.UpdateOperation.delete_points_by_filter(filter_)
    return qe.UpdateOperation.delete_points(operation["ids"])


def _delete_vectors(operation: Mapping[str, Any]) -> qe.UpdateOperation:
    filter_ = to_filter(operation.get("filter"))
    if filter_ is not None:
        return qe.UpdateOperation.delete_vectors_by_filter(filter_, operation["names"])
    return qe.UpdateOperation.delete_vectors(operation["ids"], operation["names"])


def _put_payload(operation: Mapping[str, Any]) -> qe.UpdateOperation:
    by_ids, by_filter = _PAYLOAD_SETTERS[operation["op"]]
    filter_ = to_filter(operation.get("filter"))
    if filter_ is not None:
        return by_filter(filter_, operation["payload"], operation.get("key"))
    return by_ids(operation["ids"], operation["payload"], operation.get("key"))


def _delete_payload(operation: Mapping[str, Any]) -> qe.UpdateOperation:
    filter_ = to_filter(operation.get("filter"))
    if filter_ is not None:
        return qe.UpdateOperation.delete_payload_by_filter(filter_, operation["keys"])
    return qe.UpdateOperation.delete_payload(operation["ids"], operation["keys"])


def _clear_payload(operation: Mapping[str, Any]) -> qe.UpdateOperation:
    filter_ = to_filter(operation.get("filter"))
    if filter_ is not None:
        return qe.UpdateOperation.clear_payload_by_filter(filter_)
    return qe.UpdateOperation.clear_payload(operation["ids"])


def _create_vector(operation: Mapping[str, Any]) -> qe.UpdateOperation:
    name, params = operation["name"], operation["params"]
    datatype = configs.datatype(params.get("datatype"))
    if operation["sparse"]:
        return qe.UpdateOperation.create_sparse_vector(name, configs.modifier(params.get("modifier")), datatype)
    multivector = configs.multivector(params.get("multivector_config"))
    return qe.UpdateOperation.create_dense_vector(name, params["size"], configs.distance(params["distance"]), multivector, datatype)


_OPERATIONS: Mapping[str, Callable[[Mapping[str, Any]], qe.UpdateOperation]] = {
    "upsert": _upsert,
    "update_vectors": _update_vectors,
    "delete": _delete,
    "delete_vectors": _delete_vectors,
    "set_payload": _put_payload,
    "overwrite_payload": _put_payload,
    "delete_payload": _delete_payload,
    "clear_payload": _clear_payload,
    "create_index": lambda operation: qe.UpdateOperation.create_field_index(operation["field"], to_index(operation["schema"])),
    "delete_index": lambda operation: qe.UpdateOperation.delete_field_index(operation["field"]),
    "create_vector": _create_vector,
    "delete_vector": lambda operation: qe.UpdateOperation.delete_vector_name(operation["name"]),
}
