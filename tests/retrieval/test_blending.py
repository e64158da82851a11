from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag.retrieval.blending import best_first, blended, log_odds, ordered, recall_scores

PAIRS = st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(-50, 50, width=16)), max_size=8)
"""Each candidate's P(yes) and recall score."""


def one_by_one(scores: list[float], recalled: list[float], weight: float) -> list[float]:
    """The formula in plain Python, for probabilities away from 0 and 1 that differ, and recall scores that differ."""
    odds = [math.log(score / (1 - score)) for score in scores]
    blend = []
    for index in range(len(scores)):
        of_recall = (recalled[index] - statistics.fmean(recalled)) / statistics.pstdev(recalled)
        of_reranker = (odds[index] - statistics.fmean(odds)) / statistics.pstdev(odds)
        blend.append((1 - weight) * of_recall + weight * of_reranker)
    return blend


@pytest.mark.parametrize("weight", [0.0, 0.3, 0.5, 0.99, 1.0])
def test_the_formula(weight: float) -> None:
    scores, recalled = [0.9, 0.2, 0.999, 0.5], [1.7, 2.1, -0.4, 0.0]
    assert blended(scores, recalled, weight) == pytest.approx(one_by_one(scores, recalled, weight), abs=1e-12)


def test_by_hand() -> None:
    z = math.sqrt(1.5)  # (3 − 2) / sqrt(2/3)
    assert blended([0.5, 0.1, 0.9], [3.0, 2.0, 1.0], 0.25) == pytest.approx([0.75 * z, -0.25 * z, -0.5 * z])


def test_log_odds_tell_apart_what_probabilities_do_not() -> None:
    scores = [1e-3, 1e-5, 0.9]
    low, lower, _ = blended(scores, [0.0, 0.0, 0.0], 1.0)
    assert low - lower > 0.8
    assert (scores[0] - scores[1]) / np.std(scores) < 0.003  # which recall would outvote, whatever it says
    assert best_first(scores, [0.0, 0.1, 0.0], 0.8) == [2, 0, 1]


def test_certainty_is_clipped() -> None:
    odds = log_odds([0.0, 1e-30, 0.5, 1.0])
    assert odds.tolist() == pytest.approx([-16.118, -16.118, 0.0, 16.118], abs=1e-3)
    just_below_one = float(np.nextafter(np.float32(1), np.float32(0)))
    assert log_odds([just_below_one])[0] == odds[-1]


@pytest.mark.parametrize("scores", [[2.5, 0.1, 0.7], [-0.1, 0.1, 0.7], [-8.0, 3.0, 12.0]])
def test_another_scale_than_probabilities_stays_as_it_is(scores: list[float]) -> None:
    assert log_odds(scores).tolist() == scores


def test_a_stage_that_tells_nothing_apart_adds_nothing() -> None:
    assert best_first([0.1, 0.9, 0.5], [0.7, 0.7, 0.7], 0.01) == [1, 2, 0]
    assert best_first([0.4, 0.4, 0.4], [0.1, 0.9, 0.5], 0.99) == [1, 2, 0]
    assert blended([1.0, 1.0], [3.0, 3.0], 0.5) == [0.0, 0.0]
    assert blended([0.3], [7.0], 0.5) == [0.0]
    assert blended([], [], 0.5) == []


def test_without_a_recall_score_a_candidate_is_an_average_one() -> None:
    scores, z = [0.2, 0.4, 0.6], 1.0
    recall_alone = blended(scores, [10.0, None, 20.0], 0.0)
    assert recall_alone == pytest.approx([-z, 0.0, z])
    assert blended(scores, [10.0, math.nan, 20.0], 0.0) == recall_alone
    assert best_first(scores, [None, None, None], 0.2) == best_first(scores, [], 1.0)


def test_candidates_that_a_deadline_left_do_not_count() -> None:
    assert blended([0.2, 0.8], [3.0, 1.0, 99.0, -99.0], 0.4) == blended([0.2, 0.8], [3.0, 1.0], 0.4)


def test_recall_scores_in_metadata() -> None:
    found = [1, 0.5, np.float32(0.25), None, "0.7", True, math.nan, math.inf, [0.1]]
    assert recall_scores(found) == [1.0, 0.5, 0.25, None, None, None, None, None, None]


@given(PAIRS)
def test_the_whole_weight_is_the_rerankers_own_order(pairs: list[tuple[float, float]]) -> None:
    scores = [score for score, _ in pairs]
    assert best_first(scores, [recalled for _, recalled in pairs], 1.0) == sorted(range(len(scores)), key=lambda i: (-scores[i], i))


@given(PAIRS)
def test_no_weight_is_the_order_of_recall(pairs: list[tuple[float, float]]) -> None:
    recalled = [score for _, score in pairs]
    assert best_first([score for score, _ in pairs], recalled, 0.0) == ordered(recalled)


@given(PAIRS, st.floats(0, 1), st.sampled_from([0.25, 2.0, 64.0]), st.integers(-20, 20))
def test_the_scale_of_recall_does_not_matter(pairs: list[tuple[float, float]], weight: float, scale: float, shift: int) -> None:
    scores, recalled = [score for score, _ in pairs], [score for _, score in pairs]
    moved = [score * scale + shift for score in recalled]
    assert blended(scores, moved, weight) == pytest.approx(blended(scores, recalled, weight), abs=1e-6)


@given(PAIRS, st.floats(0, 1))
def test_who_is_best_at_both_is_best(pairs: list[tuple[float, float]], weight: float) -> None:
    scores, recalled = [*(score for score, _ in pairs), 1.0], [*(score for _, score in pairs), 50.0]
    blend = blended(scores, recalled, weight)
    assert all(map(math.isfinite, blend))
    assert blend[-1] == max(blend)
