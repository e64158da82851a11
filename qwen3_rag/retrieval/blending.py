"""Which order two stages decide together. Pure arithmetic over scores: it knows no reranker, no hit and no store.

Recall has seen words that a small reranker may not know, and a reranker has read what recall only counted. Neither is always right, so
both can have a say: (1 − w) · z(recall) + w · z(reranker).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import isfinite
from numbers import Real

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.retrieval.fusion import standardised

RERANKER_ALONE = 1.0
"""The weight at which recall has no say, and nothing is computed here."""
LEAST_PROBABILITY = 1e-7
"""Probabilities are clipped this far from 0 and 1, a log-odds of ±16: nearer to 1, float32 does not tell them apart."""


def best_first(scores: Sequence[float], recalled: Sequence[float | None], rerank_weight: float) -> list[int]:
    """Indices of `scores`, the reranker's, in the order that it and recall decide together; equal ones stay as they came."""
    deciding = scores if rerank_weight == RERANKER_ALONE else blended(scores, recalled, rerank_weight)
    return ordered(deciding)


def recall_scores(found: Iterable[object]) -> list[float | None]:
    """Recall scores among what a framework's metadata holds: None where it is no finite number."""
    return [float(value) if isinstance(value, Real) and not isinstance(value, bool) and isfinite(value) else None for value in found]


def ordered(scores: Sequence[float]) -> list[int]:
    """Indices of the scores, the highest first; equal ones stay as they came."""
    return sorted(range(len(scores)), key=lambda index: (-scores[index], index))


def blended(scores: Sequence[float], recalled: Sequence[float | None], rerank_weight: float) -> list[float]:
    """(1 − w) · z(recall score) + w · z(reranker's log-odds), standardised over these candidates.

    A stage that does not tell the candidates apart adds nothing. A candidate without a recall score (None, NaN) is an average one
    there: 0, which neither helps nor harms it.

    Args:
        scores: of the reranker: probabilities, or whatever it gives, see `log_odds`.
        recalled: of recall, on any one scale; those past the last of `scores` do not count, a deadline left them unscored.
        rerank_weight: w, 0 to 1.
    """
    known = np.array([np.nan if score is None else score for score in recalled[: len(scores)]], dtype=np.float64)
    of_recall, there = np.zeros_like(known), np.isfinite(known)
    of_recall[there] = standardised(known[there])
    blend: list[float] = ((1 - rerank_weight) * of_recall + rerank_weight * standardised(log_odds(scores))).tolist()
    return blend


def log_odds(scores: Sequence[float]) -> NDArray[np.float64]:
    """Log-odds, log p / (1 − p), of probabilities, clipped. Where one score is no probability, all stay as they are.

    Probabilities themselves crowd at 0 and 1: standardised, 0.001 and 0.00001 would be the same.
    """
    values = np.array(scores, dtype=np.float64)
    if values.size and (values.min() < 0 or values.max() > 1):
        return values
    clipped = np.clip(values, LEAST_PROBABILITY, 1 - LEAST_PROBABILITY)
    odds: NDArray[np.float64] = np.log(clipped) - np.log1p(-clipped)
    return odds
