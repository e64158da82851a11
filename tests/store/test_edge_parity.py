"""The embedded engine and local mode give the same answers: to chosen queries of every kind, and to random filters and hybrid queries."""

from __future__ import annotations

import random
import warnings
from collections.abc import Iterator
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from qwen3_rag.settings import StoreSettings
from qwen3_rag.store import open_client

COLLECTION = "parity"
POINTS, DIM, WORDS = 120, 8, 30


def random_point(number: int, rng: random.Random) -> models.PointStruct:
    payload: dict[str, Any] = {
        "n": rng.randrange(10),
        "x": rng.uniform(-1, 1),
        "word": rng.choice(["red", "green", "blue", "grey"]),
        "tags": rng.sample(["a", "b", "c", "d"], rng.randrange(4)),
        "flag": rng.random() < 0.5,
        "when": f"20{rng.randrange(10, 30)}-0{rng.randrange(1, 10)}-11T00:00:00Z",
        "items": [{"k": rng.choice("uvw"), "c": rng.randrange(3)} for _ in range(rng.randrange(3))],
        "text": " ".join(rng.choices(["river", "town", "quiet", "night", "train"], k=4)),
    }
    for field in rng.sample(sorted(payload), rng.randrange(3)):
        payload[field] = None if rng.random() < 0.5 else payload.pop(field)
        if payload[field] is not None:
            del payload[field]
    indices = rng.sample(range(WORDS), rng.randrange(1, 6))
    words = models.SparseVector(indices=indices, values=[rng.uniform(0.1, 2.0) for _ in indices])
    vectors = {"dense": [rng.gauss(0, 1) for _ in range(DIM)], "words": words}
    if rng.random() < 0.1:
        del vectors["words"]
    return models.PointStruct(id=number, vector=vectors, payload=payload)


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[QdrantClient, QdrantClient]]:
    """Local mode and the embedded engine with the same points; the second with payload indexes, which must change no answer."""
    local, embedded = QdrantClient(location=":memory:"), open_client(StoreSettings(path=str(tmp_path_factory.mktemp("parity"))))
    rng = random.Random(7)
    points = [random_point(number, rng) for number in range(POINTS)]
    for client in (local, embedded):
        client.create_collection(
            COLLECTION,
            vectors_config={"dense": models.VectorParams(size=DIM, distance=models.Distance.COSINE)},
            sparse_vectors_config={"words": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        )
        client.upsert(COLLECTION, points)
    for field, kind in (("n", "integer"), ("word", "keyword"), ("x", "float")):
        embedded.create_payload_index(COLLECTION, field, field_schema=models.PayloadSchemaType(kind))
    yield local, embedded
    local.close()
    embedded.close()


def match(key: str, value: Any) -> models.FieldCondition:
    return models.FieldCondition(key=key, match=models.MatchValue(value=value))


def bounds(values: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.dictionaries(st.sampled_from(["gt", "gte", "lt", "lte"]), values, min_size=1, max_size=2)


CONDITIONS = st.one_of(
    st.builds(match, st.sampled_from(["word", "tags", "items[].k"]), st.sampled_from(["red", "blue", "a", "d", "u", "none"])),
    st.builds(match, st.sampled_from(["n", "items[].c"]), st.integers(0, 10)),
    st.builds(match, st.just("flag"), st.booleans()),
    st.builds(lambda any_: models.FieldCondition(key="n", match=models.MatchAny(any=any_)), st.lists(st.integers(0, 9), max_size=4)),
    st.builds(
        lambda words: models.FieldCondition(key="word", match=models.MatchExcept(**{"except": words})),
        st.lists(st.sampled_from(["red", "green", "blue"]), max_size=3),
    ),
    st.builds(
        lambda limits: models.FieldCondition(key="x", range=models.Range(**limits)), bounds(st.floats(-1, 1).map(lambda x: round(x, 3)))
    ),
    st.builds(
        lambda limits: models.FieldCondition(key="when", range=models.DatetimeRange(**limits)),
        bounds(st.integers(2010, 2030).map(lambda year: f"{year}-05-01T00:00:00Z")),
    ),
    st.builds(lambda limits: models.FieldCondition(key="tags", values_count=models.ValuesCount(**limits)), bounds(st.integers(0, 4))),
    st.builds(lambda key: models.IsEmptyCondition(is_empty=models.PayloadField(key=key)), st.sampled_from(["tags", "word", "items", "no"])),
    st.builds(lambda key: models.IsNullCondition(is_null=models.PayloadField(key=key)), st.sampled_from(["tags", "word", "n", "x"])),
    st.builds(lambda ids: models.HasIdCondition(has_id=ids), st.lists(st.integers(0, POINTS + 5), max_size=20)),
    st.just(models.HasVectorCondition(has_vector="words")),
    st.builds(
        lambda k, c: models.NestedCondition(nested=models.Nested(key="items", filter=models.Filter(must=[match("k", k), match("c", c)]))),
        st.sampled_from("uvw"),
        st.integers(0, 2),
    ),
    st.builds(lambda text: models.FieldCondition(key="text", match=models.MatchText(text=text)), st.sampled_from(["river", "town", "sea"])),
)


def combine(conditions: st.SearchStrategy[Any]) -> st.SearchStrategy[models.Filter]:
    several = st.none() | st.lists(conditions, min_size=1, max_size=3)
    min_should = st.none() | st.builds(
        lambda some, count: models.MinShould(conditions=some, min_count=count),
        st.lists(conditions, min_size=1, max_size=4),
        st.integers(1, 3),
    )
    return st.builds(models.Filter, must=several, should=several, must_not=several, min_should=min_should)


FILTERS = combine(st.recursive(CONDITIONS, combine, max_leaves=4))
DENSE = st.lists(st.floats(-1, 1, allow_subnormal=False).map(lambda x: round(x, 3)), min_size=DIM, max_size=DIM).filter(any)
SPARSE = st.dictionaries(st.integers(0, WORDS - 1), st.floats(0.1, 2), min_size=1, max_size=4).map(
    lambda words: models.SparseVector(indices=list(words), values=list(words.values()))
)
EXPLORE = settings(max_examples=80, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture])


@EXPLORE
@given(chosen=FILTERS)
def test_random_filters_choose_the_same_points(pair: tuple[QdrantClient, QdrantClient], chosen: models.Filter) -> None:
    local, embedded = ({point.id for point in client.scroll(COLLECTION, scroll_filter=chosen, limit=1000)[0]} for client in pair)
    assert embedded == local


@EXPLORE
@given(dense=DENSE, words=SPARSE, chosen=st.none() | FILTERS, k=st.integers(1, 80), limit=st.integers(1, 40))
def test_random_hybrid_queries_find_the_same(
    pair: tuple[QdrantClient, QdrantClient],
    dense: list[float],
    words: models.SparseVector,
    chosen: models.Filter | None,
    k: int,
    limit: int,
) -> None:
    for query, using in ((dense, "dense"), (words, "words")):
        request = {"query": query, "using": using, "query_filter": chosen, "limit": limit}
        assert_same_ranking(*(client.query_points(COLLECTION, **request).points for client in pair))
    # all of both rankings, so that ties at the end of a prefetch do not decide what is fused
    prefetch = [
        models.Prefetch(query=dense, using="dense", limit=POINTS, filter=chosen),
        models.Prefetch(query=words, using="words", limit=POINTS, filter=chosen),
    ]
    for fusion in (models.RrfQuery(rrf=models.Rrf(k=k)), models.FusionQuery(fusion=models.Fusion.DBSF)):
        found = [client.query_points(COLLECTION, query=fusion, prefetch=prefetch, limit=limit).points for client in pair]
        if not has_ties(pair[0], prefetch):
            assert_same_ranking(*found)


def has_ties(client: QdrantClient, prefetch: list[models.Prefetch]) -> bool:
    """Whether a ranking has equal scores: their order is nobody's promise, and ranks decide RRF."""
    for one in prefetch:
        points = client.query_points(COLLECTION, query=one.query, using=one.using, query_filter=one.filter, limit=POINTS).points
        scores = [point.score for point in points]
        if any(abs(left - right) < 1e-5 for left, right in pairwise(scores)):
            return True
    return False


def assert_same_ranking(expected: list[Any], found: list[Any]) -> None:
    """The same scores in the same order, and the same points wherever scores tell them apart."""
    assert [point.score for point in found] == pytest.approx([point.score for point in expected], rel=1e-4, abs=1e-5)
    scores = {point.id: point.score for point in found}
    last = expected[-1].score if expected else 0.0
    for point in expected:
        if abs(point.score - last) > 1e-4:  # at the cut, ties may fall either way
            assert scores[point.id] == pytest.approx(point.score, rel=1e-4, abs=1e-5)


HAS_X = models.FieldCondition(key="x", range=models.Range(gte=-1))
QUERIES: dict[str, dict[str, Any]] = {
    "mmr": {"query": models.NearestQuery(nearest=[1.0] * DIM, mmr=models.Mmr(diversity=0.4, candidates_limit=30)), "using": "dense"},
    "average": {"query": models.RecommendQuery(recommend=models.RecommendInput(positive=[1, 2], negative=[3])), "using": "dense"},
    "average sparse": {
        "query": models.RecommendQuery(recommend=models.RecommendInput(positive=[1, 2], negative=[5])),
        "using": "words",
    },
    "best score": {
        "query": models.RecommendQuery(
            recommend=models.RecommendInput(positive=[1, 2], negative=[3], strategy=models.RecommendStrategy.BEST_SCORE)
        ),
        "using": "dense",
    },
    "sum scores": {
        "query": models.RecommendQuery(
            recommend=models.RecommendInput(positive=[[0.5] * DIM], strategy=models.RecommendStrategy.SUM_SCORES)
        ),
        "using": "dense",
    },
    "discover": {
        "query": models.DiscoverQuery(
            discover=models.DiscoverInput(target=[0.3] * DIM, context=[models.ContextPair(positive=4, negative=9)])
        ),
        "using": "dense",
    },
    "context": {"query": models.ContextQuery(context=[models.ContextPair(positive=4, negative=9)]), "using": "dense"},
    "formula": {
        "query": models.FormulaQuery(
            formula=models.SumExpression(
                sum=["$score", models.MultExpression(mult=[0.5, match("word", "red")]), models.AbsExpression(abs="x")]
            ),
            defaults={"x": 0.0},
        ),
        "prefetch": models.Prefetch(query=[1.0] * DIM, using="dense", limit=50, filter=models.Filter(must=[HAS_X])),
    },
    "by id": {"query": 11, "using": "dense"},
    "nothing but a filter": {"query_filter": models.Filter(must=[match("word", "red")])},
    "threshold": {"query": [1.0] * DIM, "using": "dense", "score_threshold": 0.3, "limit": 100},
}


@pytest.mark.parametrize("kind", QUERIES)
def test_queries_of_every_kind(pair: tuple[QdrantClient, QdrantClient], kind: str) -> None:
    request = {"limit": 10, **QUERIES[kind]}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # local mode on parameters that it has no use for
        local, embedded = (client.query_points(COLLECTION, **request).points for client in pair)
    assert local
    if kind == "nothing but a filter":
        assert [point.id for point in embedded] == [point.id for point in local]
    elif kind == "context":  # many points score 0 here, and which of them come back is open
        assert [point.score for point in embedded] == pytest.approx([point.score for point in local], abs=1e-4)
    else:
        assert_same_ranking(local, embedded)


def test_groups_are_the_same(pair: tuple[QdrantClient, QdrantClient]) -> None:
    request = {"group_by": "word", "query": [1.0] * DIM, "using": "dense", "limit": 3, "group_size": 4}
    local, embedded = (client.query_points_groups(COLLECTION, **request).groups for client in pair)
    assert [(group.id, [hit.id for hit in group.hits]) for group in embedded] == [
        (group.id, [hit.id for hit in group.hits]) for group in local
    ]
