"""Filters mean what the docstring says: checked against a small evaluator over random payloads, on qdrant-client's local mode."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from qwen3_rag.errors import FilterError
from qwen3_rag.settings import StoreSettings
from qwen3_rag.store import open_client
from qwen3_rag.store.filters import build_filter, parse_filter_options, payload_path, restricts_nothing

COLLECTION = "filters"
ABSENT = object()


# --- the evaluator: plain Python over one payload -------------------------------------------------------------------------------------


def holds(filters: dict[str, Any], payload: dict[str, Any]) -> bool:
    return all(_holds_key(key, value, payload) for key, value in filters.items())


def _holds_key(key: str, value: Any, payload: dict[str, Any]) -> bool:
    match key:
        case "$and":
            return all(holds(part, payload) for part in value)
        case "$or":
            return any(holds(part, payload) for part in value)
        case "$not":
            return not holds(value, payload)
    stored = payload.get(key, ABSENT) if key in ("document_id", "ordinal") else payload["metadata"].get(key, ABSENT)
    if isinstance(value, dict):
        return all(_holds_operator(name, operand, stored) for name, operand in value.items())
    if isinstance(value, list):
        return _holds_operator("$in", value, stored)
    return _holds_operator("$eq", value, stored)


def _holds_operator(name: str, operand: Any, stored: Any) -> bool:
    match name:
        case "$eq":
            return _empty(stored) if operand is None else any(_same(element, operand) for element in _elements(stored))
        case "$ne":
            return not _holds_operator("$eq", operand, stored)
        case "$in":
            return any(_holds_operator("$eq", value, stored) for value in operand)
        case "$nin":
            return not _holds_operator("$in", operand, stored)
        case "$exists":
            return _empty(stored) is not operand
        case "$contains":
            return any(isinstance(element, str) and operand in element for element in _elements(stored))
        case _:
            return any(_ordered(name, element, operand) for element in _elements(stored))


def _elements(stored: Any) -> list[Any]:
    return [] if stored is ABSENT else stored if isinstance(stored, list) else [stored]


def _empty(stored: Any) -> bool:
    return stored is ABSENT or stored is None or stored == []


def _same(element: Any, operand: Any) -> bool:
    if isinstance(operand, (date, datetime)):
        return _ordered("$gte", element, operand) and _ordered("$lte", element, operand)
    if isinstance(element, bool) is not isinstance(operand, bool):
        return False
    return bool(element == operand)


def _ordered(name: str, element: Any, operand: Any) -> bool:
    if isinstance(operand, (date, datetime)):
        moment = _moment(element)
        if moment is None:
            return False
        first = operand if isinstance(operand, datetime) else datetime(operand.year, operand.month, operand.day, tzinfo=UTC)
        if isinstance(operand, datetime):
            return {"$gt": moment > first, "$gte": moment >= first, "$lt": moment < first, "$lte": moment <= first}[name]
        after = first + timedelta(days=1)
        return {"$gt": moment >= after, "$gte": moment >= first, "$lt": moment < first, "$lte": moment < after}[name]
    if isinstance(element, bool) or not isinstance(element, (int, float)):
        return False
    return bool({"$gt": element > operand, "$gte": element >= operand, "$lt": element < operand, "$lte": element <= operand}[name])


def _moment(element: Any) -> datetime | None:
    if not isinstance(element, str):
        return None
    try:
        moment = datetime.fromisoformat(element)
    except ValueError:
        return None
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


# --- random payloads and filters ------------------------------------------------------------------------------------------------------

WORDS = ["red", "blue", "infrared", "Red", "größe 東京", "1"]
MOMENTS = [datetime(2024, 1, day, hour, tzinfo=UTC) for day in (1, 2, 3) for hour in (0, 12)]
SCALARS = st.one_of(
    st.sampled_from(WORDS),
    st.integers(-2, 3),
    st.sampled_from([-1.5, 0.0, 1.0, 2.5]),
    st.booleans(),
    st.sampled_from([moment.isoformat() for moment in MOMENTS]),
    st.sampled_from(["2024-01-02"]),
)
STORED = st.one_of(st.none(), SCALARS, st.lists(SCALARS, max_size=3))
KEYS = ["colour", "size", "odd key", "größe"]
PAYLOADS = st.builds(
    lambda metadata, document: {"metadata": metadata, "document_id": document, "ordinal": len(metadata)},
    st.dictionaries(st.sampled_from(KEYS), STORED),
    st.sampled_from(["a", "b"]),
)
NUMBERS = st.one_of(st.integers(-2, 3), st.sampled_from([-1.5, 0.0, 1.0, 2.5]))
TIMES = st.one_of(st.sampled_from(MOMENTS), st.dates(date(2024, 1, 1), date(2024, 1, 3)))
VALUES = st.one_of(st.none(), st.sampled_from(WORDS), NUMBERS, st.booleans(), TIMES)
OPERATORS = st.one_of(
    st.dictionaries(st.sampled_from(["$gt", "$gte", "$lt", "$lte"]), st.one_of(NUMBERS, TIMES), min_size=1, max_size=2),
    st.dictionaries(st.sampled_from(["$eq", "$ne"]), VALUES, min_size=1),
    st.dictionaries(st.sampled_from(["$in", "$nin"]), st.lists(VALUES, max_size=3), min_size=1),
    st.fixed_dictionaries({"$exists": st.booleans()}),
    st.fixed_dictionaries({"$contains": st.sampled_from(["red", "e", "東", "R"])}),
)
FIELDS = st.one_of(VALUES, st.lists(VALUES, max_size=3), OPERATORS)
LEAVES = st.one_of(
    st.dictionaries(st.sampled_from(KEYS), FIELDS, max_size=2),
    st.fixed_dictionaries({"document_id": st.sampled_from(["a", "b"])}),
    st.fixed_dictionaries({"ordinal": OPERATORS}),
)
FILTERS = st.recursive(
    LEAVES,
    lambda parts: st.one_of(
        st.fixed_dictionaries({"$and": st.lists(parts, max_size=2)}),
        st.fixed_dictionaries({"$or": st.lists(parts, max_size=3)}),
        st.fixed_dictionaries({"$not": parts}),
    ),
    max_leaves=4,
)


def matching(client: QdrantClient, filters: Any) -> set[int]:
    points, _ = client.scroll(COLLECTION, scroll_filter=build_filter(filters), limit=1000, with_payload=False)
    return {int(point.id) for point in points}


def client_with(payloads: list[dict[str, Any]], path: str = ":memory:") -> QdrantClient:
    client = open_client(StoreSettings(path=path))
    client.create_collection(COLLECTION, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    client.upsert(
        COLLECTION, [models.PointStruct(id=i, vector=[1.0, 0.0], payload=payload) for i, payload in enumerate(payloads)], wait=True
    )
    return client


@settings(max_examples=250, deadline=None)
@given(payloads=st.lists(PAYLOADS, min_size=1, max_size=8), filters=FILTERS)
def test_filters_agree_with_plain_python(payloads: list[dict[str, Any]], filters: dict[str, Any]) -> None:
    found = matching(client_with(payloads), filters)
    assert found == {i for i, payload in enumerate(payloads) if holds(filters, payload)}


# --- single statements ----------------------------------------------------------------------------------------------------------------

PEOPLE: list[dict[str, Any]] = [
    {"document_id": "a", "source": "a.md", "metadata": {"author": {"name": "Ada", "born": 1815}, "source": "mail", "tags": ["x", "y"]}},
    {"document_id": "b", "source": "b.md", "metadata": {"author": {"name": "Bob"}, "tags": ["category"], "metadata": {"x": 1}}},
    {"document_id": "c", "source": None, "metadata": {"big": 2**60 + 1}},
]


@pytest.fixture(scope="module", params=["memory", "embedded"])
def people(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[QdrantClient]:
    path = ":memory:" if request.param == "memory" else str(tmp_path_factory.mktemp("filters"))
    client = client_with(PEOPLE, path)
    yield client
    client.close()


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        (None, {0, 1, 2}),
        ({}, {0, 1, 2}),
        ({"author": {"name": "Ada"}}, {0}),
        ({"author.name": "Ada"}, {0}),
        ({"author": {"born": {"$lt": 1900}, "name": ["Ada", "Bob"]}}, {0}),
        ({"source": "a.md"}, {0}),
        ({"metadata.source": "mail"}, {0}),
        ({"metadata": {"source": "mail"}}, {0}),
        ({"metadata.metadata.x": 1}, {1}),
        ({"tags": "x"}, {0}),
        ({"tags": {"$contains": "cat"}}, {1}),
        ({"tags[0]": "y"}, set()),
        ({"tags[1]": "y"}, {0}),
        ({"big": 2**60 + 1}, {2}),
        ({"big": 2**60}, set()),
        ({"source": None}, {2}),
        ({"document_id": []}, set()),
        ({"document_id": {"$nin": []}}, {0, 1, 2}),
        ({"$or": []}, set()),
        ({"$or": [models.Filter(must=[models.HasIdCondition(has_id=[1])]), {"document_id": "a"}]}, {0, 1}),
        ({"document_id": ("a", "b")}, {0, 1}),
    ],
)
def test_statements(people: QdrantClient, filters: Any, expected: set[int]) -> None:
    assert matching(people, filters) == expected


def test_a_qdrant_filter_passes_through() -> None:
    own = models.Filter(must_not=[models.HasIdCondition(has_id=[1])])
    assert build_filter(own) is own


@pytest.mark.parametrize(
    ("filters", "says"),
    [
        ({"year": {"$near": 3}}, r"\$near.*year.*\$gte"),
        ({"$nor": []}, r"\$nor.*\$and"),
        ({"year": {"$gte": 1, "name": 2}}, "operators only"),
        ({"year": {}}, "operators only"),
        ({"year": {"$gte": "soon"}}, "ISO 8601"),
        ({"year": {"$gte": True}}, "compares numbers"),
        ({"year": {"$gt": None}}, "compares numbers"),
        ({"year": float("nan")}, "not a number"),
        ({"year": {"$in": "abc"}}, "takes a list"),
        ({"year": {"$eq": [1, 2]}}, "one value"),
        ({"year": {"$exists": 1}}, "true or false"),
        ({"tags": {"$contains": 1}}, r"\$eq"),
        ({"year": object()}, "cannot compare"),
        ({"$and": {"a": 1}}, "takes a list"),
        ({"$not": [1]}, "combines filters"),
        ({"a..b": 1}, "not a path"),
        ({"a.": 1}, "not a path"),
        ({3: 1}, "keys are text"),
        ("team=search", "a mapping"),
    ],
)
def test_errors_name_the_fault(filters: Any, says: str) -> None:
    with pytest.raises(FilterError, match=says):
        build_filter(filters)


def test_paths() -> None:
    assert payload_path("document_id") == "document_id"
    assert payload_path("team") == "metadata.team"
    assert payload_path("odd key.name") == 'metadata."odd key".name'
    assert payload_path('"a.b".c') == 'metadata."a.b".c'
    assert payload_path("offers[].price") == "metadata.offers[].price"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ([], {}),
        (["team=search"], {"team": {"$in": ["search"]}}),
        (["team=search", "team=ads"], {"team": {"$in": ["search", "ads"]}}),
        (["year=2020"], {"year": {"$in": [2020, "2020"]}}),
        (["draft=false"], {"draft": {"$in": [False, "false"]}}),
        (["ratio=1.5"], {"ratio": {"$in": [1.5, "1.5"]}}),
        (["code=007"], {"code": {"$in": ["007"]}}),
        (["year>=2020", "year<2024"], {"year": {"$gte": 2020, "$lt": 2024}}),
        (["day>2024-01-31"], {"day": {"$gt": "2024-01-31"}}),
        (["team != ads"], {"team": {"$nin": ["ads"]}}),
        (["url=https://x/?a=b"], {"url": {"$in": ["https://x/?a=b"]}}),
        (["empty="], {"empty": {"$in": [""]}}),
    ],
)
def test_command_line_options(options: list[str], expected: dict[str, Any]) -> None:
    assert parse_filter_options(options) == expected
    build_filter(expected)


@pytest.mark.parametrize("option", ["team", "=x", ""])
def test_options_without_a_comparison_are_refused(option: str) -> None:
    with pytest.raises(FilterError, match="KEY=VALUE"):
        parse_filter_options([option])


EMPTY = models.HasIdCondition(has_id=[])
SOME = models.FieldCondition(key="metadata.a", match=models.MatchValue(value="b"))


@pytest.mark.parametrize(
    ("filters", "all_of_them"),
    [
        ({"$and": []}, True),
        ({"team": {"$nin": []}}, True),
        ({"$not": {"team": []}}, True),
        ({"$or": [{"team": "a"}, {"$and": []}]}, True),
        ({"$or": []}, False),
        ({"team": []}, False),
        ({"team": "a"}, False),
        ({"team": {"$nin": ["a"]}}, False),
        ({"team": {"$nin": []}, "year": 3}, False),
        (models.Filter(should=[models.Filter(must=[])]), True),
        (models.Filter(should=[SOME, models.Filter(must_not=[EMPTY])]), True),
        (models.Filter(must_not=EMPTY), True),
        (models.Filter(must_not=[models.Filter(must=[SOME, EMPTY])]), True),
        (models.Filter(must_not=[models.Filter(should=[SOME, EMPTY])]), False),
        (models.Filter(must_not=[models.FieldCondition(key="a", match=models.MatchAny(any=[]))]), True),
        (models.Filter(must_not=[models.Filter(must_not=[models.Filter(must=[])])]), True),
        (models.Filter(must=[SOME]), False),
        (models.Filter(must_not=[SOME]), False),
    ],
)
def test_filters_whose_lists_came_out_empty_restrict_nothing(filters: Any, all_of_them: bool):
    built = build_filter(filters)
    assert built is not None
    assert restricts_nothing(built) is all_of_them
