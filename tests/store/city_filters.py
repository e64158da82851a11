"""A filter of every kind, and which of the cities it chooses."""

from __future__ import annotations

from typing import Any

from qdrant_client import models


def match(key: str, value: Any) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def field(key: str, **condition: Any) -> models.FieldCondition:
    return models.FieldCondition(key=key, **condition)


FILTERS: dict[str, tuple[models.Filter, set[int]]] = {
    "value": (models.Filter(must=[match("city", "Oslo")]), {1}),
    "value in a list": (models.Filter(must=[match("tags", "north")]), {1, 4}),
    "integer value": (models.Filter(must=[match("size", 28)]), {2, 6}),
    "bool value": (models.Filter(must=[match("flag", True)]), {6}),
    "any": (models.Filter(must=[field("city", match=models.MatchAny(any=["Oslo", "Lima", "Pisa"]))]), {1, 3}),
    "except": (models.Filter(must=[field("size", match=models.MatchExcept(**{"except": [28, 7]}))]), {3, 4, 5}),
    "text": (models.Filter(must=[field("text", match=models.MatchText(text="river"))]), {4}),
    "phrase": (models.Filter(must=[field("text", match=models.MatchPhrase(phrase="quiet river"))]), {4}),
    "range": (models.Filter(must=[field("size", range=models.Range(gt=3, lte=28))]), {1, 2, 5, 6}),
    "datetime range": (models.Filter(must=[field("founded", range=models.DatetimeRange(gte="1000-01-01T00:00:00Z"))]), {1, 3}),
    "geo radius": (
        models.Filter(must=[field("place", geo_radius=models.GeoRadius(center=models.GeoPoint(lon=-78.0, lat=0.0), radius=100_000))]),
        {6},
    ),
    "geo box": (
        models.Filter(
            must=[
                field(
                    "place",
                    geo_bounding_box=models.GeoBoundingBox(
                        top_left=models.GeoPoint(lon=-79, lat=1), bottom_right=models.GeoPoint(lon=-78, lat=-1)
                    ),
                )
            ]
        ),
        {6},
    ),
    "geo polygon": (
        models.Filter(
            must=[
                field(
                    "place",
                    geo_polygon=models.GeoPolygon(
                        exterior=models.GeoLineString(
                            points=[models.GeoPoint(lon=lon, lat=lat) for lon, lat in ((-80, -2), (-77, -2), (-77, 2), (-80, 2), (-80, -2))]
                        )
                    ),
                )
            ]
        ),
        {6},
    ),
    "is empty": (models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key="tags"))]), {3, 5, 6}),
    "is null": (models.Filter(must=[models.IsNullCondition(is_null=models.PayloadField(key="note"))]), {3}),
    "has id": (models.Filter(must=[models.HasIdCondition(has_id=[2, 5, 77])]), {2, 5}),
    "has vector": (models.Filter(must=[models.HasVectorCondition(has_vector="dense")]), {1, 2, 3, 4, 5, 6}),
    "values count": (models.Filter(must=[field("tags", values_count=models.ValuesCount(gte=2))]), {1, 4}),
    "nested": (
        models.Filter(
            must=[
                models.NestedCondition(
                    nested=models.Nested(
                        key="nested", filter=models.Filter(must=[match("name", "a"), field("n", range=models.Range(gte=1))])
                    )
                )
            ]
        ),
        {5},
    ),
    "nested needs one element": (
        models.Filter(
            must=[
                models.NestedCondition(nested=models.Nested(key="nested", filter=models.Filter(must=[match("name", "a"), match("n", 2)])))
            ]
        ),
        set(),
    ),
    "should": (models.Filter(should=[match("city", "Oslo"), match("city", "Bonn")]), {1, 4}),
    "must not": (models.Filter(must_not=[match("tags", "north")]), {2, 3, 5, 6}),
    "min should": (
        models.Filter(
            min_should=models.MinShould(
                conditions=[match("tags", "north"), match("tags", "sea"), field("size", range=models.Range(lt=5))], min_count=2
            )
        ),
        {1, 4},
    ),
    "single conditions": (models.Filter(must=match("tags", "north"), must_not=match("city", "Oslo")), {4}),
    "filter in a filter": (
        models.Filter(must=[models.Filter(should=[match("size", 28), match("size", 3)]), models.Filter(must_not=[match("city", "Rome")])]),
        {4, 6},
    ),
    "empty": (models.Filter(), {1, 2, 3, 4, 5, 6}),
}
