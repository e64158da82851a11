"""Point ids that stand for their vectors in a query: looked up, put in place, and left out of what is found.

A query may name points of its own collection or, with `lookup_from`, of another one. `average_vector`, the default strategy of a
recommendation, is a search with one vector and is worked out here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np

from qwen3_rag.errors import CollectionError
from qwen3_rag.store.edge.collection import Collection

Find = Callable[[str], Collection]


def resolve(request: dict[str, Any], collection: Collection, find: Find) -> dict[str, Any]:
    """The request, and its prefetches, with vectors instead of ids. `find` gives a collection by name.

    Raises:
        CollectionError: a point or its vector does not exist.
    """
    query, prefetch = request.get("query"), request.get("prefetch")
    if prefetch:
        inner = prefetch if isinstance(prefetch, list) else [prefetch]
        request = {**request, "prefetch": [resolve(one, collection, find) for one in inner]}
    if query is None:
        return request
    where = request.get("lookup_from") or {}
    source = find(where["collection"]) if where else collection
    name = where.get("vector") or request.get("using") or ""
    ids = sorted({one for one in _inputs(query) if isinstance(one, (int, str))}, key=str)
    if ids:
        query = _replaced(query, _vectors(source, name, ids))
        if source is collection:
            request = {**request, "filter": _without(request.get("filter"), ids)}
    return {**request, "query": _averaged(query)}


def _inputs(query: Any) -> Iterator[Any]:
    """The places of a query that hold a vector or an id."""
    if not isinstance(query, Mapping) or "indices" in query:
        yield query
    elif "nearest" in query:
        yield query["nearest"]
    elif "recommend" in query:
        for side in ("positive", "negative"):
            yield from query["recommend"].get(side) or []
    elif "discover" in query:
        yield query["discover"]["target"]
        yield from _pair_inputs(query["discover"].get("context"))
    elif "context" in query:
        yield from _pair_inputs(query["context"])
    elif "relevance_feedback" in query:
        yield query["relevance_feedback"]["target"]
        for item in query["relevance_feedback"]["feedback"]:
            yield item["example"]


def _pair_inputs(context: Any) -> Iterator[Any]:
    for pair in _as_list(context):
        yield pair["positive"]
        yield pair["negative"]


def _replaced(query: Any, vectors: Mapping[Any, Any]) -> Any:
    def vector(value: Any) -> Any:
        return vectors[value] if isinstance(value, (int, str)) else value

    def pairs(context: Any) -> list[Any]:
        return [{side: vector(pair[side]) for side in ("positive", "negative")} for pair in _as_list(context)]

    if not isinstance(query, Mapping) or "indices" in query:
        return vector(query)
    if "nearest" in query:
        return {**query, "nearest": vector(query["nearest"])}
    if "recommend" in query:
        given = query["recommend"]
        sides = {side: [vector(one) for one in given.get(side) or []] for side in ("positive", "negative")}
        return {"recommend": {**given, **sides}}
    if "discover" in query:
        given = query["discover"]
        return {"discover": {"target": vector(given["target"]), "context": pairs(given.get("context"))}}
    if "context" in query:
        return {"context": pairs(query["context"])}
    given = query["relevance_feedback"]
    feedback = [{**item, "example": vector(item["example"])} for item in given["feedback"]]
    return {"relevance_feedback": {**given, "target": vector(given["target"]), "feedback": feedback}}


def _vectors(source: Collection, name: str, ids: list[Any]) -> dict[Any, Any]:
    found = {row[0]: row[2] for row in source.call("retrieve", ids=ids, with_payload=False, with_vector=[name])}
    vectors = {}
    for one in ids:
        vector = found.get(one)
        if isinstance(vector, Mapping) and "indices" not in vector:
            vector = vector.get(name)
        if vector is None:
            missing = "no point" if one not in found else f"no vector {name!r} at point"
            raise CollectionError(f"Collection {source.name!r} has {missing} {one}, which the query refers to.")
        vectors[one] = vector
    return vectors


def _without(filter_: Mapping[str, Any] | None, ids: list[Any]) -> dict[str, Any]:
    excluded = {"has_id": ids}
    if filter_ is None:
        return {"must_not": [excluded]}
    return {**filter_, "must_not": [*_as_list(filter_.get("must_not")), excluded]}


def _averaged(query: Any) -> Any:
    """Turns a recommendation by average vector into a search: mean of the positive, moved away from the mean of the negative."""
    if not isinstance(query, Mapping) or "recommend" not in query:
        return query
    given = query["recommend"]
    if (given.get("strategy") or "average_vector") != "average_vector":
        if not given.get("positive") and not given.get("negative"):
            raise CollectionError("No positive or negative examples given")
        return query
    if not given.get("positive"):
        raise CollectionError("No positive examples given with 'average_vector' strategy")
    positive, negative = given["positive"], given.get("negative") or []
    if isinstance(positive[0], Mapping):
        return _average_sparse(positive, negative)
    if isinstance(positive[0][0], list):
        raise NotImplementedError("Recommendation by average of multi-vectors is not offered by the embedded engine: use best_score.")
    mean = np.mean(positive, axis=0)
    return (2 * mean - np.mean(negative, axis=0) if negative else mean).tolist()


def _average_sparse(positive: list[Any], negative: list[Any]) -> dict[str, Any]:
    totals: dict[int, float] = {}
    for vectors, weight in ((positive, 2.0 if negative else 1.0), (negative, -1.0)):
        for vector in vectors:
            for index, value in zip(vector["indices"], vector["values"], strict=True):
                totals[index] = totals.get(index, 0.0) + weight * value / len(vectors)
    return {"indices": list(totals), "values": list(totals.values())}


def _as_list(value: Any) -> list[Any]:
    if value is None:
        return []
    return value if isinstance(value, list) else [value]
