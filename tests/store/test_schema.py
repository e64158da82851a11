from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models

from qwen3_rag.errors import EmbeddingSpaceError, StoreError
from qwen3_rag.settings import Quantization, Settings, StoreSettings
from qwen3_rag.store import open_client
from qwen3_rag.store.schema import check_space, dense_params, ensure_collection, ensure_metadata_index, read_space
from qwen3_rag.types import EmbeddingSpace

SPACE = EmbeddingSpace(model="nano", revision="abc123", dim=8, template="qwen3-embedding-1")
SETTINGS = StoreSettings(collection="kb")


@pytest.fixture
def client() -> QdrantClient:
    return QdrantClient(":memory:")


def test_created_once_then_checked(client: QdrantClient) -> None:
    assert ensure_collection(client, SETTINGS, SPACE) is True
    assert ensure_collection(client, SETTINGS, SPACE) is False
    params = client.get_collection("kb").config.params
    assert isinstance(params.vectors, dict)
    assert (params.vectors["dense"].size, params.vectors["dense"].distance) == (8, models.Distance.COSINE)
    assert params.sparse_vectors is not None
    assert params.sparse_vectors["bm25"].modifier == models.Modifier.IDF


def test_the_collection_tells_its_space(client: QdrantClient) -> None:
    ensure_collection(client, SETTINGS, SPACE)
    assert read_space(client, "kb") == SPACE
    metadata = client.get_collection("kb").config.metadata
    assert metadata is not None
    assert metadata["qwen3_rag"]["fingerprint"] == SPACE.fingerprint
    assert metadata["qwen3_rag"]["schema_version"] == 1


def test_the_same_space_under_another_name_is_the_same(client: QdrantClient) -> None:
    ensure_collection(client, SETTINGS, SPACE)
    check_space(client, "kb", dataclasses.replace(SPACE, model="/models/nano"))


@pytest.mark.parametrize("change", [{"dim": 4}, {"revision": "def456"}, {"template": "other"}, {"pooling": "mean"}])
def test_another_space_is_refused_and_nothing_changes(client: QdrantClient, change: dict[str, Any]) -> None:
    ensure_collection(client, SETTINGS, SPACE)
    other = dataclasses.replace(SPACE, model="other/model", **change)
    with pytest.raises(EmbeddingSpaceError) as caught:
        ensure_collection(client, SETTINGS, other)
    message = str(caught.value)
    assert str(SPACE) in message
    assert str(other) in message
    assert f"qwen3-rag ingest PATH --kb NEW --embedder other/model --dim {other.dim}" in message
    assert all(str(value) in message for value in change.values())
    assert read_space(client, "kb") == SPACE


def test_somebody_elses_collection_is_refused(client: QdrantClient) -> None:
    client.create_collection("kb", vectors_config=models.VectorParams(size=8, distance=models.Distance.COSINE))
    with pytest.raises(StoreError, match=r"not made by qwen3-rag.*collection"):
        ensure_collection(client, SETTINGS, SPACE)


def test_a_newer_schema_and_a_missing_collection_are_refused(client: QdrantClient) -> None:
    with pytest.raises(StoreError, match="no collection 'kb'"):
        check_space(client, "kb", SPACE)
    client.create_collection("kb", vectors_config={}, metadata={"qwen3_rag": {"schema_version": 99}})
    with pytest.raises(StoreError, match="schema version 99"):
        check_space(client, "kb", SPACE)


@pytest.mark.parametrize(
    ("quantization", "kind"),
    [(Quantization.INT8, models.ScalarQuantization), (Quantization.BINARY, models.BinaryQuantization), (Quantization.NONE, type(None))],
)
def test_quantization_is_a_setting(quantization: Quantization, kind: type) -> None:
    params = dense_params(8, StoreSettings(quantization=quantization, on_disk=True))
    assert isinstance(params.quantization_config, kind)
    assert params.on_disk is True


class Recording:
    """Notes which payload indexes are asked for."""

    def __init__(self, present: dict[str, Any]) -> None:
        self.created: dict[str, Any] = {}
        self._present = present

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def collection_exists(self, collection: str) -> bool:
        return False

    def create_collection(self, collection: str, **params: Any) -> bool:
        return True

    def get_collection(self, collection: str) -> Any:
        return type("Info", (), {"payload_schema": self._present})

    def create_payload_index(self, collection: str, field: str, field_schema: Any, wait: bool) -> None:
        self.created[field] = field_schema


def test_payload_indexes_are_created_where_they_are_missing() -> None:
    client = Recording(present={"source": object()})
    ensure_collection(client, SETTINGS, SPACE)  # type: ignore[arg-type]
    assert set(client.created) == {"document_id", "passage_id", "language", "tenant"}
    assert client.created["tenant"].is_tenant is True


@pytest.mark.parametrize(
    ("example", "kind"),
    [
        ("x", "keyword"),
        (3, "float"),
        (2.5, "float"),
        (True, "bool"),
        (date(2024, 1, 1), "datetime"),
        (["x"], "keyword"),
        ({}, None),
        ([], None),
    ],
)
def test_metadata_indexes_follow_the_type_of_the_values(example: Any, kind: str | None) -> None:
    client = Recording(present={})
    assert ensure_metadata_index(client, "kb", "team", example) is (kind is not None)  # type: ignore[arg-type]
    assert {field: str(schema.value) for field, schema in client.created.items()} == ({"metadata.team": kind} if kind else {})


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[QdrantClient]:
    client = open_client(StoreSettings(path=str(tmp_path)))
    yield client
    client.close()


def kept(client: QdrantClient) -> tuple[type, bool | None, bool | None]:
    params = client.get_collection("kb").config.params
    assert isinstance(params.vectors, dict)
    assert params.sparse_vectors is not None
    index = params.sparse_vectors["bm25"].index
    return type(params.vectors["dense"].quantization_config), params.vectors["dense"].on_disk, index and index.on_disk


def test_a_collection_is_kept_as_settings_say_that_are_given_later(embedded: QdrantClient) -> None:
    ensure_collection(embedded, SETTINGS, SPACE)
    assert kept(embedded) == (models.ScalarQuantization, False, False)
    changed = dataclasses.replace(SETTINGS, quantization=Quantization.NONE, on_disk=True)
    ensure_collection(embedded, changed, SPACE)
    assert kept(embedded) == (type(None), True, True)
    ensure_collection(embedded, SETTINGS, SPACE)  # a forgotten option changes nothing
    assert kept(embedded) == (type(None), True, True)
    ensure_collection(embedded, dataclasses.replace(SETTINGS, quantization=Quantization.BINARY), SPACE)
    assert kept(embedded) == (models.BinaryQuantization, True, True)


def test_a_collection_that_is_kept_so_already_is_left_alone(embedded: QdrantClient, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = dataclasses.replace(SETTINGS, quantization=Quantization.INT8, on_disk=False)
    ensure_collection(embedded, settings, SPACE)
    monkeypatch.setattr(embedded, "update_collection", None)
    ensure_collection(embedded, settings, SPACE)


def test_what_was_not_set_stays_as_the_collection_has_it() -> None:
    assert (Settings.load().store.quantization, Settings.load().store.on_disk) == (None, None)
    given = Settings.load(quantization="int8", on_disk=False).store
    assert (given.quantization, given.on_disk) == (Quantization.INT8, False)
