"""A small collection whose content can be kept in mind."""

from __future__ import annotations

import warnings
from uuid import uuid4

from qdrant_client import QdrantClient, models

CITIES = [
    # id, dense, sparse, payload
    (1, [1.0, 0.0, 0.0], {1: 1.0, 2: 2.0}, {"city": "Oslo", "size": 7, "tags": ["north", "sea"], "founded": "1048-01-01T00:00:00Z"}),
    (2, [0.9, 0.1, 0.0], {2: 1.0, 3: 1.0}, {"city": "Rome", "size": 28, "tags": ["south"], "founded": "0753-04-21T00:00:00Z"}),
    (3, [0.0, 1.0, 0.0], {3: 2.0}, {"city": "Lima", "size": 100, "tags": [], "founded": "1535-01-18T00:00:00Z", "note": None}),
    (4, [0.0, 0.9, 0.4], {1: 0.5, 4: 1.0}, {"city": "Bonn", "size": 3, "tags": ["north", "river"], "text": "a quiet river town"}),
    (5, [0.0, 0.1, 1.0], {4: 3.0}, {"city": "Kyoto", "size": 15, "nested": [{"name": "a", "n": 1}, {"name": "b", "n": 2}]}),
    (6, [0.5, 0.5, 0.5], {5: 1.0}, {"city": "Quito", "size": 28, "place": {"lon": -78.5, "lat": -0.2}, "flag": True}),
]

INDEXES = {"city": "keyword", "size": "integer", "tags": "keyword", "founded": "datetime"}


def make_cities(client: QdrantClient, *, indexed: bool = False) -> str:
    """Creates the collection of `CITIES` under a new name."""
    name = f"cities-{uuid4().hex[:8]}"
    client.create_collection(
        name,
        vectors_config={
            "dense": models.VectorParams(size=3, distance=models.Distance.COSINE),
            "multi": models.VectorParams(
                size=2,
                distance=models.Distance.DOT,
                multivector_config=models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM),
            ),
        },
        sparse_vectors_config={"words": models.SparseVectorParams(modifier=models.Modifier.IDF)},
        metadata={"fingerprint": "abc"},
    )
    with warnings.catch_warnings():  # local mode has no payload indexes and says so
        warnings.simplefilter("ignore")
        for field, kind in INDEXES.items() if indexed else ():
            client.create_payload_index(name, field, field_schema=models.PayloadSchemaType(kind), wait=True)
    client.upsert(name, [city_point(*city) for city in CITIES], wait=True)
    return name


def city_point(number: int, dense: list[float], sparse: dict[int, float], payload: dict[str, object]) -> models.PointStruct:
    words = models.SparseVector(indices=list(sparse), values=list(sparse.values()))
    multi = [[float(number), 0.0], [0.0, 1.0]]
    return models.PointStruct(id=number, vector={"dense": dense, "words": words, "multi": multi}, payload=payload)
