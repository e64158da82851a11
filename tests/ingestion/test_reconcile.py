"""A store that fell behind its catalog is noticed, and what it must not hold any more goes."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import UnexpectedResponse

from qwen3_rag import Document, KnowledgeBase, Settings
from qwen3_rag.catalog import Catalog
from qwen3_rag.errors import StoreError
from qwen3_rag.store import EdgeClient
from qwen3_rag.store.stamp import Stamp, read_stamp
from qwen3_rag.types import Passage
from tests.fakes import HashEmbedder

OLD = [Document(id=f"d{number}", text=f"widget {number} costs ten") for number in range(5)]
NEW = Document(id="d0", text="widget 0 costs ninety")


def open_kb(folder: Path, client: QdrantClient | None = None, **settings: Any) -> KnowledgeBase:
    return KnowledgeBase.open(settings=Settings.load(kb=folder, **settings), embedder=HashEmbedder(), client=client)


def texts(kb: KnowledgeBase, document_id: str = "d0") -> list[str]:
    return sorted(hit.text for hit in kb.search("widget 0 costs", top_k=20) if hit.document_id == document_id)


@pytest.fixture
def two_catalogs(tmp_path: Path) -> Iterator[tuple[KnowledgeBase, KnowledgeBase]]:
    """Two knowledge bases over one collection, which both catalogs know."""
    client = QdrantClient(":memory:")
    with open_kb(tmp_path / "one", client) as one, open_kb(tmp_path / "two", client) as two:
        one.ingest([])
        two.passages().put([Passage("note", "now both catalogs know the collection")])
        yield one, two


@pytest.fixture
def put_back(tmp_path: Path) -> Path:
    """A knowledge base whose store was put back to where it was before an update; the catalog was not."""
    folder = tmp_path / "kb"
    with open_kb(folder) as kb:
        kb.ingest(OLD)
        kb.passages().put([Passage("note", "widget 0 is a passage")])
    shutil.copytree(folder / "store", tmp_path / "before")
    with open_kb(folder) as kb:
        kb.ingest(NEW)
        assert texts(kb) == [NEW.text]
    shutil.rmtree(folder / "store")
    (tmp_path / "before").rename(folder / "store")
    return folder


@pytest.mark.parametrize("force", [False, True], ids=["plain", "forced"])
def test_a_store_that_was_put_back_is_brought_in_line_by_an_ingest(put_back: Path, force: bool, caplog: pytest.LogCaptureFixture):
    with open_kb(put_back) as kb:
        assert texts(kb) == [OLD[0].text]  # numbers agree, only the run tells
        assert kb.ingest(NEW, force=force).updated == 1
        assert texts(kb) == [NEW.text]
        assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.WARNING]
        assert (kb.status().chunks, kb.status().points, kb.status().passages) == (5, 5, 1)
        assert kb.ingest([*OLD[1:], NEW]).unchanged == 5


def test_a_document_of_a_store_that_was_put_back_can_be_deleted(put_back: Path):
    with open_kb(put_back) as kb:
        assert kb.delete("d0") == 1
        assert texts(kb) == []
        assert (kb.status().chunks, kb.status().points) == (4, 4)
        assert [hit.passage_id for hit in kb.passages().get(["note"])] == ["note"]


def test_what_a_deletion_left_in_a_store_that_was_put_back_goes_by_force(tmp_path: Path):
    with open_kb(tmp_path / "kb") as kb:
        kb.ingest(OLD)
    shutil.copytree(tmp_path / "kb" / "store", tmp_path / "before")
    with open_kb(tmp_path / "kb") as kb:
        kb.delete("d0")
    shutil.rmtree(tmp_path / "kb" / "store")
    (tmp_path / "before").rename(tmp_path / "kb" / "store")
    with open_kb(tmp_path / "kb") as kb:
        with pytest.raises(StoreError, match=r"1 chunks of documents that the catalog .* --force"):
            kb.ingest(OLD[1:])
        assert kb.ingest(OLD[1:], force=True).updated == 4
        assert texts(kb) == []


def test_points_of_other_writers_stay(tmp_path: Path):
    client = QdrantClient(":memory:")
    with open_kb(tmp_path, client) as kb:
        kb.ingest(OLD)
        foreign = models.PointStruct(id=7, vector={"dense": [1.0] * 64}, payload={"page_content": "theirs", "document_id": "d0"})
        client.upsert("documents", [foreign])
        kb.passages().put([Passage("note", "a passage")])
        kb.ingest(OLD, force=True)
        assert client.retrieve("documents", [7])
        assert (kb.status().points, kb.status().passages) == (6, 1)


def test_points_of_another_catalog_are_neither_deleted_nor_added_to(two_catalogs: tuple[KnowledgeBase, KnowledgeBase]):
    one, two = two_catalogs
    one.ingest(OLD)
    with pytest.raises(StoreError, match="5 points that another catalog"):
        two.ingest([NEW])
    one.ingest(OLD)
    assert one.status().points == 5


def forget_stamps(client: QdrantClient) -> None:
    """As a collection of an older version, or behind a key that may not change collections."""
    described = dict(client.get_collection("documents").config.metadata or {})
    described["qwen3_rag"] = {key: value for key, value in described["qwen3_rag"].items() if key != "written_by"}
    client.update_collection("documents", metadata=described)


def test_what_an_unclaimed_collection_holds_of_unknown_documents_goes_by_force_only(two_catalogs: tuple[KnowledgeBase, KnowledgeBase]):
    one, two = two_catalogs
    one.ingest(OLD)
    forget_stamps(one._client)
    for _ in range(2):
        with pytest.raises(StoreError, match="5 chunks of documents that the catalog"):
            two.ingest([Document("other", "of the second catalog")])
    assert one.ingest(OLD).unchanged == 5
    forget_stamps(one._client)
    assert two.ingest([Document("other", "of the second catalog")], force=True).added == 1
    assert (two.status().points, two.status().passages) == (1, 1)


def test_another_catalog_that_begins_meanwhile_is_told(two_catalogs: tuple[KnowledgeBase, KnowledgeBase]):
    one, two = two_catalogs

    def meanwhile() -> Any:
        yield OLD[0]
        two.ingest([])  # nothing of the first batch is written yet
        yield from OLD[1:]

    with pytest.raises(StoreError, match="since this run began"):
        one.ingest(meanwhile())
    with pytest.raises(StoreError, match="5 chunks of documents that the catalog"):
        two.ingest([NEW])
    assert one.status().points == 5


def test_a_point_with_a_number_for_an_id_is_no_trouble(tmp_path: Path):
    with open_kb(tmp_path) as kb:
        kb.ingest(OLD)
        kb._client.upsert("documents", [models.PointStruct(id=7, vector={"dense": [1.0] * 64}, payload={"page_content": "theirs"})])
        assert kb.ingest(OLD).unchanged == kb.ingest(OLD, force=True).updated == 5
        assert kb._client.retrieve("documents", [7])


def test_points_of_other_writers_do_not_have_every_run_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    client = QdrantClient(":memory:")
    with open_kb(tmp_path, client) as kb:
        kb.ingest(OLD)
        client.upsert("documents", [models.PointStruct(id=7, vector={"dense": [1.0] * 64}, payload={"page_content": "theirs"})])
        monkeypatch.setattr(client, "scroll", lambda *_, **__: pytest.fail("compared"))
        assert kb.ingest(OLD).unchanged == 5


def test_a_run_that_did_not_end_has_the_next_one_compare(tmp_path: Path):
    client = QdrantClient(":memory:")

    def broken() -> Any:
        yield OLD[1]
        raise RuntimeError("the source broke")

    with open_kb(tmp_path, client) as kb:
        kb.ingest(OLD)
        with pytest.raises(RuntimeError):
            kb.ingest(broken())
        stamp = read_stamp(client, "documents")
        assert stamp is not None
        assert stamp.run == kb.catalog.runs("documents")[1].id
        orphan = client.retrieve("documents", [next(iter(kb.search("widget 0", top_k=1))).point_id], with_payload=True, with_vectors=True)[
            0
        ]
        lost = next(hit for hit in kb.search("widget 3", top_k=5) if hit.document_id == "d3").point_id
        client.upsert("documents", [models.PointStruct(id=9, vector=orphan.vector, payload=orphan.payload)])  # type: ignore[arg-type]
        client.delete("documents", [lost])
        assert (kb.ingest(OLD).updated, texts(kb)) == (1, [OLD[0].text])
        assert read_stamp(client, "documents") == Stamp(stamp.catalog, stamp.run + 2)


def test_a_key_that_may_not_change_collections_has_every_run_compare(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    client = QdrantClient(":memory:")

    def forbidden(*args: Any, **kwargs: Any) -> bool:
        raise UnexpectedResponse(403, "Forbidden", b"{}", None)  # type: ignore[arg-type]

    monkeypatch.setattr(client, "update_collection", forbidden)
    with open_kb(tmp_path, client) as kb:
        kb.ingest(OLD)
        assert kb.ingest(OLD).unchanged == 5
        assert read_stamp(client, "documents") is None


def test_the_store_is_on_the_disk_before_the_catalog_forgets(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """After every write that is followed by forgetting, and at the end of a run."""
    events: list[str] = []

    def noted(owner: type, name: str) -> None:
        method = getattr(owner, name)

        def call(*args: Any, **kwargs: Any) -> Any:
            if args[1:] != ([],):  # nothing to forget
                events.append(name)
            return method(*args, **kwargs)

        monkeypatch.setattr(owner, name, call)

    with open_kb(tmp_path) as kb:
        kb.ingest(OLD)
        for name in ("upsert", "delete", "batch_update_points", "sync"):
            noted(EdgeClient, name)
        for name in ("finish_writes", "finish_deletes", "finish_run"):
            noted(Catalog, name)
        kb.ingest(NEW)
        assert events == ["upsert", "delete", "sync", "finish_writes", "sync", "finish_run"]
        events.clear()
        kb.ingest(Document(id="d1", text=OLD[1].text, metadata={"price": 10}))
        assert events == ["batch_update_points", "sync", "finish_writes", "sync", "finish_run"]
        events.clear()
        kb.delete("d2")
        assert events == ["delete", "sync", "finish_deletes"]
        events.clear()
        kb.ingest(NEW)
        assert events == ["sync", "finish_run"]
