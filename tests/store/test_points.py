from __future__ import annotations

import uuid
from datetime import UTC, datetime
from types import MappingProxyType

import numpy as np
import pytest
from qdrant_client import models

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.store.points import assign_point_ids, content_hash, embedding_text, payload, point_id, to_hit, to_point
from qwen3_rag.types import Chunk, Document, Stage

DOCUMENT = Document(
    "handbook",
    "Rotate keys.\nRotate keys.",
    title="Keys",
    metadata=MappingProxyType({"team": {"name": "ops"}}),
    source="keys.md",
    tenant="acme",
)


def chunk(text: str = "Rotate keys.", ordinal: int = 0, document_id: str = "handbook", title: str | None = "Keys") -> Chunk:
    return Chunk(document_id, ordinal, text, 0, len(text), ("Yearly",), title, 3, "en")


def test_ids_are_stable_for_ever() -> None:
    first = point_id("handbook", content_hash(chunk()), 0)
    assert first == "6e351422-befc-544b-8fa9-6f69308a04e1"
    assert uuid.UUID(first).version == 5


def test_ids_depend_on_document_content_and_occurrence_only() -> None:
    ids = assign_point_ids([chunk(), chunk(ordinal=1), chunk("Other."), chunk(document_id="b"), chunk(title="Locks")])
    assert len(set(ids)) == 5
    assert assign_point_ids([chunk("New first."), chunk(ordinal=7), chunk(ordinal=9)])[1:] == ids[:2]


def test_parts_of_an_id_do_not_run_together() -> None:
    assert point_id("a:b", "c", 0) != point_id("a", "b:c", 0)


def test_payload_has_exactly_these_keys() -> None:
    assert payload(chunk(), DOCUMENT) == {
        "text": "Rotate keys.",
        "metadata": {"team": {"name": "ops"}},
        "document_id": "handbook",
        "ordinal": 0,
        "start": 0,
        "end": 12,
        "headings": ["Yearly"],
        "title": "Keys",
        "source": "keys.md",
        "tenant": "acme",
        "language": "en",
    }


def test_metadata_is_never_none_and_plain_json() -> None:
    assert payload(chunk(), Document("a", ""))["metadata"] == {}
    metadata = {"at": datetime(2024, 1, 2, tzinfo=UTC), "set": {1}}
    assert payload(chunk(), Document("a", "", metadata=metadata))["metadata"] == {"at": "2024-01-02T00:00:00Z", "set": [1]}
    assert metadata["set"] == {1}


def test_metadata_that_json_cannot_hold_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="document 'a' cannot be stored"):
        payload(chunk(), Document("a", "", metadata={"x": object()}))


def test_a_point_without_words_has_no_lexical_vector() -> None:
    dense = np.array([0.6, 0.8], dtype=np.float32)
    with_words = to_point(str(uuid.uuid4()), chunk(), DOCUMENT, dense, models.SparseVector(indices=[1], values=[0.5]))
    without = to_point(str(uuid.uuid4()), chunk("!"), DOCUMENT, dense, models.SparseVector(indices=[], values=[]))
    assert isinstance(with_words.vector, dict)
    assert isinstance(without.vector, dict)
    assert set(with_words.vector) == {"dense", "bm25"}
    assert set(without.vector) == {"dense"}
    assert without.vector["dense"] == pytest.approx([0.6, 0.8])


def test_a_hit_is_the_chunk_again() -> None:
    point = models.Record(id=str(uuid.UUID(int=1)), payload=payload(chunk(), DOCUMENT))
    hit = to_hit(point, score=0.5, stages={"dense": Stage(1, 0.5)})
    assert (hit.document_id, hit.ordinal, hit.text, hit.start, hit.end) == ("handbook", 0, "Rotate keys.", 0, 12)
    assert (hit.headings, hit.title, hit.source) == (("Yearly",), "Keys", "keys.md")
    assert hit.metadata == {"team": {"name": "ops"}}
    assert (hit.score, hit.reranked, hit.point_id) == (0.5, None, str(uuid.UUID(int=1)))
    assert embedding_text(hit) == chunk().embedding_text


def test_points_of_other_writers_still_give_hits() -> None:
    hit = to_hit(models.Record(id=7, payload={"text": "x", "metadata": None}), score=0.0, stages={})
    assert (hit.text, hit.metadata, hit.document_id, hit.point_id) == ("x", {}, "", "7")
