"""From qdrant-client's models to plain data in the shapes of Qdrant's REST API, which is what an engine process understands.

Plain dicts in those shapes are taken as they are. What the engine would accept and choke on later is refused here. Knows no collection.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any
from uuid import UUID

import numpy as np
from pydantic import BaseModel
from qdrant_client import models
from qdrant_client.conversions import common_types as types

from qwen3_rag.errors import CollectionError, FilterError

_SERVER = "is not offered by the embedded engine: use a Qdrant server (set `url` or QWEN3_RAG_URL)."
_MAX_ID = 2**64 - 1


def plain(value: Any) -> Any:
    """A model, or a list or dict with models in it, as JSON-like data without nulls."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True, exclude_none=True)
    if isinstance(value, np.ndarray):
        return value.tolist()
    if isinstance(value, Mapping):
        return {key: plain(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return value if value and isinstance(value[0], float) else [plain(one) for one in value]
    return str(value) if isinstance(value, UUID) else value


def plain_filter(filter_: types.Filter | None) -> dict[str, Any] | None:
    """A filter; None stays None.

    Raises:
        FilterError: it is of a kind that cannot be expressed here.
    """
    if filter_ is None:
        return None
    if not isinstance(filter_, (models.Filter, Mapping)):
        raise FilterError(f"A filter must be qdrant_client.models.Filter, not {type(filter_).__name__}.")
    value: dict[str, Any] = plain(filter_)
    return value


def point_id(value: Any) -> int | str:
    """A point's id: an unsigned 64-bit integer, or a UUID in its usual form.

    Raises:
        CollectionError: it is neither.
    """
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_ID:
        return value
    if isinstance(value, str):
        try:
            return str(UUID(value))
        except ValueError:
            pass
    raise CollectionError(f"{value!r} is not a valid point id: use an unsigned integer or a UUID.")


def selector(points: Any) -> dict[str, Any]:
    """Points chosen by ids or by a filter, as `{"ids": …}` or `{"filter": …}`."""
    if isinstance(points, models.FilterSelector):
        points = points.filter
    if isinstance(points, models.Filter):
        return {"filter": plain_filter(points)}
    if isinstance(points, models.PointIdsList):
        points = points.points
    if isinstance(points, (str, int, UUID)):
        points = [points]
    if isinstance(points, Sequence):
        return {"ids": [point_id(one) for one in points]}
    raise CollectionError(f"Points are chosen by a list of ids or a filter, not by {type(points).__name__}.")


def query_request(
    query: Any,
    *,
    using: str | None,
    prefetch: Any,
    query_filter: types.Filter | None,
    search_params: types.SearchParams | None,
    limit: int,
    offset: int | None = None,
    with_payload: Any = True,
    with_vectors: Any = False,
    score_threshold: float | None = None,
    lookup_from: types.LookupLocation | None = None,
) -> dict[str, Any]:
    """A query, still with the ids that stand for vectors in it.

    Raises:
        CollectionError: limit, offset or the combination of parts makes no sense.
    """
    if limit < 1:
        raise CollectionError(f"limit value {limit} is invalid. Must be 1 or larger.")
    if offset is not None and offset < 0:
        raise CollectionError(f"offset value {offset} is invalid. Must be 0 or larger.")
    request = {
        "query": _plain_query(query),
        "using": using,
        "prefetch": plain(prefetch) or None,
        "filter": plain_filter(query_filter),
        "params": plain(search_params),
        "limit": limit,
        "offset": offset,
        "with_payload": plain(with_payload),
        "with_vector": with_vectors,
        "score_threshold": score_threshold,
        "lookup_from": plain(lookup_from),
    }
    _check_query(request)
    return request


def _plain_query(query: Any) -> Any:
    if isinstance(query, models.NearestQuery) and query.mmr is None:
        query = query.nearest  # the common case, without a detour through pydantic
    return plain(query)


def _check_query(request: Mapping[str, Any]) -> None:
    query, prefetch = request.get("query"), request.get("prefetch")
    if query is None and prefetch:
        raise CollectionError("A query is needed to merge the prefetches.")
    if query is None and request.get("score_threshold") is not None:
        raise CollectionError("A query is needed to use the score_threshold.")
    if isinstance(query, Mapping) and ("fusion" in query or "rrf" in query):
        if request.get("using"):
            raise CollectionError("Fusion queries cannot be combined with the 'using' field.")
        rrf = query.get("rrf") or {}
        if rrf.get("weights") is not None and len(rrf["weights"]) != len(prefetch if isinstance(prefetch, list) else [prefetch]):
            raise CollectionError("Length of weights must match the number of prefetches in RRF.")
        if rrf.get("k") is not None and rrf["k"] < 1:
            raise CollectionError(f"rrf k value {rrf['k']} is invalid. Must be 1 or larger.")
    check_vector(query)
    for one in prefetch if isinstance(prefetch, list) else [prefetch] if prefetch else []:
        _check_query(one)


def check_vector(vector: Any) -> None:
    """Refuses a query vector that is not finite, or a sparse one whose parts do not fit; passes everything else.

    Raises:
        CollectionError: saying what is wrong.
    """
    if isinstance(vector, Mapping) and "indices" in vector:
        check_sparse(vector["indices"], vector["values"])
    elif isinstance(vector, list) and vector and isinstance(vector[0], (int, float)) and not math.isfinite(sum(vector)):
        raise CollectionError("The query vector holds values that are not finite.")


def check_sparse(indices: Sequence[int], values: Sequence[float]) -> None:
    """Refuses a sparse vector that the engine could not store.

    Raises:
        CollectionError: saying what is wrong.
    """
    if len(indices) != len(values):
        raise CollectionError(f"A sparse vector has {len(indices)} indices and {len(values)} values.")
    if len(set(indices)) != len(indices):
        raise CollectionError("A sparse vector names an index twice.")
    if not math.isfinite(sum(values)):
        raise CollectionError("A sparse vector holds values that are not finite.")
    if indices and not 0 <= min(indices) <= max(indices) < 2**32:
        raise CollectionError("An index of a sparse vector is outside 0…2³²-1.")


def unsupported(method: str) -> NotImplementedError:
    """The error for what only a server can do."""
    return NotImplementedError(f"{method} {_SERVER}")
