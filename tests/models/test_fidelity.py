"""How close two models are: known vectors and scores, checked by hand or against a definition."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models import fidelity
from qwen3_rag.models.base import EmbedderLike, RerankerLike
from qwen3_rag.models.fidelity import (
    VectorFidelity,
    compare_embedders,
    compare_rerankers,
    measure_embedder,
    measure_reranker,
    spearman,
    speed_ratio,
)
from qwen3_rag.models.sample_texts import SAMPLE_TEXTS


class Fixed:
    """Gives the rows it was made with, whatever it is asked."""

    def __init__(self, rows: Any) -> None:
        self.rows = np.asarray(rows, dtype=np.float32)

    def embed_documents(self, texts: Sequence[str]) -> np.ndarray:
        return self.rows[: len(texts)]

    def score(self, query: str, documents: Sequence[str]) -> np.ndarray:
        return self.rows[int(query)]


def embedder(rows: Any) -> EmbedderLike:
    return cast(EmbedderLike, Fixed(rows))


def reranker(rows: Any) -> RerankerLike:
    return cast(RerankerLike, Fixed(rows))


def test_the_same_vectors():
    rows = np.eye(12)
    found = compare_embedders(embedder(rows), embedder(rows), ["text"] * 12)
    assert (found.texts, found.mean, found.minimum, found.p01, found.overlap_at_10) == (12, 1.0, 1.0, 1.0, 1.0)
    assert found.is_close


def test_cosines_by_hand():
    found = compare_embedders(embedder([[1, 0], [0, 1]]), embedder([[1, 0], [0.6, 0.8]]), ["a", "b"])
    assert found.mean == pytest.approx(0.9)
    assert found.minimum == pytest.approx(0.8)
    assert found.p01 == pytest.approx(0.802)
    assert not found.is_close


def test_overlap_of_neighbours():
    before = np.array([[1.0, 0.0], [0.9, 0.1], [0.1, 0.9], [0.0, 1.0]])
    after = before[[0, 2, 1, 3]]
    assert fidelity.neighbour_overlap(before, before, 1) == 1.0
    assert fidelity.neighbour_overlap(before, after, 1) == 0.0
    assert fidelity.neighbour_overlap(before, after, 2) == 0.75
    assert fidelity.neighbour_overlap(before, after, 10) == 1.0


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [
        ([1, 2, 3, 4], [10, 20, 30, 40], 1.0),
        ([1, 2, 3, 4], [4, 3, 2, 1], -1.0),
        ([1, 2, 3, 4], [1, 3, 2, 4], 0.8),
        ([1, 2, 2, 3], [1, 2, 3, 4], 0.9486832980505138),
        ([5, 5, 5], [7, 7, 7], 1.0),
        ([5, 5, 5], [1, 2, 3], 0.0),
    ],
)
def test_spearman(first: list[float], second: list[float], expected: float):
    assert spearman(np.array(first, dtype=np.float64), np.array(second, dtype=np.float64)) == pytest.approx(expected)


def test_scores():
    found = compare_rerankers(
        reranker([[0.1, 0.2, 0.3], [0.9, 0.5, 0.1]]), reranker([[0.1, 0.25, 0.3], [0.1, 0.5, 0.9]]), ["0", "1"], ["d"] * 3
    )
    assert found.pairs == 6
    assert found.spearman == pytest.approx(0.0)
    assert found.max_difference == pytest.approx(0.8)
    assert not found.is_close


def test_speed_is_the_median_of_rounds(monkeypatch: pytest.MonkeyPatch):
    moments = iter([0, 4, 4, 6, 6, 9, 9, 18, 18, 24, 24, 26])
    monkeypatch.setattr(fidelity.time, "perf_counter", lambda: next(moments))
    assert speed_ratio(lambda: None, lambda: None, rounds=3) == 2.0


@pytest.mark.parametrize("given", [[], ["alone"], "a string"])
def test_too_few_texts(given: Any):
    with pytest.raises(ConfigurationError, match="at least two"):
        compare_embedders(embedder([[1]]), embedder([[1]]), given)
    with pytest.raises(ConfigurationError, match="at least two"):
        compare_rerankers(reranker([[1]]), reranker([[1]]), ["0"], given)


def test_no_query():
    with pytest.raises(ConfigurationError, match="at least one query"):
        compare_rerankers(reranker([[1]]), reranker([[1]]), [], ["a", "b"])


def test_report_of_an_embedder():
    report = measure_embedder("nano", SAMPLE_TEXTS)
    written = json.loads(json.dumps(report.to_dict()))
    assert (written["model"], written["quantization"], written["texts"], written["is_close"]) == ("nano", "none", 40, True)
    assert written["mean"] == pytest.approx(1.0)
    assert written["speed"] > 0


def test_bfloat16_stays_close_on_nano():
    report = measure_embedder("nano", SAMPLE_TEXTS, dtype="bfloat16")
    assert (report.candidate, report.to_dict()["dtype"], report.to_dict()["quantization"]) == ("bfloat16", "bfloat16", "none")
    assert isinstance(report.fidelity, VectorFidelity)
    assert 0.9999 < report.fidelity.minimum <= report.fidelity.mean < 1 - 1e-7


def test_report_of_a_reranker(tiny: Path):
    written = measure_reranker(str(tiny), SAMPLE_TEXTS[:5]).to_dict()
    assert (written["pairs"], written["spearman"], written["max_difference"]) == (20, pytest.approx(1.0), 0.0)


def test_timing_takes_a_portion():
    assert fidelity._portion(SAMPLE_TEXTS) == list(SAMPLE_TEXTS)
    assert len(fidelity._portion(["x" * 1000] * 50)) == 8
    assert len(fidelity._portion(["x" * 99_999] * 2)) == 1


def test_sample_texts_are_forty_lines_apart():
    assert len(SAMPLE_TEXTS) == len(set(SAMPLE_TEXTS)) == 40
