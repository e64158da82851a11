"""The stages overlap, nothing is lost between them, and memory stays bounded."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from qwen3_rag.ingestion.pipeline import bounded_map


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


def test_bounded_map_runs_calls_at_the_same_time():
    together = threading.Barrier(3, timeout=20)
    with ThreadPoolExecutor(3) as executor:
        assert len(list(bounded_map(executor, lambda _: together.wait(), range(3), window=3))) == 3


def test_bounded_map_raises_what_a_call_raised():
    with ThreadPoolExecutor(2) as executor, pytest.raises(ZeroDivisionError):
        list(bounded_map(executor, lambda number: 1 // number, [1, 0, 2], window=2))
