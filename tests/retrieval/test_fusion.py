from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag.retrieval.fusion import completed, distribution_based, ranked, reciprocal_rank

SCORES = st.dictionaries(st.sampled_from("abcdefgh"), st.floats(-100, 100, allow_nan=False), max_size=8)


def test_completed_adds_z_scores() -> None:
    fused = completed({"a": 3.0, "b": 1.0, "c": 2.0}, {"a": 0.0, "b": 10.0, "c": 5.0}, dense_weight=0.75)
    z = math.sqrt(1.5)  # (3 − 2) / sqrt(2/3)
    assert fused == pytest.approx({"a": 0.5 * z, "b": -0.5 * z, "c": 0.0})


def test_completed_takes_a_missing_lexical_score_for_zero() -> None:
    assert completed({"a": 0.9, "b": 0.1}, {"a": 4.0}, 0.5) == completed({"a": 0.9, "b": 0.1}, {"a": 4.0, "b": 0.0}, 0.5)


def test_a_ranker_that_tells_nothing_apart_adds_nothing() -> None:
    dense = {"a": 0.9, "b": 0.5, "c": 0.1}
    assert list(ranked(completed(dense, {}, 0.1))) == ["a", "b", "c"]
    assert list(ranked(completed(dense, {"a": 0.3, "b": 0.3, "c": 0.1 + 0.2}, 0.1))) == ["a", "b", "c"]
    assert completed({"a": 0.7}, {"a": 3.0}, 0.5) == {"a": 0.0}
    assert completed({}, {}, 0.5) == {}


def test_reciprocal_rank() -> None:
    fused = reciprocal_rank({"a": 0.9, "b": 0.8}, {"b": 7.0, "c": 5.0}, 0.5, k=60)
    assert fused == pytest.approx({"a": 1 / 61, "b": 1 / 62 + 1 / 61, "c": 1 / 62})
    weighted = reciprocal_rank({"a": 0.9}, {"b": 7.0}, 0.75, k=1)
    assert weighted == pytest.approx({"a": 0.75, "b": 0.25})


def test_distribution_based() -> None:
    fused = distribution_based({"a": 3.0, "b": 1.0}, {"b": 5.0}, 0.5)
    assert fused == pytest.approx({"a": 0.5 + 1 / 6, "b": 0.5 - 1 / 6 + 0.5})


def test_ties_are_ordered_by_id() -> None:
    assert [(point, stage.rank) for point, stage in ranked({"b": 1.0, "c": 2.0, "a": 1.0}).items()] == [("c", 1), ("a", 2), ("b", 3)]


@given(dense=SCORES, lexical=SCORES, weight=st.floats(0, 1))
def test_every_candidate_gets_one_finite_score(dense: dict[str, float], lexical: dict[str, float], weight: float) -> None:
    for fused in (
        completed(dense, lexical, weight),
        reciprocal_rank(dense, lexical, weight, 60),
        distribution_based(dense, lexical, weight),
    ):
        assert set(fused) == set(dense) | set(lexical)
        assert all(map(math.isfinite, fused.values()))


@given(dense=SCORES, scale=st.floats(0.5, 100), shift=st.floats(-50, 50))
def test_completed_does_not_care_about_a_rankers_scale(dense: dict[str, float], scale: float, shift: float) -> None:
    rounded = {point: float(round(score)) for point, score in dense.items()}
    moved = {point: score * scale + shift for point, score in rounded.items()}
    other = {point: float(index) for index, point in enumerate(rounded)}
    assert completed(moved, other, 0.5) == pytest.approx(completed(rounded, other, 0.5), abs=1e-6)
