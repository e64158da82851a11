"""The stages overlap, nothing is lost between them, and memory stays bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from qwen3_rag.catalog import DocumentRecord
from qwen3_rag.ingestion.embedding import Embedded, EmbeddingStage
from qwen3_rag.ingestion.pipeline import Pipeline, bounded_map
from qwen3_rag.ingestion.prepare import Prepared
from qwen3_rag.ingestion.report import Action, Outcome
from qwen3_rag.settings import IngestionSettings
from qwen3_rag.types import Document
from tests.fakes import HashEmbedder


def test_bounded_map_keeps_the_order():
    with ThreadPoolExecutor(4) as executor:
        assert list(bounded_map(executor, lambda number: number * 2, range(50), window=7)) == [number * 2 for number in range(50)]


def test_bounded_map_reads_no_further_ahead_than_its_window():
    taken: list[int] = []

    def items() -> Iterator[int]:
        for number in range(100):
            taken.append(number)
            yield number

    with ThreadPoolExecutor(2) as executor:
        results = bounded_map(executor, lambda number: number, items(), window=5)
        next(results)
        assert len(taken) == 5
        assert len(list(results)) == 99


def test_bounded_map_reads_few_large_items_ahead():
    taken: list[int] = []

    def items() -> Iterator[int]:
        for size in [1, 1, 1, 30, 200, 1, 1, 1]:
            taken.append(size)
            yield size

    with ThreadPoolExecutor(2) as executor:
        results = bounded_map(executor, lambda size: size, items(), window=8, size=lambda size: size, limit=100)
        ahead = [(result, len(taken)) for result in results]
    assert ahead == [(1, 5), (1, 5), (1, 5), (30, 5), (200, 5), (1, 8), (1, 8), (1, 8)]


def test_long_documents_are_not_read_far_ahead(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("qwen3_rag.ingestion.pipeline.READ_AHEAD_BYTES", 1000)
    taken: list[str] = []

    def items() -> Iterator[Document]:
        for name in "abcdefgh":
            taken.append(name)
            yield Document(id=name, text=name * 400)

    stage = EmbeddingStage(HashEmbedder(), 8, lambda chunks, tokens: None)
    pipeline = Pipeline(lambda item: Outcome(item.id, Action.UNCHANGED), stage, lambda batch: [], IngestionSettings())
    outcomes = pipeline.run(items())
    assert next(outcomes).document_id == "a"
    assert taken == ["a", "b", "c"]
    assert [outcome.document_id for outcome in outcomes] == list("bcdefgh")


@pytest.mark.parametrize(("length", "sizes"), [(10, [4]), (400, [3, 1])], ids=["short", "long"])
def test_a_batch_holds_few_long_documents(length: int, sizes: list[int], monkeypatch: pytest.MonkeyPatch):
    """Also when next to nothing of them is to be embedded."""
    monkeypatch.setattr("qwen3_rag.ingestion.pipeline.BATCH_CHARACTERS", 1000)
    written: list[int] = []

    def write(batch: list[Embedded]) -> list[Outcome]:
        written.append(len(batch))
        return [Outcome(item.prepared.document.id, Action.UPDATED) for item in batch]

    stage = EmbeddingStage(HashEmbedder(), 8, lambda chunks, tokens: None)
    pipeline = Pipeline(kept, stage, write, IngestionSettings())
    assert len(list(pipeline.run(Document(id=name, text="x" * length) for name in "abcd"))) == 4
    assert written == sizes


def kept(document: Document) -> Prepared:
    """A document of which nothing is fresh."""
    return Prepared(document, DocumentRecord(document.id, "c", "s"), (), (), (), frozenset(), known=True)


def test_bounded_map_runs_calls_at_the_same_time():
    together = threading.Barrier(3, timeout=20)
    with ThreadPoolExecutor(3) as executor:
        assert len(list(bounded_map(executor, lambda _: together.wait(), range(3), window=3))) == 3


def test_bounded_map_raises_what_a_call_raised():
    with ThreadPoolExecutor(2) as executor, pytest.raises(ZeroDivisionError):
        list(bounded_map(executor, lambda number: 1 // number, [1, 0, 2], window=2))
