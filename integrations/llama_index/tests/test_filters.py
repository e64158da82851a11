"""Metadata filters, held to what they mean in Python: every operator, nested to any depth, on both local engines."""

from __future__ import annotations

import itertools
import operator
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from llama_index.core.schema import NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters, VectorStoreQuery
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore

from qwen3_rag import Document, KnowledgeBase, Passage
from qwen3_rag.errors import FilterError
from tests.fakes import HashEmbedder, OverlapReranker

WORDS = ("ada", "Ada", "ada lovelace", "bob", "BOB", "", "x")
NUMBERS = (0, 1, 1.0, 2.5, -3, 10**6)
KEYS = ("name", "tags", "year", "author.name", "odd key")


def _metadata(rng: random.Random) -> dict[str, Any]:
    def scalar() -> Any:
        return rng.choice([*WORDS, *NUMBERS, True, False])

    def value() -> Any:
        return rng.choice([scalar(), None, [], [scalar() for _ in range(rng.randint(1, 3))]])

    chosen = {key: value() for key in ("name", "tags", "year", "odd key") if rng.random() < 0.7}
    return chosen | ({"author": {"name": value()}} if rng.random() < 0.5 else {})


METADATA = {f"n{number}": _metadata(random.Random(number)) for number in range(120)}


@pytest.fixture(scope="module")
def stores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Qwen3VectorStore]]:
    places: list[str | Path] = [tmp_path_factory.mktemp("kb") / "kb", ":memory:"]
    opened = [Qwen3VectorStore(place, embedder=HashEmbedder(), reranker="off") for place in places]
    for store in opened:
        store.add([TextNode(id_=node_id, text="words", metadata=metadata) for node_id, metadata in METADATA.items()])
    yield opened
    for store in opened:
        store.close()


def _found(metadata: dict[str, Any], key: str) -> Any:
    for part in key.split("."):
        metadata = metadata.get(part) if isinstance(metadata, dict) else None  # type: ignore[assignment]
    return metadata


def _same(one: Any, other: Any) -> bool:
    return isinstance(one, str) == isinstance(other, str) and isinstance(one, bool) == isinstance(other, bool) and one == other


def _members(found: Any) -> list[Any]:
    return [] if found is None else found if isinstance(found, list) else [found]


def _has(found: Any, value: Any) -> bool:
    return any(_same(member, value) for member in _members(found))


def _any_number(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def holds(found: Any, value: Any) -> bool:
        numbers = (member for member in _members(found) if isinstance(member, (int, float)) and not isinstance(member, bool))
        return any(compare(member, value) for member in numbers)

    return holds


def _any_text(found: Any, value: str) -> bool:
    return any(value in member for member in _members(found) if isinstance(member, str))


MEANING: dict[FilterOperator, Callable[[Any, Any], bool]] = {
    FilterOperator.EQ: _has,
    FilterOperator.CONTAINS: _has,
    FilterOperator.NE: lambda found, value: not _has(found, value),
    FilterOperator.GT: _any_number(operator.gt),
    FilterOperator.GTE: _any_number(operator.ge),
    FilterOperator.LT: _any_number(operator.lt),
    FilterOperator.LTE: _any_number(operator.le),
    FilterOperator.IN: lambda found, values: any(_has(found, value) for value in values),
    FilterOperator.ANY: lambda found, values: any(_has(found, value) for value in values),
    FilterOperator.NIN: lambda found, values: not any(_has(found, value) for value in values),
    FilterOperator.ALL: lambda found, values: bool(_members(found)) and all(_has(found, value) for value in values),
    FilterOperator.TEXT_MATCH: _any_text,
    FilterOperator.TEXT_MATCH_INSENSITIVE: lambda found, value: _any_text(
        [member.lower() for member in _members(found) if isinstance(member, str)], value.lower()
    ),
    FilterOperator.IS_EMPTY: lambda found, _: found is None or found in ("", []),
}


def _meets_one(metadata: dict[str, Any], asked: MetadataFilter) -> bool:
    return MEANING[asked.operator](_found(metadata, asked.key), asked.value)


def _meets(metadata: dict[str, Any], filters: MetadataFilters) -> bool:
    results = [_meets(metadata, part) if isinstance(part, MetadataFilters) else _meets_one(metadata, part) for part in filters.filters]
    if not results:
        return True
    match filters.condition:
        case FilterCondition.OR:
            return any(results)
        case FilterCondition.NOT:
            return not any(results)
        case _:
            return all(results)


_words, _numbers = st.sampled_from(WORDS), st.sampled_from(NUMBERS)
_text = st.sampled_from([word for word in WORDS if word] + ["a", "B", "love"])
_lists = st.one_of(
    st.lists(_words, max_size=3), st.lists(st.sampled_from([0, 1, -3, 10**6]), max_size=3), st.lists(st.just(2.5), max_size=1)
)
_EQUALITY = (FilterOperator.EQ, FilterOperator.NE, FilterOperator.CONTAINS)
_ORDER = (FilterOperator.GT, FilterOperator.GTE, FilterOperator.LT, FilterOperator.LTE)
_LISTS = (FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL)
_TEXTS = (FilterOperator.TEXT_MATCH, FilterOperator.TEXT_MATCH_INSENSITIVE)
_VALUES: dict[FilterOperator, st.SearchStrategy[Any]] = {
    **dict.fromkeys(_EQUALITY, st.one_of(_words, _numbers)),
    **dict.fromkeys(_ORDER, _numbers),
    **dict.fromkeys(_LISTS, _lists),
    **dict.fromkeys(_TEXTS, _text),
    FilterOperator.IS_EMPTY: st.none(),
}
_EXAMPLES: dict[FilterOperator, tuple[Any, ...]] = {
    **dict.fromkeys(_EQUALITY, ("ada", "", 1, 2.5)),
    **dict.fromkeys(_ORDER, (0, 1.0, 2.5)),
    **dict.fromkeys(_LISTS, (["ada"], [1, 0], ["x", "bob"], [])),
    **dict.fromkeys(_TEXTS, ("ada", "BOB", "love")),
    FilterOperator.IS_EMPTY: (None,),
}


@st.composite
def _one(draw: st.DrawFn) -> MetadataFilter:
    chosen = draw(st.sampled_from(list(FilterOperator)))
    return MetadataFilter(key=draw(st.sampled_from(KEYS)), value=draw(_VALUES[chosen]), operator=chosen)


_conditions = st.sampled_from([*FilterCondition, None])
_filters = st.recursive(
    st.builds(MetadataFilters, filters=st.lists(_one(), max_size=3), condition=_conditions),
    lambda inner: st.builds(MetadataFilters, filters=st.lists(st.one_of(inner, _one()), max_size=3), condition=_conditions),
    max_leaves=4,
)


def test_every_operator_is_tried():
    assert set(_VALUES) == set(_EXAMPLES) == set(MEANING) == set(FilterOperator)
    assert len(FilterOperator) == 14


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(filters=_filters)
def test_nested_filters_mean_what_they_mean_in_python(stores: list[Qwen3VectorStore], filters: MetadataFilters):
    expected = {node_id for node_id, metadata in METADATA.items() if _meets(metadata, filters)}
    for store in stores:
        assert {hit.id for hit in store.passages.select(store.filter(filters))} == expected


@pytest.mark.parametrize("asked_with", list(FilterOperator), ids=lambda each: each.name)
def test_each_operator_alone(stores: list[Qwen3VectorStore], asked_with: FilterOperator):
    hits = 0
    for number, (key, value) in enumerate(itertools.product(KEYS, _EXAMPLES[asked_with])):
        asked = MetadataFilters(filters=[MetadataFilter(key=key, value=value, operator=asked_with)])
        expected = {node_id for node_id, metadata in METADATA.items() if _meets(metadata, asked)}
        hits += len(expected)
        assert {node.node_id for node in stores[number % 2].get_nodes(filters=asked)} == expected
    assert hits


@pytest.mark.parametrize(
    ("asked_with", "value", "says"),
    [
        (FilterOperator.IN, "ada", "list"),
        (FilterOperator.ALL, 3, "list"),
        (FilterOperator.EQ, ["ada"], "one value"),
        (FilterOperator.TEXT_MATCH, ["ada"], "one value"),
        (FilterOperator.GT, "ada", "no ISO 8601 date"),
        (FilterOperator.TEXT_MATCH, 3, "text inside text"),
        (FilterOperator.TEXT_MATCH_INSENSITIVE, 3, "text inside text"),
        (FilterOperator.TEXT_MATCH_INSENSITIVE, "", "text inside text"),
    ],
)
def test_values_that_mean_nothing_are_refused(stores: list[Qwen3VectorStore], asked_with: FilterOperator, value: Any, says: str):
    asked = MetadataFilters(filters=[MetadataFilter(key="name", value=value, operator=asked_with)])
    with pytest.raises(FilterError, match=says):
        stores[0].get_nodes(filters=asked)
    with pytest.raises(FilterError, match="name"):
        stores[0].query(VectorStoreQuery(query_str="words", filters=asked))


def test_dates_compare_as_dates(store: Qwen3VectorStore):
    store.add([TextNode(id_=day, text="words", metadata={"day": day}) for day in ("2024-01-31", "2024-02-01")])
    asked = MetadataFilters(filters=[MetadataFilter(key="day", value="2024-02-01", operator=FilterOperator.LT)])
    assert [node.node_id for node in store.get_nodes(filters=asked)] == ["2024-01-31"]


def _equals(key: str, value: str) -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=key, value=value)])


def test_the_source_document_goes_by_its_usual_names(store: Qwen3VectorStore):
    source = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc")}
    store.add([TextNode(id_="a", text="one", relationships=source), TextNode(id_="b", text="two", metadata={"doc_id": "mine"})])
    for key in ("doc_id", "document_id", "ref_doc_id"):
        assert [node.node_id for node in store.get_nodes(filters=_equals(key, "doc"))] == ["a"]
    assert [node.node_id for node in store.get_nodes(filters=_equals("doc_id", "mine"))] == ["b"]
    assert store.get_nodes(filters=_equals("doc_id", "b")) == []
    assert [node.node_id for node in store.get_nodes(filters=_equals("document_id", "b"))] == ["b"]


def test_what_a_chunks_node_shows_can_be_asked_for(tmp_path: Path):
    """Source, title and headings of ingested chunks; metadata of the same name come first, as they do in the node."""
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker=OverlapReranker()) as kb:
        kb.ingest([Document("doc", "# Keys\n\nkeys are rotated", title="Handbook", source="keys.md")])
        kb.passages().put([Passage("p", "keys", {"source": "mine", "title": "Own"}), Passage("q", "keys", source="other.md")])
        store = Qwen3VectorStore(kb)
        for key in ("source", "title"):
            for node in store.get_nodes():
                if key in node.metadata:
                    assert [same.node_id for same in store.get_nodes(filters=_equals(key, node.metadata[key]))] == [node.node_id]
        insensitive = MetadataFilter(key="source", value="KEYS", operator=FilterOperator.TEXT_MATCH_INSENSITIVE)
        assert [node.metadata["source"] for node in store.get_nodes(filters=MetadataFilters(filters=[insensitive]))] == ["keys.md"]
