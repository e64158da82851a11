"""A knowledge base that was opened while it was empty, and that another instance filled; and searches while documents change."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from qdrant_client import QdrantClient

from qwen3_rag import Document, KnowledgeBase, Passage, Passages, Settings
from qwen3_rag.errors import EmbeddingSpaceError, WriterBusyError
from qwen3_rag.models.binding import ModelBinding, ModelChoice, Remembered
from qwen3_rag.settings import DEFAULT_EMBEDDER
from tests.fakes import HashEmbedder

LONG = " ".join(f"word{number}" for number in range(90))


@pytest.fixture
def client() -> Iterator[QdrantClient]:
    client = QdrantClient(":memory:")
    yield client
    client.close()


@pytest.fixture
def pair(tmp_path: Path, client: QdrantClient) -> Iterator[Any]:
    """Opens a service before, and a writer after; both on one catalog and one store, as on a server."""
    with ExitStack() as opened:

        def open_both(service: dict[str, Any], writer: dict[str, Any]) -> list[KnowledgeBase]:
            return [opened.enter_context(KnowledgeBase.open(tmp_path / "kb", client=client, **options)) for options in (service, writer)]

        yield open_both


def test_another_embedder_than_it_was_filled_with_since_is_refused(pair: Any):
    service, writer = pair({"embedder": HashEmbedder(model="b", revision="b")}, {"embedder": HashEmbedder(model="a", revision="a")})
    assert service.search("keys") == []  # which loads its embedder
    writer.ingest([Document("keys", "keys are rotated")])
    for write_or_read in (
        lambda: service.search("keys"),
        lambda: service.passages().put([Passage("p", "keys")]),
        lambda: service.ingest([Document("lunch", "lunch at noon")]),
    ):
        for _ in range(2):
            with pytest.raises(EmbeddingSpaceError, match="vectors of a "):
                write_or_read()
    assert [hit.document_id for hit in writer.search("keys")] == ["keys"]
    assert writer.passages().count() == 1


def test_an_embedder_at_its_own_dim_follows_what_it_was_filled_with(pair: Any):
    service, writer = pair({"embedder": HashEmbedder()}, {"embedder": HashEmbedder(), "settings": Settings.load(dim=32)})
    assert service.search("keys") == []
    writer.ingest([Document("keys", "keys are rotated")])
    assert [hit.document_id for hit in service.search("keys")] == ["keys"]
    assert service.status().dim == 32


def test_what_is_only_the_default_gives_way_to_what_it_was_filled_with(monkeypatch: pytest.MonkeyPatch):
    made: list[Remembered] = []
    binding = ModelBinding(ModelChoice(), lambda: made[0] if made else None)
    loaded = {name: HashEmbedder(model=name, revision=name) for name in (DEFAULT_EMBEDDER, "other")}
    monkeypatch.setattr(ModelBinding, "_load_embedder", lambda self: loaded[self.embedder_name])
    assert binding.embedder() is loaded[DEFAULT_EMBEDDER]
    made.append(Remembered(loaded["other"].space, "its reranker"))
    assert binding.embedder() is loaded["other"]
    assert binding.reranker_name == "its reranker"


def test_documents_are_cut_as_the_one_who_filled_it_said(pair: Any):
    models = {"embedder": HashEmbedder(), "reranker": "off"}
    service, writer = pair(models, models | {"settings": Settings.load(chunk_tokens=32)})
    writer.ingest([Document("long", LONG)])
    assert service.ingest([Document("long", LONG), Document("other", LONG)]).counts()["unchanged"] == 1
    assert service.document("other").chunks == writer.document("long").chunks > 2


def test_a_client_of_ones_own_learns_it_too(client: QdrantClient):
    early = Passages.open(client, embedder=HashEmbedder(model="b", revision="b"))
    assert early.search("keys") == []
    Passages.open(client, embedder=HashEmbedder(model="a", revision="a")).put([Passage("p", "keys")])
    with pytest.raises(EmbeddingSpaceError):
        early.search("keys")
    with pytest.raises(EmbeddingSpaceError):
        early.put([Passage("q", "keys")])


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical", "diverse"])
def test_a_document_that_changes_between_recall_and_fetch_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str):
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker="off") as kb:
        kb.ingest([Document("d", "the zebra rule in edition 1"), Document("e", "bread and soup")])
        passages, retrieve, changed = kb.passages(), kb._client.retrieve, []

        def changing(*args: Any, **options: Any) -> Any:
            if not changed:
                changed.append(kb.ingest([Document("d", "the zebra rule in edition 2")]))
            return retrieve(*args, **options)

        monkeypatch.setattr(kb._client, "retrieve", changing)
        hits = passages.search_diverse("zebra rule", top_k=1) if mode == "diverse" else kb.search("zebra rule", 1, mode=mode)
    assert [hit.text for hit in hits] == ["the zebra rule in edition 2"]


def test_documents_that_go_all_the_time_end_a_search_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker="off") as kb:
        kb.ingest([Document("d", "the zebra rule")])
        monkeypatch.setattr(kb._client, "retrieve", lambda *_, **__: [])
        hits = kb.search("zebra rule", explain=True)
    assert hits == []
    assert [step.note for step in hits.trace.steps if step.name == "fetch"] == ["1 deleted or replaced since recall"] * 4


@pytest.mark.timeout(60)
@pytest.mark.parametrize("first", [True, False])
def test_a_generator_that_writes_to_what_it_is_ingested_into_is_told_so(tmp_path: Path, first: bool):
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker="off") as kb:
        kb.ingest([Document("old", "keys")])

        def moved() -> Iterator[Document]:
            if not first:
                yield Document("another", "lunch")
            kb.delete("old")
            yield Document("new", "keys")

        with pytest.raises(WriterBusyError, match="generator that itself wants to write"):
            kb.ingest(moved())
        assert kb.delete("old") == 1  # afterwards it may


def test_another_thread_may_write_while_a_generator_is_ingested(tmp_path: Path):
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker="off") as kb:
        kb.ingest([Document("old", "keys")])
        deleting = threading.Thread(target=lambda: kb.delete("old"))

        def slow() -> Iterator[Document]:
            deleting.start()
            deleting.join(0.2)
            yield Document("new", "keys")

        kb.ingest(slow())
        deleting.join(30)
        assert [record.document_id for record in kb.documents()] == ["new"]
