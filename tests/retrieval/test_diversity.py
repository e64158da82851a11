from __future__ import annotations

import numpy as np
import pytest

from qwen3_rag.retrieval.diversity import maximal_marginal_relevance


def unit(*rows: list[float]) -> np.ndarray:
    vectors = np.array(rows, dtype=np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


QUERY = unit([1, 0.2, 0])[0]
VECTORS = unit([1, 0.2, 0], [1, 0.25, 0], [0.2, 1, 0], [0, 0, 1])


def test_one_is_relevance_alone():
    assert maximal_marginal_relevance(VECTORS @ QUERY, VECTORS, 4, 1.0) == [0, 1, 2, 3]


def test_zero_is_the_most_diverse():
    assert maximal_marginal_relevance(VECTORS @ QUERY, VECTORS, 2, 0.0) == [0, 3]


def test_in_between_the_near_duplicate_loses():
    between = unit([1, 0.9, 0])[0]
    assert maximal_marginal_relevance(VECTORS @ between, VECTORS, 2, 1.0) == [1, 0]
    assert maximal_marginal_relevance(VECTORS @ between, VECTORS, 2, 0.5) == [1, 2]


@pytest.mark.parametrize("lambda_mult", [0.2, 0.3, 0.7, 1.0])
def test_equals_the_definition(lambda_mult: float):
    random = np.random.default_rng(5)
    vectors, query = unit(*random.standard_normal((30, 8))), unit(random.standard_normal(8))[0]
    chosen: list[int] = []
    while len(chosen) < 12:
        best = max(
            (index for index in range(30) if index not in chosen),
            key=lambda i: (
                lambda_mult * float(vectors[i] @ query)
                - (1 - lambda_mult) * max((float(vectors[i] @ vectors[j]) for j in chosen), default=0.0)
            ),
        )
        chosen.append(best)
    assert maximal_marginal_relevance(vectors @ query, vectors, 12, lambda_mult) == chosen


def test_more_than_there_are():
    assert sorted(maximal_marginal_relevance(VECTORS @ QUERY, VECTORS, 9, 0.5)) == [0, 1, 2, 3]
    assert maximal_marginal_relevance(np.empty(0, np.float32), np.empty((0, 3), np.float32), 3, 0.5) == []
