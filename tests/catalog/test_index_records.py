"""What indexing runs have written: keys, groups, and a clock that never goes back."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from qwen3_rag.catalog import Catalog, IndexRecords
from qwen3_rag.catalog.engine import writing


@pytest.fixture
def records(catalog: Catalog) -> IndexRecords:
    return catalog.index_records("docs")


def test_stamp_know_and_forget(records: IndexRecords) -> None:
    assert records.known(["a", "b"]) == [False, False]
    records.stamp(["a", "b", "a"])
    assert records.known(["b", "x", "a"]) == [True, False, True]
    records.forget(["a", "x"])
    assert records.keys() == ["b"]
    records.stamp([])
    records.forget([])
    assert records.known([]) == []


def test_namespaces_are_apart(catalog: Catalog, records: IndexRecords) -> None:
    records.stamp(["a"])
    other = catalog.index_records("others")
    assert other.known(["a"]) == [False]
    other.stamp(["b"])
    other.forget(["a"])
    assert records.keys() == ["a"]


def test_keys_by_time_and_group(records: IndexRecords) -> None:
    records.stamp(["old1", "old2"], ["x", None])
    start = records.now()
    records.stamp(["new"], ["x"], at_least=start)
    assert records.keys(before=start) == ["old1", "old2"]
    assert records.keys(after=start) == [] or records.keys(after=start) == ["new"]
    assert records.keys(groups=["x", "y"]) == ["old1", "new"]
    assert records.keys(groups=["x"], before=start, limit=5) == ["old1"]
    assert records.keys(groups=[]) == []
    assert records.keys(limit=2) == ["old1", "old2"]
    assert records.keys(limit=0) == []


def test_a_stamp_without_groups_keeps_them(records: IndexRecords) -> None:
    records.stamp(["a", "b"], ["x", None])
    records.stamp(["a", "b"])
    assert records.keys(groups=["x"]) == ["a"]
    records.stamp(["a"], [None])
    assert records.keys(groups=["x"]) == []


def test_time_is_that_of_the_database_and_never_goes_back(records: IndexRecords) -> None:
    assert records.now() == pytest.approx(time.time(), abs=5)
    for number in range(50):  # faster than the clock of SQLite ticks
        start = records.now()
        assert records.keys(before=start) == [f"k{i}" for i in range(number)]
        records.stamp([f"k{number}"], at_least=start)


def test_a_clock_that_was_set_back(catalog: Catalog, records: IndexRecords) -> None:
    records.stamp(["a"])
    with writing(catalog._engine).begin() as connection:
        connection.execute(text("UPDATE index_records SET updated_at = updated_at + 3600"))
    start = records.now()
    assert records.keys(before=start) == ["a"]
    records.stamp(["b"], at_least=start)
    assert records.keys(before=start) == ["a"]


def test_what_cannot_be_stamped(records: IndexRecords) -> None:
    with pytest.raises(ValueError, match="2 keys but 1 group ids"):
        records.stamp(["a", "b"], ["x"])
    with pytest.raises(ValueError, match="ahead of the catalog's clock"):
        records.stamp(["a"], at_least=time.time() + 3600)
    assert records.keys() == []


def test_more_than_one_statement_can_name(records: IndexRecords) -> None:
    many = [f"{number:05}" for number in range(2500)]
    records.stamp(many, many)
    assert records.known(many) == [True] * 2500
    assert len(records.keys(groups=many)) == 2500
    assert len(records.keys(groups=many, limit=1200)) == 1200
    records.forget(many)
    assert records.keys() == []


def test_many_stamp_at_once(open_catalog: Callable[[], Catalog]) -> None:
    catalogs = [open_catalog().index_records("docs") for _ in range(4)]
    with ThreadPoolExecutor(8) as threads:
        for done in [threads.submit(catalogs[i % 4].stamp, [f"k{i}", "shared"]) for i in range(40)]:
            done.result()
    assert set(catalogs[0].keys()) == {f"k{i}" for i in range(40)} | {"shared"}
