"""From a filter, as the REST API writes it, to the engine's own classes. Knows nothing else."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qdrant_edge as qe


def _match_value(value: Any) -> qe.MatchValue:
    """The engine's binding takes Python's `True` for the integer 1, which matches no bool; NumPy's bool it takes for what it is."""
    if isinstance(value, bool):
        import numpy as np  # rarely needed, and it would double the time that the process takes to start

        return qe.MatchValue(np.bool_(value))  # type: ignore[arg-type]
    return qe.MatchValue(value)


_MATCHES: Mapping[str, Callable[[Any], Any]] = {
    "value": _match_value,
    "text": qe.MatchText,
    "text_any": qe.MatchTextAny,
    "phrase": qe.MatchPhrase,
    "prefix": qe.MatchPrefix,
    "substring": qe.MatchSubstring,
    "any": qe.MatchAny,
    "except": qe.MatchExcept,
}


def to_filter(filter_: Mapping[str, Any] | None) -> qe.Filter | None:
    """A whole filter; None stays None."""
    if filter_ is None:
        return None
    min_should = filter_.get("min_should")
    return qe.Filter(
        must=_conditions(filter_.get("must")),
        should=_conditions(filter_.get("should")),
        must_not=_conditions(filter_.get("must_not")),
        min_should=min_should and qe.MinShould(_conditions(min_should["conditions"]) or [], min_should["min_count"]),
    )


def to_condition(condition: Mapping[str, Any]) -> Any:
    """One condition of any kind.

    Raises:
        NotImplementedError: for a kind that the engine does not have.
    """
    if "key" in condition:
        return _field_condition(condition)
    if "is_empty" in condition:
        return qe.IsEmptyCondition(condition["is_empty"]["key"])
    if "is_null" in condition:
        return qe.IsNullCondition(condition["is_null"]["key"])
    if "has_id" in condition:
        return qe.HasIdCondition(set(condition["has_id"]))
    if "has_vector" in condition:
        return qe.HasVectorCondition(condition["has_vector"])
    if "nested" in condition:
        nested = condition["nested"]
        return qe.NestedCondition(nested["key"], to_filter(nested["filter"]) or qe.Filter())
    if "slice" in condition:
        raise NotImplementedError("The slice condition")
    return to_filter(condition)


def geo_point(point: Mapping[str, float]) -> qe.GeoPoint:
    """Longitude and latitude in degrees."""
    return qe.GeoPoint(lon=point["lon"], lat=point["lat"])


def _conditions(conditions: Any) -> list[Any] | None:
    if conditions is None:
        return None
    return [to_condition(condition) for condition in (conditions if isinstance(conditions, list) else [conditions])]


def _field_condition(condition: Mapping[str, Any]) -> qe.FieldCondition:
    values: dict[str, Any] = {"key": condition["key"], "is_empty": condition.get("is_empty"), "is_null": condition.get("is_null")}
    if (match := condition.get("match")) is not None:
        kind, value = next(iter(match.items()))
        values["match"] = _MATCHES[kind](value)
    if (limits := condition.get("range")) is not None:
        dates = any(isinstance(limit, str) for limit in limits.values())
        values["range"] = qe.RangeDateTime(**limits) if dates else qe.RangeFloat(**limits)
    if (count := condition.get("values_count")) is not None:
        values["values_count"] = qe.ValuesCount(**count)
    return qe.FieldCondition(**values, **_geo(condition))


def _geo(condition: Mapping[str, Any]) -> dict[str, Any]:
    values: dict[str, Any] = {}
    if (box := condition.get("geo_bounding_box")) is not None:
        values["geo_bounding_box"] = qe.GeoBoundingBox(geo_point(box["top_left"]), geo_point(box["bottom_right"]))
    if (circle := condition.get("geo_radius")) is not None:
        values["geo_radius"] = qe.GeoRadius(geo_point(circle["center"]), circle["radius"])
    if (polygon := condition.get("geo_polygon")) is not None:
        interiors = [_line(line) for line in polygon.get("interiors") or []]
        values["geo_polygon"] = qe.GeoPolygon(_line(polygon["exterior"]), interiors or None)
    return values


def _line(line: Mapping[str, Any]) -> list[qe.GeoPoint]:
    return [geo_point(point) for point in line["points"]]
