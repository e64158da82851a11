"""The facade over the real rooms: embedded engine, SQLite, files on disk. Only the models are fakes."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import pytest
from qdrant_client import models

from qwen3_rag import Document, KnowledgeBase, Settings
from qwen3_rag.catalog import Catalog, DocumentState
from qwen3_rag.errors import ConfigurationError, EmbeddingSpaceError, MassDeletionError, SourceUnavailableError, StoreError
from qwen3_rag.ingestion.known import ITEMS_PER_QUESTION
from qwen3_rag.types import Syntax
from tests.fakes import HashEmbedder, OverlapReranker

OTTER = "The otter sleeps on its back in the kelp and holds a paw of its neighbour."
KETTLE = "Descale the kettle with vinegar once a month, then rinse it twice."
LEDGER = "The ledger closes on the fifth working day; late invoices go to the next month."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "otter.md").write_text(f"# Otters\n\n{OTTER}\n", encoding="utf-8")
    (docs / "kettle.txt").write_text(KETTLE, encoding="utf-8")
    (docs / "ledger.md").write_text(f"# Finance\n\n## Closing\n\n{LEDGER}\n", encoding="utf-8")
    return docs


@pytest.fixture
def embedder() -> HashEmbedder:
    return HashEmbedder()


def test_a_folder_goes_in_and_answers_come_out(tmp_path: Path, folder: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        report = kb.ingest(folder)
        assert (report.added, report.failed, report.skipped) == (3, [], [])
        hit = kb.search("when ledger closes working day", top_k=1)[0]
    assert hit.document_id == (folder / "ledger.md").as_posix()
    assert hit.headings == ("Closing",)
    assert hit.title == "Finance"
    assert LEDGER in hit.text
    assert (folder / "ledger.md").read_text(encoding="utf-8")[hit.start : hit.end] == hit.text
    assert {"dense", "lexical", "fused"} <= set(hit.stages)


def test_a_second_ingest_does_nothing(tmp_path: Path, folder: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest(folder)
        embedder.embedded.clear()
        report = kb.ingest(folder)
    assert (report.unchanged, report.added, report.updated, report.chunks_embedded) == (3, 0, 0, 0)
    assert embedder.embedded == []


def test_only_changed_chunks_are_embedded(tmp_path: Path, embedder: HashEmbedder):
    path = tmp_path / "docs" / "long.md"
    path.parent.mkdir()
    sections = [f"# Part {number}\n\n{f'word{number} ' * 40}\n\n" for number in range(6)]
    path.write_text("".join(sections), encoding="utf-8")
    settings = Settings.load(kb=tmp_path / "kb", chunk_tokens=64)
    with KnowledgeBase.open(settings=settings, embedder=embedder) as kb:
        first = kb.ingest(path.parent)
        embedder.embedded.clear()
        path.write_text("".join([sections[0], "# Part one and a half\n\nsomething new\n\n", *sections[1:]]), encoding="utf-8")
        second = kb.ingest(path.parent)
        assert (second.updated, second.chunks_kept) == (1, first.chunks_embedded)
        assert len(embedder.embedded) == 1
        text = path.read_text(encoding="utf-8")
        hits = kb.search("word5", top_k=20)
        assert all(text[hit.start : hit.end] == hit.text for hit in hits)


def test_vanished_files_are_deleted(tmp_path: Path, folder: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest(folder)
        (folder / "otter.md").unlink()
        assert kb.ingest(folder).deleted == 1
        assert kb.status().documents == kb.status().points == 2


def test_an_emptied_folder_is_refused_and_nothing_is_lost(tmp_path: Path, folder: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest(folder)
        for path in folder.iterdir():
            path.unlink()
        with pytest.raises(MassDeletionError):
            kb.ingest(folder)
        assert kb.status().documents == 3
        kb_settings = Settings.load(kb=tmp_path / "kb", max_delete_share=1.0)
    with KnowledgeBase.open(settings=kb_settings, embedder=embedder) as kb:
        assert kb.ingest(folder).deleted == 3


def test_documents_are_added_and_replaced_by_id(tmp_path: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest([Document(id="a", text=OTTER, metadata={"kind": "animal"}), Document(id="b", text=KETTLE)])
        report = kb.ingest([Document(id="a", text=LEDGER, metadata={"kind": "paper"})])
        assert (report.updated, report.deleted) == (1, 0)
        assert {hit.document_id for hit in kb.search("ledger otter kettle")} == {"a", "b"}
        assert [hit.text for hit in kb.search("otter", filters={"kind": "paper"})] == [LEDGER]


def test_a_change_of_metadata_alone_embeds_nothing_and_is_found(tmp_path: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest([Document(id="a", text=OTTER, metadata={"year": 2024})])
        embedder.embedded.clear()
        assert kb.ingest([Document(id="a", text=OTTER, metadata={"year": 2025})]).updated == 1
        assert embedder.embedded == []
        assert kb.search("otter", filters={"year": 2024}) == []
        assert kb.search("otter", filters={"year": 2025})[0].metadata == {"year": 2025}


def test_one_id_twice_in_a_run_is_a_failure_not_a_guess(tmp_path: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        report = kb.ingest([Document(id="a", text=OTTER), Document(id="a", text=KETTLE)])
        assert (report.added, len(report.failed)) == (1, 1)
        assert kb.search("otter kettle")[0].text == OTTER


def test_it_remembers_its_models(tmp_path: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest([Document(id="a", text=OTTER)])
    with KnowledgeBase.open(tmp_path / "kb") as kb:
        assert (kb.status().embedder, kb.status().dim) == ("hash", 64)
        assert kb.search("otter", mode="lexical")[0].document_id == "a"


def test_it_remembers_how_documents_are_cut(tmp_path: Path, embedder: HashEmbedder):
    document = Document(id="a", text="\n\n".join(f"{OTTER} {number}" for number in range(8)))
    with KnowledgeBase.open(settings=Settings.load(kb=tmp_path / "kb", chunk_tokens=32), embedder=embedder) as kb:
        kb.ingest([document])
        chunks = kb.status().chunks
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        assert kb.ingest([document]).unchanged == 1
    with KnowledgeBase.open(settings=Settings.load(kb=tmp_path / "kb", chunk_tokens=512), embedder=embedder) as kb:
        assert kb.ingest([document]).updated == 1
        assert kb.status().chunks < chunks
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        assert kb.ingest([document]).unchanged == 1


@pytest.mark.parametrize(
    ("other", "settings"),
    [(HashEmbedder(revision="2"), {}), (HashEmbedder(), {"dim": 32})],
    ids=["other weights", "other dim"],
)
def test_another_embedding_space_is_refused(tmp_path: Path, embedder: HashEmbedder, other: HashEmbedder, settings: dict[str, int]):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest([Document(id="a", text=OTTER)])
    with pytest.raises(EmbeddingSpaceError, match="qwen3-rag ingest"):
        KnowledgeBase.open(settings=Settings.load(kb=tmp_path / "kb", **settings), embedder=other).ingest([Document(id="b", text=KETTLE)])
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        assert kb.status().documents == 1


def test_dim_is_a_setting(tmp_path: Path, embedder: HashEmbedder):
    settings = Settings.load(kb=tmp_path / "kb", dim=32)
    with KnowledgeBase.open(settings=settings, embedder=embedder) as kb:
        kb.ingest([Document(id="a", text=OTTER)])
        assert kb.status().dim == 32
        assert kb.search("otter", mode="dense")[0].document_id == "a"


def test_the_reranker_decides(tmp_path: Path, embedder: HashEmbedder):
    reranker = OverlapReranker()
    documents = [Document(id="a", text=OTTER), Document(id="b", text=KETTLE), Document(id="c", text=LEDGER)]
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder, reranker=reranker) as kb:
        kb.ingest(documents)
        hits = kb.search("rinse it twice kelp", top_k=3)
        assert hits[0].stages["rerank"].rank == 1
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        reranker.scored.clear()
        assert all(hit.reranked is None for hit in kb.search("rinse", rerank=False))
        assert reranker.scored == []


async def test_recall_and_reranker_decide_together(tmp_path: Path, embedder: HashEmbedder):
    documents = [Document(id="a", text=OTTER), Document(id="b", text=KETTLE), Document(id="c", text=LEDGER)]
    settings = Settings.load(kb=tmp_path / "kb", rerank_weight=0.0)
    with KnowledgeBase.open(settings=settings, embedder=embedder, reranker=OverlapReranker()) as kb:
        kb.ingest(documents)
        query = "in the kettle and on the month"
        recalled = [hit.document_id for hit in kb.search(query, rerank=False)]
        reranked = [hit.document_id for hit in kb.search(query, rerank_weight=1.0)]
        assert recalled[-1] == reranked[0] == "a"
        assert [hit.document_id for hit in kb.search(query)] == recalled  # as the settings say
        hits = kb.search(query, rerank_weight=0.4)
        assert [hit.stages["blended"].rank for hit in hits] == [1, 2, 3]
        assert {hit.document_id: hit.score for hit in hits} == {hit.document_id: hit.score for hit in kb.search(query, rerank_weight=1.0)}
        assert hits[0].to_dict()["stages"].keys() >= {"fused", "rerank", "blended"}
        assert await kb.asearch(query, rerank_weight=0.4) == hits


def test_deleting_by_id(tmp_path: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest([Document(id="a", text=OTTER), Document(id="b", text=KETTLE)])
        assert kb.delete(["a", "unknown"]) == 1
        state = kb.status()
        assert (state.documents, state.chunks, state.points) == (1, 1, 1)


def test_an_empty_knowledge_base_answers_with_nothing(tmp_path: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        assert kb.search("anything") == []
        assert kb.status().documents == 0
        assert kb.delete("a") == 0


def test_what_cannot_be_found_changes_nothing(tmp_path: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        with pytest.raises(SourceUnavailableError, match="nowhere"):
            kb.ingest(tmp_path / "nowhere")
        with pytest.raises(ConfigurationError, match="mixed"):
            kb.ingest([Document(id="a", text=OTTER), tmp_path])  # type: ignore[list-item]


@pytest.mark.parametrize(
    "options", [{"mode": "psychic"}, {"fusion": "cold"}, {"top_k": 0}, {"rerank": True}, {"rerank_weight": 2.0}], ids=str
)
def test_a_search_that_cannot_be_done_says_so(tmp_path: Path, embedder: HashEmbedder, options: dict[str, object]):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest([Document(id="a", text=OTTER)])
        with pytest.raises(ConfigurationError):
            kb.search("otter", **options)  # type: ignore[arg-type]


def test_a_bad_file_fails_alone(tmp_path: Path, folder: Path, embedder: HashEmbedder):
    (folder / "broken.json").write_text('{"half": ', encoding="utf-8")
    (folder / "empty.md").write_bytes(b"")
    (folder / "picture.md").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR")
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        report = kb.ingest(folder)
        assert report.added == 3
        assert {Path(item.document_id).name for item in [*report.failed, *report.skipped]} == {"broken.json", "empty.md", "picture.md"}
        assert all(item.reason for item in [*report.failed, *report.skipped])
        again = kb.ingest(folder)
        assert [failure.attempts for failure in kb.failures()] == [2] * len(again.failed)
        (folder / "broken.json").write_text('{"whole": "teapot"}', encoding="utf-8")
        assert kb.ingest(folder).added == 1
        assert [Path(failure.document_id).name for failure in kb.failures() if failure.document_id.endswith("broken.json")] == []


def test_a_document_that_the_store_refuses_fails_alone(tmp_path: Path, embedder: HashEmbedder, monkeypatch: pytest.MonkeyPatch):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder, reranker="off") as kb:
        upsert = kb._client.upsert

        def refusing(collection: str, points: list[models.PointStruct], **options: object) -> object:
            if any(point.payload["document_id"] == "bad" for point in points):
                raise StoreError("the server refuses it")
            return upsert(collection, points, **options)

        monkeypatch.setattr(kb._client, "upsert", refusing)
        report = kb.ingest([Document(id="good", text="one"), Document(id="bad", text="two")])
        assert report.added == 1
        assert [(item.document_id, item.stage, item.reason) for item in report.failed] == [("bad", "store", "the server refuses it")]
        assert [hit.document_id for hit in kb.search("one two")] == ["good"]


async def test_searching_does_not_block_the_loop(tmp_path: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest([Document(id="a", text=OTTER)])
        assert (await kb.asearch("otter", top_k=1, explain=True)).trace is not None


def test_an_emptied_document_goes_an_unreadable_one_stays(tmp_path: Path, folder: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest(folder)
        (folder / "kettle.txt").write_bytes(b"")
        (folder / "otter.md").write_bytes(b"\x00\x01\x02 not text any more \x00")
        report = kb.ingest(folder)
        assert (report.deleted, len(report.skipped) + len(report.failed)) == (1, 2)
        assert {Path(item.document_id).name for item in kb.documents()} == {"ledger.md", "otter.md"}
        kb.ingest([Document(id="a", text=OTTER)])
        assert kb.ingest([Document(id="a", text=" \n ")]).skipped[0].reason == "there is no text in it"
        assert "a" not in {item.document_id for item in kb.documents()}


def test_a_knowledge_base_inside_the_ingested_folder_does_not_eat_itself(tmp_path: Path, folder: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(folder / "kb", embedder=embedder) as kb:
        assert (kb.ingest(folder).added, kb.ingest(folder).added) == (3, 0)


def test_points_that_the_store_lost_come_back(tmp_path: Path, folder: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest(folder)
        lost = kb.search("otter", top_k=1)[0]
        kb._client.delete("documents", points_selector=[lost.point_id], wait=True)
        embedder.embedded.clear()
        report = kb.ingest(folder)
        assert (report.updated, report.unchanged, len(embedder.embedded)) == (1, 2, 1)
        assert kb.search("otter", top_k=1)[0].point_id == lost.point_id
        assert kb.ingest(folder).unchanged == 3


def test_a_file_given_by_itself_belongs_to_its_folder(tmp_path: Path, folder: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest(folder / "otter.md")
        kb.ingest(folder)
        (folder / "otter.md").unlink()
        assert kb.ingest(folder).deleted == 1


def test_narrower_globs_delete_nothing_that_is_still_there(tmp_path: Path, folder: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest(folder)
    with KnowledgeBase.open(settings=Settings.load(kb=tmp_path / "kb", include=("*.md",)), embedder=embedder) as kb:
        assert kb.ingest(folder).deleted == 0
        assert kb.status().documents == 3


@pytest.mark.parametrize("name", ["what?x=1", "50%20off", "ümläut und leer", "a#b"])
def test_any_name_of_a_folder_will_do(tmp_path: Path, embedder: HashEmbedder, name: str):
    with KnowledgeBase.open(tmp_path / name, embedder=embedder) as kb:
        kb.ingest([Document(id="a", text=OTTER)])
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]
    assert (tmp_path / name / "catalog.db").is_file()


def test_the_home_folder_may_be_written_as_a_tilde(tmp_path: Path, embedder: HashEmbedder, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with KnowledgeBase.open("~/kb", embedder=embedder) as kb:
        kb.ingest([Document(id="a", text=OTTER)])
    assert {"catalog.db", "store"} <= {path.name for path in (tmp_path / "kb").iterdir()}


def test_a_folder_that_was_there_before_is_not_hidden(tmp_path: Path, folder: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(folder, embedder=embedder) as kb:
        assert kb.ingest(folder).added == 3
    assert not (folder / ".gitignore").exists()


def test_language_tags_are_read_as_languages(tmp_path: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest([Document(id="a", text="Die Schlüssel werden gewechselt.", language="de-AT")])
        assert kb.status().languages == {"de": 1}
        assert kb.search("Schlüssel", filters={"language": "de"})[0].document_id == "a"


def test_adding_documents_asks_only_for_those(tmp_path: Path, embedder: HashEmbedder, monkeypatch: pytest.MonkeyPatch):
    """One document more costs the same however many there are."""
    asked: list[list[str]] = []
    states = Catalog.document_states

    def watched(catalog: Catalog, collection: str, root: str | None = None, ids: Iterable[str] | None = None) -> dict[str, DocumentState]:
        assert ids is not None, "all documents were asked for"
        asked.append(sorted(ids))
        return states(catalog, collection, root, asked[-1])

    monkeypatch.setattr(Catalog, "document_states", watched)
    file = tmp_path / "a.md"
    file.write_text("one file", encoding="utf-8")
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder, reranker="off") as kb:
        kb.ingest([Document(id=f"{number:03}", text="one") for number in range(ITEMS_PER_QUESTION + 1)])
        report = kb.ingest(iter([Document(id="000", text="two"), Document(id="001", text="one"), Document(id="new", text="one")]))
        assert (report.updated, report.unchanged, report.added) == (1, 1, 1)
        kb.ingest(Document(id="000", text="  "))
        assert kb.document("000") is None
        assert [kb.ingest(file).added, kb.ingest(file).unchanged] == [1, 1]
    assert [len(ids) for ids in asked] == [ITEMS_PER_QUESTION, 1, 3, 1, 1, 1]


def test_a_title_that_takes_the_place_of_a_heading_is_stored_without_embedding_anew(tmp_path: Path, embedder: HashEmbedder):
    text = f"# Animals\n\n## Sea\n\n{OTTER}\n"
    untitled = Document("a", text, syntax=Syntax.MARKDOWN)
    titled = replace(untitled, title="Animals")
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest(untitled)
        assert (kb.search("otter")[0].title, kb.search("otter")[0].headings) == (None, ("Animals", "Sea"))
        for document, title, headings in ((titled, "Animals", ("Sea",)), (untitled, None, ("Animals", "Sea"))):
            embedder.embedded.clear()
            kb.ingest(document)
            hit = kb.search("otter")[0]
            assert (hit.title, hit.headings, embedder.embedded) == (title, headings, [])
            assert len(kb.search("otter", filters={"title": "Animals"})) == (title is not None)


def test_a_title_that_was_left_out_of_a_chunk_stays_out_when_its_metadata_changes(tmp_path: Path, embedder: HashEmbedder):
    document = Document("a", f"# Sea\n\n{OTTER}\n", title="animal " * 200, syntax=Syntax.MARKDOWN)
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        kb.ingest(document)
        before = kb.search("otter")[0]
        kb.ingest(replace(document, metadata={"year": 2026}))
        after = kb.search("otter")[0]
    assert (before.title, after.title, after.headings) == (None, None, before.headings)
    assert after.metadata == {"year": 2026}


def test_chunk_settings_that_are_refused_are_not_remembered(tmp_path: Path, embedder: HashEmbedder):
    def ingest(**settings: int) -> int:
        with KnowledgeBase.open(settings=Settings.load(kb=tmp_path / "kb", **settings), embedder=embedder) as kb:
            return kb.ingest([Document("a", OTTER)]).updated

    with pytest.raises(ConfigurationError, match="chunk_overlap=30"):
        ingest(chunk_tokens=40, chunk_overlap=30)
    ingest(chunk_tokens=100, chunk_overlap=50)
    with pytest.raises(ConfigurationError, match="chunk_overlap=50"):
        ingest(chunk_tokens=40)
    assert ingest() == 0  # cut as before, so unchanged


def test_a_failure_of_a_document_with_a_long_id_is_forgotten_when_it_succeeds(tmp_path: Path, embedder: HashEmbedder):
    long_id = "x" * 600
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        assert kb.ingest(Document(long_id, OTTER, title=5)).failed  # type: ignore[arg-type]
        assert [failure.document_id for failure in kb.failures()] == [long_id]
        assert kb.ingest(Document(long_id, OTTER)).added == 1
        assert kb.failures() == []


def test_a_file_with_a_path_that_is_too_long_keeps_its_failure_until_it_is_gone(tmp_path: Path, embedder: HashEmbedder):
    file = (tmp_path / "docs").joinpath(*["x" * 200] * 11, "otter.md")
    file.parent.mkdir(parents=True)
    file.write_text(OTTER, encoding="utf-8")
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder) as kb:
        for attempts in (1, 2, 3):
            kb.ingest(tmp_path / "docs")
            assert [failure.attempts for failure in kb.failures()] == [attempts]
        file.rename(tmp_path / "docs" / "otter.md")
        kb.ingest(tmp_path / "docs")
        assert kb.failures() == []


def test_a_file_that_became_a_folder_is_found_no_more(tmp_path: Path, folder: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder, reranker="off") as kb:
        kb.ingest(folder)
        (folder / "kettle.txt").unlink()
        (folder / "kettle.txt").mkdir()
        (folder / "kettle.txt" / "new.md").write_text("Kettles are cleaned by machine.", encoding="utf-8")
        assert kb.ingest(folder).deleted == 1
        assert sorted(Path(record.document_id).name for record in kb.documents()) == ["ledger.md", "new.md", "otter.md"]


def test_deleting_what_failed_forgets_the_failure(tmp_path: Path, embedder: HashEmbedder):
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder, reranker="off") as kb:
        kb.ingest([Document("good", "keys"), Document("bad", "lunch", metadata={"price": float("nan")}), Document("worse", 5)])
        assert [failure.document_id for failure in kb.failures()] == ["bad", "worse"]
        assert kb.delete("bad") == 0
        assert [failure.document_id for failure in kb.failures()] == ["worse"]
