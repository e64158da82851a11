"""Collections, queries, runs, failures, threads and the writer's lock, on both databases."""

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from qwen3_rag.catalog import Catalog, Counts, DocumentStatus, FailureStage, RunStatus, failure_id
from qwen3_rag.errors import CatalogError, ConfigurationError, SourceError, WriterBusyError
from qwen3_rag.settings import CatalogSettings
from tests.catalog.builders import SPACE, chunk, document, write_all

AWKWARD = {"key": "Wert", "ünï": ["日本", "🙂", None, True], "n": 1.5, "nested": {"a": [1, {}]}, "nul": "a\x00b", "empty": ""}


class TestCollections:
    def test_a_collection_remembers_its_models(self, open_catalog: Callable[[], Catalog]) -> None:
        made = open_catalog().create_collection("docs", SPACE, reranker="r", chunking="c")
        found = open_catalog().get_collection("docs")
        assert found == made
        assert found is not None
        assert (found.space, found.reranker, found.chunking) == (SPACE, "r", "c")
        assert abs((datetime.now(UTC) - found.created_at).total_seconds()) < 60

    def test_a_name_is_taken_once(self, catalog: Catalog) -> None:
        with pytest.raises(CatalogError, match="docs"):
            catalog.create_collection("docs", SPACE)

    @pytest.mark.parametrize("name", ["", "a\x00b"])
    def test_impossible_names(self, catalog: Catalog, name: str) -> None:
        with pytest.raises(ConfigurationError):
            catalog.create_collection(name, SPACE)

    def test_the_same_space_under_two_names_keeps_both(self, catalog: Catalog) -> None:
        catalog.create_collection("moved", replace(SPACE, model="/elsewhere/nano"))
        catalog.create_collection("same", SPACE)
        assert [(item.name, item.space.model) for item in catalog.list_collections()] == [
            ("docs", "nano"),
            ("moved", "/elsewhere/nano"),
            ("same", "nano"),
        ]

    def test_the_reranker_can_change(self, catalog: Catalog) -> None:
        for name in ("other", None):
            catalog.set_reranker("docs", name)
            found = catalog.get_collection("docs")
            assert found is not None
            assert found.reranker == name

    def test_deleting_a_collection_takes_everything_of_it_and_nothing_else(self, catalog: Catalog) -> None:
        catalog.create_collection("other", SPACE)
        catalog.record_failure("other", "x", stage="read", error="e")
        write_all(catalog, (document("a"), [chunk(0, "p")]))
        catalog.start_run("docs")
        assert catalog.delete_collection("docs")
        assert not catalog.delete_collection("docs")
        assert catalog.counts("docs") == Counts(0, 0, 0)
        assert catalog.counts("other") == Counts(0, 0, 1)
        catalog.create_collection("docs", SPACE)
        assert catalog.runs("docs") == []
        assert list(catalog.point_ids("docs")) == []

    def test_reading_a_collection_that_is_not_there_finds_nothing(self, catalog: Catalog) -> None:
        assert catalog.get_collection("no") is None
        assert catalog.get_document("no", "a") is None
        assert catalog.documents("no") == list(catalog.iter_documents("no")) == list(catalog.point_ids("no")) == []
        assert catalog.document_states("no") == catalog.languages("no") == {}
        assert not catalog.has_documents("no")
        assert not catalog.has_unfinished("no")
        assert catalog.unfinished("no") == catalog.failures("no") == catalog.runs("no") == []
        assert catalog.last_run("no") is None
        assert catalog.counts("no") == Counts(0, 0, 0)

    def test_writing_to_a_collection_that_is_not_there_is_refused(self, catalog: Catalog) -> None:
        with pytest.raises(CatalogError, match="'no'"):
            catalog.begin_writes("no", [])
        with pytest.raises(CatalogError, match="'no'"):
            catalog.start_run("no")

    def test_the_same_document_in_two_collections(self, catalog: Catalog) -> None:
        catalog.create_collection("other", SPACE)
        write_all(catalog, (document("a"), [chunk(0, "p")]))
        assert catalog.get_document("other", "a") is None
        (write,) = catalog.begin_writes("other", [(document("a", "9"), [chunk(0, "p")])])
        catalog.commit_writes([write])
        assert catalog.document_states("docs")["a"].content_hash == "1"


class TestDocuments:
    def test_a_record_comes_back_as_it_was_given(self, catalog: Catalog) -> None:
        given = document(
            "/ünï/日本.md", source="file:///x", root="/ünï", title="Títle 🙂", language="zh", tenant="t", metadata=AWKWARD, size=2**40
        )
        write_all(catalog, (given, [chunk(0, "p"), chunk(1, "q")]))
        found = catalog.get_document("docs", "/ünï/日本.md")
        assert found is not None
        assert replace(found, version=None, status=None, chunks=None, created_at=None, updated_at=None) == given
        assert (found.version, found.status, found.chunks) == (1, DocumentStatus.CURRENT, 2)
        assert list(found.metadata) == list(AWKWARD)
        assert found.record_hash == given.record_hash == catalog.document_states("docs")["/ünï/日本.md"].record_hash
        assert catalog.current_chunks("docs", "/ünï/日本.md") == [chunk(0, "p"), chunk(1, "q")]

    @pytest.mark.parametrize(
        "fields",
        [
            {"document_id": ""},
            {"document_id": "x" * 2049},
            {"document_id": "\udcff"},
            {"document_id": "a", "title": "a\x00b"},
            {"document_id": "a", "metadata": {"when": datetime.now(UTC)}},
            {"document_id": "a", "metadata": {"n": float("nan")}},
            {"document_id": "a", "metadata": {("t",): 1}},
        ],
    )
    def test_what_no_database_can_keep_is_refused_before_it_gets_there(self, fields: dict[str, object]) -> None:
        with pytest.raises(SourceError):
            document(**fields)

    def test_the_longest_id(self, catalog: Catalog) -> None:
        name = "".join(chr(0x4E00 + i * 7 % 20_000) for i in range(682)) + "ab"  # hardly compressible, 2048 bytes
        write_all(catalog, (document(name), [chunk(0, "p")]))
        assert catalog.get_document("docs", name) is not None

    def test_listing_is_by_id_filtered_and_cut(self, catalog: Catalog) -> None:
        names = ["/Docs/b", "/docs/a", "/docs/_", "/docs/ä", "/docs/%", "/docs2/a", "/docs/B"]
        write_all(catalog, *((document(name, root=name.rsplit("/", 1)[0], language=name[-1].lower()), []) for name in names))
        ids = lambda **query: [item.document_id for item in catalog.documents("docs", **query)]  # noqa: E731
        assert ids() == sorted(names) == [item.document_id for item in catalog.iter_documents("docs")]
        assert ids(prefix="/docs/") == sorted(name for name in names if name.startswith("/docs/"))
        assert ids(prefix="/docs/_") == ["/docs/_"]
        assert ids(root="/docs2") == ["/docs2/a"]
        assert ids(language="b") == ["/Docs/b", "/docs/B"]
        assert ids(limit=2, offset=1) == sorted(names)[1:3]

    def test_states_of_a_folder_or_of_some(self, catalog: Catalog) -> None:
        write_all(catalog, (document("/r/a", "1", root="/r"), []), (document("b", "2"), []))
        assert set(catalog.document_states("docs")) == {"/r/a", "b"}
        assert set(catalog.document_states("docs", root="/r")) == {"/r/a"}
        assert set(catalog.document_states("docs", ids=["b", "c", "\udcff"])) == {"b"}
        state = catalog.document_states("docs")["/r/a"]
        assert (state.content_hash, state.settings_hash, state.root) == ("1", "s", "/r")

    def test_the_record_hash_tells_what_points_carry(self) -> None:
        plain = document("a", title="t", metadata={"x": 1, "y": 2})
        assert plain.record_hash == document("a", "other content", title="t", metadata={"y": 2, "x": 1}, root="/r").record_hash
        for change in ({"title": "u"}, {"metadata": {"x": 1}}, {"tenant": "t"}, {"language": "de"}, {"source": "s"}):
            assert replace(plain, **change).record_hash != plain.record_hash

    def test_languages_are_those_of_served_documents(self, catalog: Catalog) -> None:
        write_all(
            catalog, *((document(f"{language}{i}", language=language), []) for language, n in (("de", 1), ("en", 3)) for i in range(n))
        )
        write_all(catalog, (document("unknown"), []))
        catalog.begin_writes("docs", [(document("fr", language="fr"), [])])
        assert list(catalog.languages("docs").items()) == [("en", 3), ("de", 1)]
        catalog.begin_deletes("docs", ["de0"])
        assert catalog.languages("docs") == {"en": 3}

    def test_times(self, catalog: Catalog) -> None:
        write_all(catalog, (document("a"), []))
        first = catalog.documents("docs")[0]
        write_all(catalog, (document("a", "2"), []))
        second = catalog.documents("docs")[0]
        assert first.created_at == second.created_at
        assert first.created_at is not None
        assert first.updated_at is not None
        assert second.updated_at is not None
        assert first.created_at <= first.updated_at < second.updated_at
        assert second.updated_at.tzinfo is UTC


class TestRuns:
    def test_a_run_is_kept(self, catalog: Catalog) -> None:
        number = catalog.start_run("docs", settings={"path": Path("/x"), "n": 1}, paths=["/ünï", "\udcff"])
        run = catalog.last_run("docs")
        assert run is not None
        assert (run.status, run.finished_at, dict(run.settings), run.paths) == (
            RunStatus.RUNNING,
            None,
            {"path": "/x", "n": 1},
            ("/ünï", "\udcff"),
        )
        catalog.finish_run(number, RunStatus.FAILED, counts={"added": 2}, timing={"embed": 0.5}, error="the disk\x00 \udcff")
        run = catalog.last_run("docs")
        assert run is not None
        assert (run.status, dict(run.counts), dict(run.timing), run.error) == (
            RunStatus.FAILED,
            {"added": 2},
            {"embed": 0.5},
            "the disk\\x00 \\udcff",
        )
        assert run.finished_at is not None
        assert run.finished_at >= run.started_at

    def test_the_last_run_is_the_newest(self, catalog: Catalog) -> None:
        numbers = [catalog.start_run("docs") for _ in range(3)]
        assert [run.id for run in catalog.runs("docs")] == numbers[::-1]
        assert [run.id for run in catalog.runs("docs", limit=2)] == numbers[:0:-1]

    def test_the_next_writer_marks_what_was_interrupted(self, open_catalog: Callable[[], Catalog], catalog: Catalog) -> None:
        catalog.create_collection("other", SPACE)
        done = catalog.start_run("docs")
        catalog.finish_run(done, RunStatus.OK)
        catalog.start_run("docs")
        catalog.start_run("other")
        with open_catalog().writing("docs"):
            assert [run.status for run in catalog.runs("docs")] == [RunStatus.INTERRUPTED, RunStatus.OK]
        assert [run.status for run in catalog.runs("other")] == [RunStatus.RUNNING]

    def test_an_unknown_run(self, catalog: Catalog) -> None:
        with pytest.raises(CatalogError, match="no run 7"):
            catalog.finish_run(7, RunStatus.OK)


class TestFailures:
    def test_attempts_are_counted_and_the_last_reason_kept(self, catalog: Catalog) -> None:
        catalog.record_failure("docs", "a", stage="read", error="first", source="s")
        catalog.record_failure("docs", "a", stage=FailureStage.EMBED, error="second")
        (failure,) = catalog.failures("docs")
        assert (failure.stage, failure.error, failure.attempts, failure.source) == (FailureStage.EMBED, "second", 2, None)
        assert failure.first_seen < failure.last_seen

    def test_recording_cannot_fail_over_the_text(self, catalog: Catalog) -> None:
        catalog.record_failure("docs", "\udcff\x00" + "x" * 9000, stage="read", error="\x00\udc80" + "é" * 100_000)
        (failure,) = catalog.failures("docs")
        assert failure.document_id.startswith("\\udcff\\x00xxx")
        assert failure.error.startswith("\\x00\\udc80é")

    def test_clearing(self, catalog: Catalog) -> None:
        for name in "abc":
            catalog.record_failure("docs", name, stage="read", error="e")
        assert [item.document_id for item in catalog.failures("docs", limit=1, offset=1)] == ["b"]
        catalog.clear_failures("docs", ["a", "unknown"])
        assert [item.document_id for item in catalog.failures("docs")] == ["b", "c"]
        catalog.clear_failures("docs")
        assert catalog.counts("docs").failures == 0

    @pytest.mark.parametrize("length", [600, 2048, 9000])
    def test_long_ids_are_told_apart_and_cleared(self, catalog: Catalog, length: int) -> None:
        one, two = ("é" * (length // 2 - 1) + end for end in ("a", "b"))
        for name in (one, two, one):
            catalog.record_failure("docs", name, stage="read", error="e")
        assert [failure.attempts for failure in catalog.failures("docs")] == [2, 1]
        assert all(len(failure.document_id.encode()) <= 2048 for failure in catalog.failures("docs"))
        catalog.clear_failures("docs", [one])
        assert [failure.document_id for failure in catalog.failures("docs")] == [failure_id(two)]
        catalog.clear_failures("docs", [catalog.failures("docs")[0].document_id])
        assert catalog.failures("docs") == []

    def test_a_failure_leaves_the_served_version(self, catalog: Catalog) -> None:
        write_all(catalog, (document("a"), [chunk(0, "p")]))
        catalog.record_failure("docs", "a", stage="read", error="gone bad")
        assert catalog.counts("docs") == Counts(1, 1, 1)
        assert catalog.has_documents("docs")

    def test_an_unknown_stage(self, catalog: Catalog) -> None:
        with pytest.raises(ValueError, match="baking"):
            catalog.record_failure("docs", "a", stage="baking", error="e")


class TestConcurrency:
    def test_many_threads_of_several_catalogs_write_and_read(self, open_catalog: Callable[[], Catalog], catalog: Catalog) -> None:
        """Two catalogs on one database are to each other as two processes are."""
        catalogs = [catalog, open_catalog()]

        def work(thread: int) -> None:
            mine = catalogs[thread % 2]
            for i in range(8):
                write_all(mine, (document(f"{thread}-{i}"), [chunk(0, f"{thread}-{i}-p"), chunk(1, f"{thread}-{i}-q")]))
                mine.record_failure("docs", "shared", stage="read", error=f"{thread}")
                assert mine.get_document("docs", f"{thread}-{i}") is not None
                assert mine.counts("docs").chunks >= 2

        with ThreadPoolExecutor(6) as threads:
            for done in [threads.submit(work, thread) for thread in range(6)]:
                done.result()
        assert catalog.counts("docs") == Counts(48, 96, 1)
        assert catalog.failures("docs")[0].attempts == 48
        assert catalog.unfinished("docs") == []

    def test_writers_of_the_same_documents_in_different_order(self, catalog: Catalog) -> None:
        """Without a lock in a fixed order PostgreSQL would find a deadlock."""
        together = threading.Barrier(2)

        def work(step: int) -> None:
            for turn in range(5):
                together.wait(60)
                names = [f"{turn}-{i:03}" for i in range(200)][::step]
                catalog.begin_writes("docs", [(document(name), [chunk(0, name)]) for name in names])

        with ThreadPoolExecutor(2) as threads:
            for done in [threads.submit(work, step) for step in (1, -1)]:
                done.result()
        assert all(item.obsolete_points == (item.document_id,) for item in catalog.unfinished("docs"))
        assert len(catalog.unfinished("docs")) == 1000

    def test_reading_does_not_wait_for_a_writer(self, catalog: Catalog) -> None:
        write_all(catalog, (document("a"), [chunk(0, "p")]))
        with catalog._write(), ThreadPoolExecutor(1) as threads:
            assert threads.submit(catalog.counts, "docs").result(timeout=5) == Counts(1, 1, 0)

    def test_one_writer_at_a_time(self, open_catalog: Callable[[], Catalog]) -> None:
        first, second = open_catalog(), open_catalog()
        with first.writing("docs"):
            with pytest.raises(WriterBusyError, match="docs"), second.writing("docs", timeout=0.1):
                pass
            with second.writing("other", timeout=0):
                pass
        with second.writing("docs", timeout=0):
            pass

    def test_the_next_writer_waits(self, open_catalog: Callable[[], Catalog]) -> None:
        catalog, order = open_catalog(), []
        held = threading.Event()

        def hold() -> None:
            with open_catalog().writing("docs"):
                held.set()
                threading.Event().wait(0.3)
                order.append("first")

        with ThreadPoolExecutor(1) as threads:
            done = threads.submit(hold)
            assert held.wait(10)
            with catalog.writing("docs", timeout=20):
                order.append("second")
            done.result()
        assert order == ["first", "second"]

    def test_an_error_inside_frees_the_lock_and_is_left_alone(self, catalog: Catalog) -> None:
        def fail() -> None:
            with catalog.writing("docs"):
                raise KeyError("mine")

        with pytest.raises(KeyError, match="mine"):
            fail()
        with catalog.writing("docs", timeout=0):
            pass

    def test_a_held_lock_passes_its_check(self, catalog: Catalog) -> None:
        catalog.check_writing("docs")
        with catalog.writing("docs"):
            catalog.check_writing("docs")

    def test_a_lost_lock_is_noticed(self, postgres_url: str) -> None:
        import psycopg

        with Catalog.open(CatalogSettings(postgres_url)) as catalog:
            catalog.create_collection("docs", SPACE)
            with catalog.writing("docs"):
                with psycopg.connect(postgres_url, autocommit=True) as admin:
                    admin.execute("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
                for _ in range(3):
                    with pytest.raises(CatalogError, match=r"writing lock.*'docs'.*idle_session_timeout"):
                        catalog.check_writing("docs")
            with catalog.writing("docs", timeout=0):
                catalog.check_writing("docs")

    def test_a_killed_writer_leaves_no_lock(self, catalog: Catalog, database_url: str) -> None:
        context = multiprocessing.get_context("spawn")
        ready = context.Event()
        process = context.Process(target=hold_forever, args=(database_url, ready), daemon=True)
        process.start()
        assert ready.wait(60)
        with pytest.raises(WriterBusyError), catalog.writing("docs", timeout=0.1):
            pass
        process.kill()
        process.join()
        with catalog.writing("docs", timeout=10):
            assert [run.status for run in catalog.runs("docs")] == [RunStatus.INTERRUPTED]


def hold_forever(url: str, ready: threading.Event) -> None:
    with Catalog.open(CatalogSettings(url)) as catalog, catalog.writing("docs"):
        catalog.start_run("docs")
        ready.set()
        threading.Event().wait(600)
