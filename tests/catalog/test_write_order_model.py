"""The write order against a model: a store that really holds points, crashes between any two steps, then the repair.

The store is a dictionary from point to payload. After every repair it must hold the points of the served versions, no others, each with
the payload of the version that is served.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test

from qwen3_rag.catalog import Catalog, ChunkRecord, Deletion, Write
from qwen3_rag.settings import CatalogSettings
from tests.catalog.builders import SPACE, chunk, document

NAMES = st.sampled_from(["a", "b"])
CONTENTS = st.lists(st.tuples(st.sampled_from("pqrst"), st.sampled_from("xy")), max_size=4, unique_by=lambda item: item[0])
"""Chunks of one document as (content, payload)."""

_urls: list[str] = []
_collections = count()


class WriteOrder(RuleBasedStateMachine):
    """Steps come in any order that one writer can produce: a document's earlier write may be left at any step."""

    @initialize()
    def open_catalog(self) -> None:
        self.name = f"collection {next(_collections)}"
        self.catalog = Catalog.open(CatalogSettings(_urls[-1]))
        self.catalog.create_collection(self.name, SPACE)
        self.store: dict[str, str] = {}
        self.expected: dict[str, list[ChunkRecord]] = {}
        self.pending: dict[str, tuple[Write, list[ChunkRecord]]] = {}
        self.committed: dict[str, Write] = {}
        self.deleting: dict[str, Deletion] = {}

    def teardown(self) -> None:
        if hasattr(self, "catalog"):
            self.crash_and_repair()
            self.catalog.close()

    @rule(name=NAMES, contents=CONTENTS)
    def begin(self, name: str, contents: list[tuple[str, str]]) -> None:
        chunks = [chunk(ordinal, f"{name}-{content}", payload) for ordinal, (content, payload) in enumerate(contents)]
        self.pending[name] = (self.catalog.begin_writes(self.name, [(document(name), chunks)])[0], chunks)
        self.committed.pop(name, None)
        self.deleting.pop(name, None)

    @rule(name=NAMES, everything=st.booleans(), upto=st.integers(0, 4))
    def upsert(self, name: str, everything: bool, upto: int) -> None:
        """Only points that the served version lacks are written, unless everything is forced; perhaps not all, before a crash."""
        if name in self.pending:
            known = set() if everything else self.catalog.current_point_ids(self.name, name)
            self.store |= {item.point_id: item.payload_hash for item in self.pending[name][1][:upto] if item.point_id not in known}

    @rule(name=NAMES)
    def commit(self, name: str) -> None:
        if name in self.pending:
            write, chunks = self.pending.pop(name)
            known = self.catalog.current_point_ids(self.name, name)
            self.store |= {item.point_id: item.payload_hash for item in chunks if item.point_id not in known}
            self.catalog.commit_writes([write])
            self.expected[name], self.committed[name] = chunks, write

    @rule(name=NAMES)
    def finish(self, name: str) -> None:
        if name in self.committed:
            write = self.committed.pop(name)
            for point in self.catalog.obsolete_points(write):
                self.store.pop(point, None)
            for item in self.catalog.moved_chunks(write):
                self.store[item.point_id] = item.payload_hash
            self.catalog.finish_writes([write])
            self.check_points(name)

    @rule(name=NAMES)
    def begin_delete(self, name: str) -> None:
        for deletion in self.catalog.begin_deletes(self.name, [name]):
            self.deleting[name] = deletion
        for steps in (self.expected, self.pending, self.committed):
            steps.pop(name, None)

    @rule(name=NAMES, upto=st.integers(0, 9))
    def delete_some_points(self, name: str, upto: int) -> None:
        if name in self.deleting:
            for point in self.deleting[name].point_ids[:upto]:
                self.store.pop(point, None)

    @rule(name=NAMES)
    def finish_delete(self, name: str) -> None:
        if name in self.deleting:
            deletion = self.deleting.pop(name)
            for point in deletion.point_ids:
                self.store.pop(point, None)
            self.catalog.finish_deletes([deletion])
            self.check_points(name)

    @rule()
    def crash_and_repair(self) -> None:
        self.catalog.close()
        self.catalog = Catalog.open(CatalogSettings(_urls[-1]))
        items = self.catalog.take_over(self.name)
        for item in items:
            for point in item.obsolete_points:
                self.store.pop(point, None)
            self.store |= {moved.point_id: moved.payload_hash for moved in item.moved_chunks}
        self.catalog.settle(items)
        for steps in (self.pending, self.committed, self.deleting):
            steps.clear()
        assert self.catalog.unfinished(self.name) == []
        for name in ("a", "b"):
            self.check_points(name)
        assert sorted(self.catalog.point_ids(self.name)) == sorted(self.store)

    def check_points(self, name: str) -> None:
        mine = {point: payload for point, payload in self.store.items() if point.startswith(name)}
        assert mine == {item.point_id: item.payload_hash for item in self.expected.get(name, [])}

    @invariant()
    def what_is_served_is_what_was_committed_last(self) -> None:
        if hasattr(self, "catalog"):
            for name in ("a", "b"):
                assert self.catalog.current_chunks(self.name, name) == self.expected.get(name, [])
            counts = self.catalog.counts(self.name)
            assert (counts.documents, counts.chunks) == (len(self.expected), sum(map(len, self.expected.values())))

    @invariant()
    def every_served_point_is_in_the_store(self) -> None:
        if hasattr(self, "catalog"):
            assert {item.point_id for chunks in self.expected.values() for item in chunks} <= set(self.store)


@contextmanager
def used(url: str) -> Iterator[None]:
    _urls.append(url)
    yield
    _urls.pop()


@pytest.mark.parametrize(("backend", "examples"), [("sqlite", 25), ("postgres", 5)])
def test_no_crash_loses_or_orphans_a_point(request: pytest.FixtureRequest, backend: str, examples: int) -> None:
    with used(request.getfixturevalue(f"{backend}_url")):
        run_state_machine_as_test(
            WriteOrder,
            settings=settings(
                max_examples=examples,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
