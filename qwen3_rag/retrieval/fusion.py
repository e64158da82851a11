"""Two rankings into one. Pure functions over point ids and scores: they know no store, so every backend fuses alike.

Completed fusion wants both rankers' true score of every candidate; RRF and DBSF work on the two lists as they were recalled. All are
computed here rather than by the engine, whose RRF has another constant and whose fusion hides the scores that a hit shows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.types import Stage

Scores = Mapping[str, float]
"""Point id → score."""


def completed(dense: Scores, lexical: Scores, dense_weight: float) -> dict[str, float]:
    """Weighted sum of both scores, each standardised over all candidates (z-score).

    A candidate absent from `dense` or `lexical` scores 0 there, which is what BM25 gives a passage that shares no term with the query. A
    ranker that does not tell candidates apart (zero variance) adds nothing. Bruch et al., arXiv 2210.11934, compare convex
    combinations with RRF.
    """
    ids = _union(dense, lexical)
    fused = dense_weight * _standardised(dense, ids) + (1 - dense_weight) * _standardised(lexical, ids)
    return dict(zip(ids, fused.tolist(), strict=True))


def reciprocal_rank(dense: Scores, lexical: Scores, dense_weight: float, k: int) -> dict[str, float]:
    """Sum of 1 / (k + rank) over the lists that hold a candidate (Cormack et al., SIGIR 2009); equal weights count 1 each."""

    def of_list(scores: Scores) -> dict[str, float]:
        return {point: 1 / (k + stage.rank) for point, stage in ranked(scores).items()}

    return _sum_of_lists(dense, lexical, dense_weight, of_list)


def distribution_based(dense: Scores, lexical: Scores, dense_weight: float) -> dict[str, float]:
    """Sum of scores placed between mean − 3σ (0) and mean + 3σ (1) of their own list; equal weights count 1 each.

    The formula is Qdrant's DBSF. A list without variance gives each of its candidates one half.
    """

    def of_list(scores: Scores) -> dict[str, float]:
        ids = list(scores)
        return dict(zip(ids, (_standardised(scores, ids) / 6 + 0.5).tolist(), strict=True))

    return _sum_of_lists(dense, lexical, dense_weight, of_list)


def ranked(scores: Scores) -> dict[str, Stage]:
    """Rank (1 is best) and score of each, best first; equal scores are ordered by id, so that the order is always the same."""
    order = sorted(scores, key=lambda point: (-scores[point], point))
    return {point: Stage(rank, scores[point]) for rank, point in enumerate(order, start=1)}


def _sum_of_lists(dense: Scores, lexical: Scores, dense_weight: float, of_list: Callable[[Scores], dict[str, float]]) -> dict[str, float]:
    from_dense, from_lexical = of_list(dense), of_list(lexical)
    weights = 2 * dense_weight, 2 * (1 - dense_weight)
    return {point: weights[0] * from_dense.get(point, 0.0) + weights[1] * from_lexical.get(point, 0.0) for point in _union(dense, lexical)}


def _union(dense: Scores, lexical: Scores) -> list[str]:
    return list(dict.fromkeys([*dense, *lexical]))


def standardised(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Each value as standard deviations from the mean (z-score); all 0 where they do not differ."""
    if values.size == 0:
        return values
    deviation = float(values.std())
    if deviation <= 1e-12 * max(1.0, float(np.abs(values).max())):
        return np.zeros_like(values)
    centred: NDArray[np.float64] = values - values.mean()
    return centred / deviation


def _standardised(scores: Scores, ids: list[str]) -> NDArray[np.float64]:
    return standardised(np.array([scores.get(point, 0.0) for point in ids], dtype=np.float64))
