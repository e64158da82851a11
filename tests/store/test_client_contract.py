"""What any Qdrant client promises, asserted in the same words on local mode, the embedded engine and, if there is one, a server."""

from __future__ import annotations

import warnings
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from tests.store.cities import CITIES, make_cities
from tests.store.city_filters import FILTERS, match

REFUSED = (ValueError, UnexpectedResponse)


def ids(points: Any) -> list[Any]:
    return [point.id for point in points]


@pytest.mark.parametrize("name", FILTERS)
def test_filters_choose_points(backend: QdrantClient, cities: str, name: str) -> None:
    chosen, expected = FILTERS[name]
    assert set(ids(backend.scroll(cities, scroll_filter=chosen, limit=100)[0])) == expected
    assert backend.count(cities, count_filter=chosen).count == len(expected)
    found = backend.query_points(cities, query=[1.0, 1.0, 1.0], using="dense", query_filter=chosen, limit=100).points
    assert set(ids(found)) == expected


def test_collections_come_and_go(backend: QdrantClient) -> None:
    name = f"c-{uuid4().hex[:8]}"
    params = models.VectorParams(size=3, distance=models.Distance.COSINE)
    assert not backend.collection_exists(name)
    assert backend.create_collection(name, vectors_config=params)
    assert backend.collection_exists(name)
    assert name in {collection.name for collection in backend.get_collections().collections}
    with pytest.raises(REFUSED, match="already exists"):
        backend.create_collection(name, vectors_config=params)
    assert backend.delete_collection(name)
    assert not backend.delete_collection(name)
    with pytest.raises(REFUSED):
        backend.get_collection(name)


def test_a_collection_tells_what_it_was_made_with(backend: QdrantClient, cities: str) -> None:
    info = backend.get_collection(cities)
    assert info.points_count == len(CITIES)
    assert info.config.metadata == {"fingerprint": "abc"}
    assert isinstance(info.config.params.vectors, dict)
    assert info.config.params.vectors["dense"].size == 3
    assert info.config.params.vectors["dense"].distance == models.Distance.COSINE
    assert info.config.params.sparse_vectors is not None
    assert info.config.params.sparse_vectors["words"].modifier == models.Modifier.IDF


def test_metadata_is_merged(backend: QdrantClient) -> None:
    collection = make_cities(backend)
    backend.update_collection(collection, metadata={"languages": ["en", "de"]})
    assert backend.get_collection(collection).config.metadata == {"fingerprint": "abc", "languages": ["en", "de"]}


def test_an_alias_moves_in_one_step_and_a_bad_change_moves_nothing(backend: QdrantClient) -> None:
    first, second, alias = make_cities(backend), make_cities(backend), f"alias-{uuid4().hex[:8]}"
    create = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=first, alias_name=alias))
    backend.update_collection_aliases([create])
    assert backend.count(alias).count == len(CITIES)
    backend.delete(second, [1, 2, 3])
    remove = models.DeleteAliasOperation(delete_alias=models.DeleteAlias(alias_name=alias))
    move = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name=second, alias_name=alias))
    backend.update_collection_aliases([remove, move])
    assert backend.count(alias).count == len(CITIES) - 3
    bad = models.CreateAliasOperation(create_alias=models.CreateAlias(collection_name="missing", alias_name="x"))
    with pytest.raises(REFUSED):
        backend.update_collection_aliases([remove, bad])
    found = {(one.alias_name, one.collection_name) for one in backend.get_aliases().aliases}
    assert (alias, second) in found
    assert ids_of_aliases(backend, second) == [alias]


def ids_of_aliases(client: QdrantClient, collection: str) -> list[str]:
    return [one.alias_name for one in client.get_collection_aliases(collection).aliases]


def test_dense_search(backend: QdrantClient, cities: str) -> None:
    found = backend.query_points(cities, query=[1.0, 0.0, 0.0], using="dense", limit=3).points
    assert ids(found) == [1, 2, 6]
    assert found[0].score == pytest.approx(1.0, abs=1e-6)
    assert found[2].score == pytest.approx(1 / np.sqrt(3), abs=1e-6)
    assert found[0].payload is not None
    assert found[0].payload["city"] == "Oslo"


def test_numpy_queries_offset_and_threshold(backend: QdrantClient, cities: str) -> None:
    query = np.array([1.0, 0.0, 0.0], dtype=np.float32)
    assert ids(backend.query_points(cities, query=query, using="dense", limit=2, offset=1).points) == [2, 6]
    assert ids(backend.query_points(cities, query=query, using="dense", score_threshold=0.9).points) == [1, 2]


@pytest.mark.parametrize(
    ("selector", "expected"),
    [
        (True, {"city", "size", "tags", "founded"}),
        (False, set()),
        (["city"], {"city"}),
        (models.PayloadSelectorInclude(include=["city", "size"]), {"city", "size"}),
        (models.PayloadSelectorExclude(exclude=["tags"]), {"city", "size", "founded"}),
    ],
)
def test_payload_selectors(backend: QdrantClient, cities: str, selector: Any, expected: set[str]) -> None:
    found = backend.query_points(cities, query=[1.0, 0.0, 0.0], using="dense", limit=1, with_payload=selector).points
    (record,) = backend.retrieve(cities, [1], with_payload=selector)
    assert set(found[0].payload or {}) == set(record.payload or {}) == expected


def test_vector_selectors(backend: QdrantClient, cities: str) -> None:
    (everything,) = backend.retrieve(cities, [1], with_vectors=True)
    assert isinstance(everything.vector, dict)
    assert set(everything.vector) == {"dense", "words", "multi"}
    assert isinstance(everything.vector["words"], models.SparseVector)
    assert dict(zip(everything.vector["words"].indices, everything.vector["words"].values, strict=True)) == {1: 1.0, 2: 2.0}
    assert everything.vector["multi"] == [[1.0, 0.0], [0.0, 1.0]]
    (some,) = backend.retrieve(cities, [1], with_vectors=["dense"])
    assert some.vector == {"dense": [1.0, 0.0, 0.0]}
    assert backend.retrieve(cities, [1])[0].vector is None


def test_sparse_search_weighs_rare_words_more(backend: QdrantClient, cities: str) -> None:
    query = models.SparseVector(indices=[1, 3, 5], values=[1.0, 1.0, 1.0])
    found = backend.query_points(cities, query=query, using="words").points
    # each word's weight is its IDF: ln((N - n + 0.5) / (n + 0.5) + 1); words 1 and 3 are in two of six points, 5 in one
    common, rare = np.log((6 - 2 + 0.5) / 2.5 + 1), np.log((6 - 1 + 0.5) / 1.5 + 1)
    scores = {point.id: point.score for point in found}
    assert scores == {
        1: pytest.approx(common, rel=1e-5),
        2: pytest.approx(common, rel=1e-5),
        3: pytest.approx(2 * common, rel=1e-5),
        4: pytest.approx(0.5 * common, rel=1e-5),
        6: pytest.approx(rare, rel=1e-5),
    }


def test_multivector_search(backend: QdrantClient, cities: str) -> None:
    found = backend.query_points(cities, query=[[1.0, 0.0], [0.0, 2.0]], using="multi", limit=2).points
    assert [(point.id, point.score) for point in found] == [(6, pytest.approx(8.0)), (5, pytest.approx(7.0))]


HYBRID = [
    models.Prefetch(query=[1.0, 0.0, 0.0], using="dense", limit=3),
    models.Prefetch(query=models.SparseVector(indices=[3], values=[1.0]), using="words", limit=3),
]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        # dense finds 1, 2, 6 and words find 3, 2; an RRF share is 1 / (rank / weight + k - 1)
        (models.FusionQuery(fusion=models.Fusion.RRF), {1: 1 / 2, 2: 1 / 3 + 1 / 3, 3: 1 / 2, 6: 1 / 4}),
        (models.RrfQuery(rrf=models.Rrf(k=60)), {1: 1 / 60, 2: 1 / 61 + 1 / 61, 3: 1 / 60, 6: 1 / 62}),
        (models.RrfQuery(rrf=models.Rrf(k=60, weights=[2.0, 1.0])), {1: 1 / 59.5, 2: 1 / 60 + 1 / 61, 3: 1 / 60, 6: 1 / 60.5}),
    ],
    ids=["rrf", "k", "weights"],
)
def test_reciprocal_rank_fusion(backend: QdrantClient, cities: str, query: Any, expected: dict[int, float]) -> None:
    found = backend.query_points(cities, query=query, prefetch=HYBRID, limit=10).points
    assert {point.id: point.score for point in found} == {one: pytest.approx(score, rel=1e-5) for one, score in expected.items()}
    assert found[0].id == 2 or expected[found[0].id] == max(expected.values())


def test_distribution_based_fusion(backend: QdrantClient, cities: str) -> None:
    found = backend.query_points(cities, query=models.FusionQuery(fusion=models.Fusion.DBSF), prefetch=HYBRID).points
    assert found[0].id == 2
    assert {point.id for point in found} == {1, 2, 3, 6}


def test_nested_prefetch_rescores(backend: QdrantClient, cities: str) -> None:
    inner = models.Prefetch(query=models.SparseVector(indices=[4], values=[1.0]), using="words", limit=2)
    outer = models.Prefetch(prefetch=[inner], query=[0.0, 1.0, 0.0], using="dense", limit=2)
    found = backend.query_points(cities, query=[0.0, 0.0, 1.0], using="dense", prefetch=[outer]).points
    assert ids(found) == [5, 4]


def test_prefetch_has_its_own_filter(backend: QdrantClient, cities: str) -> None:
    prefetch = models.Prefetch(query=[1.0, 0.0, 0.0], using="dense", filter=models.Filter(must_not=[match("city", "Oslo")]), limit=2)
    found = backend.query_points(cities, query=models.FusionQuery(fusion=models.Fusion.RRF), prefetch=prefetch).points
    assert ids(found) == [2, 6]


def test_a_point_can_be_the_query(backend: QdrantClient, cities: str) -> None:
    assert ids(backend.query_points(cities, query=1, using="dense", limit=2).points) == [2, 6]
    other = make_cities(backend)
    lookup = models.LookupLocation(collection=other, vector="dense")
    assert ids(backend.query_points(cities, query=1, using="dense", limit=2, lookup_from=lookup).points) == [1, 2]
    with pytest.raises((*REFUSED, KeyError)):
        backend.query_points(cities, query=999, using="dense")


def test_recommendation(backend: QdrantClient, cities: str) -> None:
    query = models.RecommendQuery(recommend=models.RecommendInput(positive=[1], negative=[5]))
    assert ids(backend.query_points(cities, query=query, using="dense", limit=2).points)[0] == 2


def test_order_by_a_field(backend: QdrantClient, cities: str) -> None:
    order = models.OrderBy(key="size", direction=models.Direction.DESC)
    found = backend.query_points(cities, query=models.OrderByQuery(order_by=order), limit=2).points
    assert found[0].id == 3
    records, _ = backend.scroll(cities, order_by="size", limit=3)
    assert ids(records) == [4, 1, 5]


def test_groups(backend: QdrantClient, cities: str) -> None:
    groups = backend.query_points_groups(
        cities, group_by="size", query=[1.0, 0.0, 0.0], using="dense", limit=2, group_size=2, with_payload=["city"]
    ).groups
    assert [(group.id, ids(group.hits)) for group in groups] == [(7, [1]), (28, [2, 6])]
    assert groups[0].hits[0].payload == {"city": "Oslo"}


def test_facets(backend: QdrantClient, cities: str) -> None:
    hits = backend.facet(cities, key="tags", exact=True).hits
    assert {hit.value: hit.count for hit in hits} == {"north": 2, "sea": 1, "south": 1, "river": 1}


def test_pages_cover_everything_once(backend: QdrantClient, cities: str) -> None:
    seen: list[Any] = []
    offset = None
    while True:
        page, offset = backend.scroll(cities, limit=4, offset=offset)
        seen += ids(page)
        if offset is None:
            break
    assert seen == [1, 2, 3, 4, 5, 6]


def test_batch_of_queries(backend: QdrantClient, cities: str) -> None:
    requests = [models.QueryRequest(query=vector, using="dense", limit=1) for vector in ([1.0, 0.0, 0.0], [0.0, 0.0, 1.0])]
    assert [ids(one.points) for one in backend.query_batch_points(cities, requests)] == [[1], [5]]


def test_matrix_of_samples(backend: QdrantClient, cities: str) -> None:
    pairs = backend.search_matrix_pairs(cities, sample=6, limit=1, using="dense").pairs
    assert {(pair.a, pair.b) for pair in pairs} >= {(1, 2), (2, 1), (3, 4)}


def test_payload_changes(backend: QdrantClient) -> None:
    collection = make_cities(backend)
    backend.set_payload(collection, {"size": 8, "new": "x"}, points=[1])
    backend.set_payload(collection, {"inner": 1}, points=[1], key="deep")
    backend.overwrite_payload(collection, {"only": True}, points=[2])
    backend.delete_payload(collection, ["tags"], points=models.Filter(must=[match("city", "Bonn")]))
    backend.clear_payload(collection, points_selector=[5])
    payloads = {record.id: record.payload for record in backend.scroll(collection, limit=10)[0]}
    assert payloads[1] == {**CITIES[0][3], "size": 8, "new": "x", "deep": {"inner": 1}}
    assert payloads[2] == {"only": True}
    assert "tags" not in (payloads[4] or {})
    assert not payloads[5]


def test_deletion_by_ids_and_filter(backend: QdrantClient) -> None:
    collection = make_cities(backend)
    backend.delete(collection, points_selector=[1, 99])
    backend.delete(collection, points_selector=models.FilterSelector(filter=models.Filter(must=[match("size", 28)])))
    assert ids(backend.scroll(collection, limit=10)[0]) == [3, 4, 5]


def test_vectors_are_updated_and_removed(backend: QdrantClient) -> None:
    collection = make_cities(backend)
    backend.update_vectors(collection, [models.PointVectors(id=3, vector={"dense": [1.0, 0.0, 0.0]})])
    backend.delete_vectors(collection, ["dense"], points=[1])
    assert ids(backend.query_points(collection, query=[1.0, 0.0, 0.0], using="dense", limit=2).points) == [3, 2]
    assert backend.retrieve(collection, [1])[0].payload == CITIES[0][3]


def test_upsert_replaces_and_takes_columns(backend: QdrantClient) -> None:
    collection = make_cities(backend)
    uuid = str(uuid4())
    batch = models.Batch(ids=[1, uuid], vectors={"dense": [[0.0, 0.0, 1.0], [1.0, 1.0, 0.0]]}, payloads=[{"a": 1}, {"a": 2}])
    backend.upsert(collection, batch)
    records = {record.id: record.payload for record in backend.retrieve(collection, [1, UUID(uuid)])}
    assert records == {1: {"a": 1}, uuid: {"a": 2}}
    assert backend.count(collection).count == len(CITIES) + 1


def test_conditional_upsert(backend: QdrantClient) -> None:
    collection = make_cities(backend)
    points = [models.PointStruct(id=number, vector={"dense": [1.0, 1.0, 1.0]}, payload={"v": 2}) for number in (1, 50)]
    backend.upsert(collection, points, update_mode=models.UpdateMode.INSERT_ONLY)
    assert [record.payload for record in backend.retrieve(collection, [1, 50])] == [CITIES[0][3], {"v": 2}]


def test_batch_of_updates(backend: QdrantClient) -> None:
    collection = make_cities(backend)
    point = models.PointStruct(id=70, vector={"dense": [1.0, 1.0, 0.0]}, payload={})
    results = backend.batch_update_points(
        collection,
        [
            models.UpsertOperation(upsert=models.PointsList(points=[point])),
            models.SetPayloadOperation(set_payload=models.SetPayload(payload={"k": 1}, points=[70])),
            models.DeleteOperation(delete=models.PointIdsList(points=[1])),
        ],
    )
    assert [result.status for result in results] == [models.UpdateStatus.COMPLETED] * 3
    assert backend.retrieve(collection, [1, 70])[0].payload == {"k": 1}


def test_uploads(backend: QdrantClient) -> None:
    collection = make_cities(backend)
    points = (models.PointStruct(id=100 + number, vector={"dense": [1.0, float(number), 0.0]}, payload={}) for number in range(150))
    backend.upload_points(collection, points, wait=True)
    backend.upload_collection(collection, {"dense": np.eye(3, dtype=np.float32)}, ids=[500, 501, 502], wait=True)
    assert backend.count(collection).count == len(CITIES) + 153


def test_the_unnamed_vector(backend: QdrantClient) -> None:
    name = f"plain-{uuid4().hex[:8]}"
    backend.create_collection(name, vectors_config=models.VectorParams(size=2, distance=models.Distance.DOT))
    backend.upsert(name, [models.PointStruct(id=number, vector=[float(number), 1.0]) for number in range(3)])
    found = backend.query_points(name, query=[1.0, 0.0], limit=2, with_vectors=True).points
    assert [(point.id, point.score, point.vector) for point in found] == [(2, 2.0, [2.0, 1.0]), (1, 1.0, [1.0, 1.0])]


BAD_POINTS = {
    "short vector": models.PointStruct(id=7, vector={"dense": [1.0, 2.0]}),
    "unknown vector": models.PointStruct(id=7, vector={"nope": [1.0, 2.0, 3.0]}),
}


@pytest.mark.parametrize("fault", BAD_POINTS)
def test_a_bad_point_is_refused_and_changes_nothing(backend: QdrantClient, fault: str) -> None:
    collection = make_cities(backend)
    good = models.PointStruct(id=8, vector={"dense": [1.0, 2.0, 3.0]})
    with pytest.raises(REFUSED):
        backend.upsert(collection, [good, BAD_POINTS[fault]])
    if not (is_local(backend) and fault == "unknown vector"):  # local mode notices this one too late
        assert backend.count(collection).count == len(CITIES)


def is_local(client: QdrantClient) -> bool:
    return type(client._client).__name__ == "QdrantLocal"


def test_what_is_missing_is_refused(backend: QdrantClient, cities: str) -> None:
    with pytest.raises(REFUSED, match=r"not found|doesn't exist"):
        backend.query_points("missing", query=[1.0])
    with pytest.raises(REFUSED):
        backend.query_points(cities, query=[1.0, 2.0], using="dense")
    with pytest.raises(REFUSED):
        backend.query_points(cities, query=[1.0, 2.0, 3.0], using="nope")
    with pytest.raises(REFUSED):
        backend.query_points(cities, query=[1.0, 2.0, 3.0], using="dense", limit=0)


def test_search_parameters_are_taken(backend: QdrantClient, cities: str) -> None:
    params = models.SearchParams(hnsw_ef=64, exact=True, quantization=models.QuantizationSearchParams(rescore=True, oversampling=2.0))
    with warnings.catch_warnings():  # local mode says that it has no use for them
        warnings.simplefilter("ignore")
        found = backend.query_points(cities, query=[1.0, 0.0, 0.0], using="dense", search_params=params, limit=1).points
    assert ids(found) == [1]
