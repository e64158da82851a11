"""Every step of the write order, and what each interruption leaves for the repair."""

from collections.abc import Callable

import pytest

from qwen3_rag.catalog import Catalog, DocumentStatus, Unfinished
from qwen3_rag.errors import CatalogError
from tests.catalog.builders import SPACE, chunk, document, write_all


def only(items: list[Unfinished]) -> Unfinished:
    (item,) = items
    return item


def served(catalog: Catalog, document_id: str = "a") -> tuple[str, list[str]] | None:
    record = catalog.get_document("docs", document_id)
    chunks = [item.point_id for item in catalog.current_chunks("docs", document_id)]
    return None if record is None else (record.content_hash, chunks)


def test_the_whole_order_leaves_one_version(catalog: Catalog) -> None:
    write_all(catalog, (document("a", "1", title="old"), [chunk(0, "p"), chunk(1, "q")]))
    [write] = catalog.begin_writes("docs", [(document("a", "2", title="new"), [chunk(0, "q", "moved"), chunk(1, "r")])])
    assert served(catalog) == ("1", ["p", "q"])
    catalog.commit_writes([write])
    assert served(catalog) == ("2", ["q", "r"])
    assert catalog.obsolete_points(write) == ["p"]
    assert catalog.moved_chunks(write) == [chunk(0, "q", "moved")]
    catalog.finish_writes([write])
    assert served(catalog) == ("2", ["q", "r"])
    assert catalog.unfinished("docs") == []
    assert catalog.obsolete_points(write) == []


def test_until_commit_the_old_record_is_shown(catalog: Catalog) -> None:
    write_all(catalog, (document("a", "1", title="old", language="de", metadata={"n": 1}), [chunk(0, "p")]))
    [write] = catalog.begin_writes("docs", [(document("a", "2", title="new", language="en", metadata={"n": 2}), [])])
    record = catalog.get_document("docs", "a")
    assert record is not None
    assert (record.title, record.language, dict(record.metadata), record.status) == ("old", "de", {"n": 1}, DocumentStatus.WRITING)
    assert catalog.document_states("docs")["a"].content_hash == "1"
    assert catalog.languages("docs") == {"de": 1}
    catalog.commit_writes([write])
    record = catalog.get_document("docs", "a")
    assert record is not None
    assert (record.title, dict(record.metadata), record.status) == ("new", {"n": 2}, DocumentStatus.CLEANING)
    assert catalog.languages("docs") == {"en": 1}


def test_a_first_version_is_not_served_before_commit(catalog: Catalog) -> None:
    catalog.begin_writes("docs", [(document("a"), [chunk(0, "p")])])
    assert served(catalog) is None
    assert catalog.document_states("docs") == {}
    assert list(catalog.iter_documents("docs")) == []
    assert catalog.counts("docs").documents == 0
    assert list(catalog.point_ids("docs")) == []


def test_interrupted_before_commit_the_first_version_vanishes(catalog: Catalog) -> None:
    catalog.begin_writes("docs", [(document("a"), [chunk(0, "p")])])
    item = only(catalog.unfinished("docs"))
    assert (item.status, item.current, item.obsolete_points, item.moved_chunks) == (DocumentStatus.WRITING, None, ("p",), ())
    catalog.settle([item])
    assert catalog.unfinished("docs") == []
    assert catalog.begin_deletes("docs", ["a"]) == []


def test_interrupted_before_commit_the_old_version_stays_whole(catalog: Catalog) -> None:
    write_all(catalog, (document("a", "1"), [chunk(0, "p"), chunk(1, "q")]))
    catalog.begin_writes("docs", [(document("a", "2"), [chunk(0, "q", "moved"), chunk(1, "r")])])
    item = only(catalog.unfinished("docs"))
    assert item.obsolete_points == ("r",)
    assert item.moved_chunks == (chunk(1, "q"),), "the payload may have been overwritten, so the old one is put back"
    assert item.current is not None
    assert item.current.content_hash == "1"
    catalog.settle([item])
    assert served(catalog) == ("1", ["p", "q"])
    assert catalog.unfinished("docs") == []


def test_interrupted_after_commit_the_new_version_stays(catalog: Catalog) -> None:
    write_all(catalog, (document("a", "1"), [chunk(0, "p"), chunk(1, "q")]))
    catalog.commit_writes(catalog.begin_writes("docs", [(document("a", "2"), [chunk(0, "q", "moved")])]))
    item = only(catalog.unfinished("docs"))
    assert (item.status, item.obsolete_points, item.moved_chunks) == (DocumentStatus.CLEANING, ("p",), (chunk(0, "q", "moved"),))
    catalog.settle([item])
    assert served(catalog) == ("2", ["q"])


def test_a_second_write_takes_over_what_the_first_left(catalog: Catalog) -> None:
    write_all(catalog, (document("a", "1"), [chunk(0, "p")]))
    [first] = catalog.begin_writes("docs", [(document("a", "2"), [chunk(0, "q"), chunk(1, "shared")])])
    [second] = catalog.begin_writes("docs", [(document("a", "3"), [chunk(0, "r"), chunk(1, "shared")])])
    with pytest.raises(CatalogError, match="too late"):
        catalog.commit_writes([first])
    assert catalog.obsolete_points(second) == ["q", "shared", "r"]
    catalog.commit_writes([second])
    assert catalog.obsolete_points(second) == ["p", "q"]
    catalog.finish_writes([second])
    assert served(catalog) == ("3", ["r", "shared"])


def test_a_write_over_a_document_that_was_not_cleaned_orphans_nothing(catalog: Catalog) -> None:
    write_all(catalog, (document("a", "1"), [chunk(0, "p")]))
    catalog.commit_writes(catalog.begin_writes("docs", [(document("a", "2"), [chunk(0, "q")])]))
    [third] = catalog.begin_writes("docs", [(document("a", "3"), [chunk(0, "r")])])
    assert only(catalog.unfinished("docs")).obsolete_points == ("p", "r")
    catalog.commit_writes([third])
    assert only(catalog.unfinished("docs")).obsolete_points == ("p", "q")


def test_deletion_stops_serving_at_once(catalog: Catalog) -> None:
    write_all(catalog, (document("a"), [chunk(0, "p"), chunk(1, "q")]), (document("b"), [chunk(0, "s")]))
    catalog.record_failure("docs", "a", stage="read", error="x")
    (deletion,) = catalog.begin_deletes("docs", ["a", "unknown", "a", "\udcff"])
    assert (deletion.document_id, deletion.point_ids) == ("a", ("p", "q"))
    assert served(catalog) is None
    assert (catalog.counts("docs").documents, catalog.counts("docs").chunks) == (1, 1)
    assert only(catalog.unfinished("docs")).obsolete_points == ("p", "q")
    catalog.finish_deletes([deletion])
    assert catalog.unfinished("docs") == []
    assert catalog.failures("docs") == []
    assert list(catalog.point_ids("docs")) == ["s"]


def test_a_document_comes_back_while_it_is_being_deleted(catalog: Catalog) -> None:
    write_all(catalog, (document("a", "1"), [chunk(0, "p"), chunk(1, "q")]))
    (deletion,) = catalog.begin_deletes("docs", ["a"])
    assert catalog.current_point_ids("docs", "a") == set(), "so that every point is written anew"
    [write] = catalog.begin_writes("docs", [(document("a", "2"), [chunk(0, "q")])])
    with pytest.raises(CatalogError, match="too late"):
        catalog.finish_deletes([deletion])
    catalog.commit_writes([write])
    assert catalog.obsolete_points(write) == ["p"]


def test_an_abandoned_write_leaves_no_trace(catalog: Catalog) -> None:
    write_all(catalog, (document("a", "1"), [chunk(0, "p")]))
    again, new = catalog.begin_writes("docs", [(document("a", "2"), [chunk(0, "q")]), (document("b"), [chunk(0, "r")])])
    assert [item.obsolete_points for item in catalog.leftovers([new, again])] == [("r",), ("q",)]
    catalog.abandon_writes([new, again])
    assert served(catalog) == ("1", ["p"])
    assert catalog.unfinished("docs") == []
    with pytest.raises(CatalogError, match="no longer knows b"):
        catalog.leftovers([new])


@pytest.mark.parametrize("step", [Catalog.commit_writes, Catalog.abandon_writes])
def test_steps_out_of_order_are_refused_and_change_nothing(catalog: Catalog, step: Callable[..., None]) -> None:
    [write] = catalog.begin_writes("docs", [(document("a"), [chunk(0, "p")])])
    with pytest.raises(CatalogError, match="too late"):
        catalog.finish_writes([write])
    catalog.commit_writes([write])
    with pytest.raises(CatalogError, match="too late"):
        step(catalog, [write])
    assert only(catalog.unfinished("docs")).status is DocumentStatus.CLEANING


def test_settling_is_refused_when_something_happened_since(catalog: Catalog) -> None:
    [write] = catalog.begin_writes("docs", [(document("a"), [chunk(0, "p")])])
    stale = catalog.unfinished("docs")
    catalog.commit_writes([write])
    with pytest.raises(CatalogError, match="too late"):
        catalog.settle(stale)
    assert served(catalog) == ("1", ["p"])


def test_what_was_taken_over_cannot_become_current(catalog: Catalog) -> None:
    write_all(catalog, (document("a", "1"), [chunk(0, "p"), chunk(1, "q")]))
    writes = catalog.begin_writes("docs", [(document("a", "2"), [chunk(0, "q", "moved"), chunk(1, "r")]), (document("b"), [chunk(0, "s")])])
    items = catalog.take_over("docs")
    assert [(item.document_id, item.status, item.obsolete_points, item.moved_chunks) for item in items] == [
        ("a", DocumentStatus.CLEANING, ("r",), (chunk(1, "q"),)),
        ("b", DocumentStatus.DELETING, ("s",), ()),
    ]
    for step in (catalog.commit_writes, catalog.finish_writes, catalog.abandon_writes):
        for write in writes:
            with pytest.raises(CatalogError, match="too late"):
                step([write])
    assert catalog.take_over("docs") == items, "it may be interrupted"
    assert catalog.has_unfinished("docs")
    catalog.settle(items)
    assert not catalog.has_unfinished("docs")
    assert catalog.take_over("docs") == catalog.unfinished("docs") == []
    assert served(catalog) == ("1", ["p", "q"])
    assert catalog.counts("docs").documents == 1


def test_one_bad_write_of_a_batch_commits_none(catalog: Catalog) -> None:
    good, bad = catalog.begin_writes("docs", [(document("good"), [chunk(0, "p")]), (document("bad"), [chunk(0, "q")])])
    catalog.abandon_writes([bad])
    with pytest.raises(CatalogError):
        catalog.commit_writes([good, bad])
    assert served(catalog, "good") is None


def test_a_document_twice_in_a_batch_is_refused(catalog: Catalog) -> None:
    with pytest.raises(ValueError, match="once"):
        catalog.begin_writes("docs", [(document("a"), []), (document("a"), [])])


def test_commit_forgets_the_failure_of_that_document_alone(catalog: Catalog) -> None:
    catalog.create_collection("other", SPACE)
    for collection, name in (("docs", "a"), ("docs", "b"), ("other", "a")):
        catalog.record_failure(collection, name, stage="read", error="x")
    write_all(catalog, (document("a"), [chunk(0, "p")]))
    assert [item.document_id for item in catalog.failures("docs")] == ["b"]
    assert [item.document_id for item in catalog.failures("other")] == ["a"]


def test_nothing_to_do_is_no_error(catalog: Catalog) -> None:
    assert catalog.begin_writes("docs", []) == []
    catalog.commit_writes([])
    catalog.finish_writes([])
    assert catalog.begin_deletes("docs", []) == []
    catalog.finish_deletes([])
    catalog.settle([])


def test_batches_larger_than_one_statement(catalog: Catalog) -> None:
    write_all(catalog, *((document(f"{i:04}"), [chunk(0, f"p{i}")]) for i in range(2500)))
    assert catalog.counts("docs").chunks == 2500
    assert len(catalog.document_states("docs", ids=[f"{i:04}" for i in range(2400, 5000)])) == 100
    assert len(set(catalog.point_ids("docs"))) == 2500
    assert [item.document_id for item in catalog.iter_documents("docs")] == [f"{i:04}" for i in range(2500)]
    deletions = catalog.begin_deletes("docs", [f"{i:04}" for i in range(2500)])
    assert [item.point_ids for item in deletions] == [(f"p{i}",) for i in range(2500)]
    catalog.finish_deletes(deletions)
    assert catalog.counts("docs").documents == 0
