"""Searches grouped by a payload field, and distances between sampled points: what a server adds to the engine's queries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

Rows = list[tuple[Any, ...]]
RunQuery = Callable[[Mapping[str, Any]], Rows]

_OVERFETCH = 4


def group_rows(run: RunQuery, request: Mapping[str, Any], group_by: str, limit: int, group_size: int) -> dict[Any, Rows]:
    """Group id → its best rows, best group first: `limit` groups of up to `group_size`.

    The query is repeated with a doubled limit until enough groups are full, or nothing more is found.
    """
    fetch = _OVERFETCH * limit * group_size
    while True:
        rows = run(_widened(request, fetch))
        groups = _groups(rows, group_by, group_size)
        best = dict(list(groups.items())[:limit])
        if len(rows) < fetch or (len(best) == limit and all(len(hits) == group_size for hits in best.values())):
            return best
        fetch *= 2


def field_values(payload: Any, path: str) -> list[Any]:
    """Values of a payload field that can name a group: strings and integers, also those inside of lists. `a.b[].c` goes into lists."""
    values = [payload]
    for part in path.replace("[]", "").split("."):
        values = [value[part] for value in values if isinstance(value, Mapping) and part in value]
        values = [one for value in values for one in (value if isinstance(value, list) else [value])]
    return [value for value in values if isinstance(value, (str, int)) and not isinstance(value, bool)]


def sampled_matrix(run: RunQuery, filter_: Mapping[str, Any] | None, using: str, limit: int, sample: int) -> list[tuple[Any, Rows]]:
    """Of `sample` random points with the vector `using`, each with its `limit` nearest among the others."""
    with_vector = _and(filter_, {"has_vector": using})
    rows = run({"query": {"sample": "random"}, "filter": with_vector, "limit": sample, "with_vector": [using]})
    rows.sort(key=lambda row: (isinstance(row[0], str), row[0]))
    ids = [row[0] for row in rows]
    if len(ids) < 2:
        return []
    matrix = []
    for row in rows:
        vector = row[2].get(using) if isinstance(row[2], Mapping) and "indices" not in row[2] else row[2]
        others = _and(filter_, {"has_id": [one for one in ids if one != row[0]]})
        matrix.append((row[0], run({"query": vector, "using": using, "filter": others, "limit": limit, "params": {"exact": True}})))
    return matrix


def _groups(rows: Rows, group_by: str, group_size: int) -> dict[Any, Rows]:
    groups: dict[Any, Rows] = {}
    for row in rows:
        for value in dict.fromkeys(field_values(row[1], group_by)):
            hits = groups.setdefault(value, [])
            if len(hits) < group_size:
                hits.append(row)
    return groups


def _widened(request: Mapping[str, Any], limit: int) -> dict[str, Any]:
    """The request with a larger limit, also of its prefetches, which bound what can be found."""
    wider = {**request, "limit": max(limit, request.get("limit") or 0)}
    prefetch = request.get("prefetch")
    if prefetch:
        wider["prefetch"] = [_widened(one, limit) for one in (prefetch if isinstance(prefetch, list) else [prefetch])]
    return wider


def _and(filter_: Mapping[str, Any] | None, condition: Mapping[str, Any]) -> dict[str, Any]:
    return {"must": [filter_, condition] if filter_ else [condition]}
