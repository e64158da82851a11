"""A run that dies at any write leaves the old or the new version served, whole; the next opening mends the rest."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from qdrant_client import QdrantClient

from qwen3_rag import Document, KnowledgeBase, Settings
from qwen3_rag.catalog import Catalog, Write
from qwen3_rag.errors import CatalogError
from qwen3_rag.ingestion.pipeline import FIRST_BATCH_CHUNKS
from qwen3_rag.ingestion.writer import DOCUMENTS_PER_DELETION
from qwen3_rag.settings import ChunkingSettings
from tests.fakes import HashEmbedder
from tests.ingestion.agreement import COLLECTION, check_agreement, payloads
from tests.ingestion.crashing import Crash, When, crash_at, watched_writes

TOKENS = 16


def text(*words: str) -> str:
    """One chunk a word: each fills the token budget."""
    return "\n\n".join(" ".join([word] * TOKENS) for word in words)


BEFORE = {
    "same": Document(id="same", text=text("alpha", "beta")),
    "moved": Document(id="moved", text=text("gamma", "delta"), metadata={"v": 1}),
    "gone": Document(id="gone", text=text("epsilon")),
    "changed": Document(id="changed", text=text("zeta", "eta", "theta")),
}
AFTER = {
    "same": BEFORE["same"],
    "moved": Document(id="moved", text=text("first", "gamma", "delta"), metadata={"v": 2}),
    "changed": Document(id="changed", text=text("zeta", "iota", "theta")),
    "new": Document(id="new", text=text("kappa", "lambda")),
}


class World:
    """A knowledge base whose process can die and start again; store and catalog outlive it."""

    def __init__(self, folder: Path) -> None:
        self.settings = Settings.load(kb=folder, chunk_tokens=TOKENS)
        self.client = QdrantClient(":memory:")

    def open(self) -> KnowledgeBase:
        return KnowledgeBase.open(settings=self.settings, embedder=HashEmbedder(), client=self.client)

    def check(self, expected: dict[str, Document]) -> None:
        with Catalog.open(self.settings.catalog) as catalog:
            check_agreement(catalog, self.client, expected, ChunkingSettings(TOKENS))


def change(kb: KnowledgeBase) -> None:
    kb.ingest([AFTER["moved"], AFTER["changed"], AFTER["same"], AFTER["new"]])
    kb.delete(["gone"])


def number_of_writes(folder: Path, monkeypatch: pytest.MonkeyPatch) -> int:
    world = World(folder)
    with world.open() as kb:
        kb.ingest(list(BEFORE.values()))
        with crash_at(world.client, None, When.AFTER, monkeypatch) as fuse:
            change(kb)
    return len(fuse.calls)


@pytest.mark.parametrize("when", list(When), ids=lambda when: when.value)
def test_dying_at_every_write(when: When, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    writes = number_of_writes(tmp_path / "count", monkeypatch)
    assert writes >= 8
    for at in range(writes):
        world = World(tmp_path / f"{when.value}-{at}")
        with world.open() as kb:
            kb.ingest(list(BEFORE.values()))
            with pytest.raises(Crash), crash_at(world.client, at, when, monkeypatch):
                change(kb)
        with world.open() as kb:
            assert_served_whole(world)
            change(kb)
        world.check(AFTER)


def assert_served_whole(world: World) -> None:
    """After the repair at opening each document is entirely its old or entirely its new self, payloads included."""
    found: dict[str, list[tuple[object, ...]]] = {}
    for payload in payloads(world.client):
        found.setdefault(str(payload["document_id"]), []).append((payload["ordinal"], payload["text"], str(payload["metadata"])))
    for name, parts in found.items():
        versions = [sorted(_parts(version)) for version in (BEFORE.get(name), AFTER.get(name)) if version]
        assert sorted(parts) in versions, name
    with Catalog.open(world.settings.catalog) as catalog:
        assert catalog.unfinished(COLLECTION) == []
        assert sorted(catalog.point_ids(COLLECTION)) == sorted(str(payload["point_id"]) for payload in payloads(world.client))


def _parts(document: Document) -> list[tuple[object, ...]]:
    return [(ordinal, part, str(dict(document.metadata))) for ordinal, part in enumerate(document.text.split("\n\n"))]


def described(document: Document | None) -> tuple[str, str] | None:
    return (document.text, str(dict(document.metadata))) if document else None


class Ingestions(RuleBasedStateMachine):
    """Ingest, delete, die, restart, in any order; what was acknowledged is there, and nothing else."""

    WORDS = ("red", "green", "blue", "white")
    NAMES = ("one", "two", "three")

    counter = itertools.count()
    folder: Path

    @initialize()
    def begin(self) -> None:
        self.world = World(self.folder / str(next(self.counter)))
        self.model: dict[str, Document] = {}

    @rule(name=st.sampled_from(NAMES), words=st.lists(st.sampled_from(WORDS), min_size=1, max_size=4), version=st.integers(0, 2))
    def ingest(self, name: str, words: list[str], version: int) -> None:
        document = Document(id=name, text=text(*words), metadata={"version": version})
        with self.world.open() as kb:
            assert kb.ingest([document]).ok
        self.model[name] = document

    @rule(name=st.sampled_from(NAMES))
    def delete(self, name: str) -> None:
        with self.world.open() as kb:
            kb.delete(name)
        self.model.pop(name, None)

    @rule(
        name=st.sampled_from(NAMES),
        words=st.lists(st.sampled_from(WORDS), max_size=4),
        at=st.integers(0, 6),
        when=st.sampled_from(When),
    )
    def die(self, name: str, words: list[str], at: int, when: When) -> None:
        """Die somewhere in an ingest (or, without words, in a deletion), then take whichever of the two outcomes is served."""
        document = Document(id=name, text=text(*words)) if words else None
        with pytest.MonkeyPatch.context() as monkeypatch, self.world.open() as kb:
            try:
                with crash_at(self.world.client, at, when, monkeypatch):
                    kb.ingest([document]) if document else kb.delete(name)
            except Crash:
                pass
        self.world.open().close()
        served = self.served(name)
        outcomes = [outcome for outcome in (self.model.get(name), document) if described(outcome) == served]
        assert outcomes, f"{name} is neither what it was nor what it should become"
        self.accept(name, outcomes[0])

    def accept(self, name: str, document: Document | None) -> None:
        if document is None:
            self.model.pop(name, None)
        else:
            self.model[name] = document

    def served(self, name: str) -> tuple[str, str] | None:
        parts = [payload for payload in payloads(self.world.client) if payload["document_id"] == name] if self.exists() else []
        parts.sort(key=lambda payload: int(str(payload["ordinal"])))
        return ("\n\n".join(str(part["text"]) for part in parts), str(parts[0]["metadata"])) if parts else None

    def exists(self) -> bool:
        return self.world.client.collection_exists(COLLECTION)

    @invariant()
    def agrees(self) -> None:
        if hasattr(self, "world") and self.exists():
            self.world.check(self.model)


def test_any_sequence_of_ingests_deletions_and_deaths(tmp_path_factory: pytest.TempPathFactory):
    Ingestions.folder = tmp_path_factory.mktemp("machine")
    case = Ingestions.TestCase
    case.settings = settings(max_examples=25, stateful_step_count=10, deadline=None, suppress_health_check=list(HealthCheck))
    case().runTest()


def test_a_search_meets_the_old_or_the_new_version_never_both(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Search before and after every single write of an update."""
    world = World(tmp_path)
    old, new = Document(id="a", text=text("red", "blue")), Document(id="a", text=text("green", "red", "blue"))
    seen: list[list[str]] = []
    with world.open() as kb:
        kb.ingest([old])

        def look() -> None:
            seen.append(sorted(hit.text.split()[0] for hit in kb.search("red green blue", top_k=10)))

        with watched_writes(world.client, look, monkeypatch):
            kb.ingest([new])
            kb.delete("a")
    versions = [["blue", "red"], ["blue", "green", "red"], []]
    assert [name for name, _ in itertools.groupby(seen)] == versions


def found(kb: KnowledgeBase) -> list[tuple[str, str]]:
    return sorted((hit.document_id, hit.text.split()[0]) for hit in kb.search("red green", top_k=200, candidates=200))


def fail_first_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    failures, commit = iter([CatalogError("the database is locked")]), Catalog.commit_writes

    def failing(self: Catalog, items: Sequence[Write]) -> None:
        if (error := next(failures, None)) is not None:
            raise error
        commit(self, items)

    monkeypatch.setattr(Catalog, "commit_writes", failing)


def test_a_batch_that_fails_stays_hidden_while_the_next_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    names = [f"{number:02}" for number in range(FIRST_BATCH_CHUNKS + 8)]
    failing, written = names[:FIRST_BATCH_CHUNKS], names[FIRST_BATCH_CHUNKS:]
    with World(tmp_path).open() as kb:
        kb.ingest([Document(id=name, text=text("red")) for name in names])
        with monkeypatch.context() as patch:
            fail_first_commit(patch)
            with pytest.raises(CatalogError):
                kb.ingest([Document(id=name, text=text("green")) for name in names])
        assert found(kb) == [(name, "red") for name in failing] + [(name, "green") for name in written]
        kb.ingest([Document(id=name, text=text("green")) for name in names])
        assert found(kb) == [(name, "green") for name in names]


def test_two_knowledge_bases_of_one_process_meet_the_same_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    settings, seen = Settings.load(kb=tmp_path, chunk_tokens=TOKENS), []
    with (
        KnowledgeBase.open(settings=settings, embedder=HashEmbedder(), reranker="off") as writer,
        KnowledgeBase.open(settings=settings, embedder=HashEmbedder(), reranker="off") as reader,
    ):
        writer.ingest(Document(id="a", text=text("red")))
        with watched_writes(writer._client, lambda: seen.append(found(reader)), monkeypatch):
            writer.ingest(Document(id="a", text=text("green")))
    assert [version for version, _ in itertools.groupby(seen)] == [[("a", "red")], [("a", "green")]]


def test_many_documents_are_deleted_in_batches_that_a_search_can_leave_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    names, hidden = [f"{number:03}" for number in range(2 * DOCUMENTS_PER_DELETION + 1)], [0]
    with World(tmp_path).open() as kb:
        kb.ingest([Document(id=name, text=text("red")) for name in names])
        with watched_writes(kb._client, lambda: hidden.append(len(kb._visibility.hidden)), monkeypatch):
            assert kb.delete([*names, "unknown", names[0]]) == len(names)
        assert max(hidden) == DOCUMENTS_PER_DELETION
        assert kb._visibility.hidden == frozenset()


def test_a_deletion_that_dies_between_two_batches_is_continued_by_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    documents = {f"{number:03}": Document(id=f"{number:03}", text=text("red")) for number in range(DOCUMENTS_PER_DELETION + 2)}
    world, (first, *last) = World(tmp_path), list(documents)[DOCUMENTS_PER_DELETION - 1 :]
    with world.open() as kb:
        kb.ingest(list(documents.values()))
        with crash_at(world.client, 3, When.BEFORE, monkeypatch) as fuse, pytest.raises(Crash):
            kb.delete(documents)
        assert fuse.calls == ["catalog.begin_deletes", "client.delete", "catalog.finish_deletes", "catalog.begin_deletes"]
    world.check({name: documents[name] for name in last})
    with world.open() as kb:
        assert kb.delete([first, *last]) == len(last)
    world.check({})


def test_a_writer_that_lost_its_lock_does_not_make_its_batch_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    old, new, checks = Document(id="a", text=text("red")), Document(id="a", text=text("green")), iter(["held"])

    def lost(catalog: Catalog, collection: str) -> None:
        if next(checks, None) is None:
            raise CatalogError("the lock is lost")

    world = World(tmp_path)
    with world.open() as kb:
        kb.ingest(old)
        with monkeypatch.context() as patch:
            patch.setattr(Catalog, "check_writing", lost)
            with pytest.raises(CatalogError, match="lock is lost"):
                kb.ingest(new)
        assert found(kb) == [("a", "red")]
        kb.ingest(new)
    world.check({"a": new})


def test_what_is_being_undone_cannot_become_current(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A writer whose lock was lost, and that lives on while the next one repairs."""
    world, late = World(tmp_path), []
    with world.open() as kb:
        kb.ingest(BEFORE["changed"])
        with monkeypatch.context() as patch:
            patch.setattr(Catalog, "commit_writes", hang(late))
            with pytest.raises(Crash):
                kb.ingest(AFTER["changed"])
    delete = world.client.delete

    def commit_first(*args: Any, **options: Any) -> Any:
        with Catalog.open(world.settings.catalog) as catalog, pytest.raises(CatalogError, match="too late"):
            catalog.commit_writes(late)
        return delete(*args, **options)

    monkeypatch.setattr(world.client, "delete", commit_first)
    world.open().close()
    assert late
    world.check({"changed": BEFORE["changed"]})


def hang(late: list[Write]) -> Callable[[Catalog, Sequence[Write]], None]:
    def commit(catalog: Catalog, items: Sequence[Write]) -> None:
        late.extend(items)
        raise Crash

    return commit
