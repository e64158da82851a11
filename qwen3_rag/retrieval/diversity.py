"""Maximal marginal relevance: the best passages that do not say the same thing. A pure function over vectors."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def maximal_marginal_relevance(relevance: NDArray[np.float32], vectors: NDArray[np.float32], top_k: int, lambda_mult: float) -> list[int]:
    """Indices of the chosen candidates, in the order chosen (Carbonell and Goldstein, SIGIR 1998).

    Each choice maximises `lambda_mult · relevance − (1 − lambda_mult) · similarity to the nearest already chosen`: 1 is relevance alone,
    0 the most diverse. Of equals the first wins.

    Args:
        relevance: cosine of each candidate with the query, shape (n,).
        vectors: the candidates, shape (n, dim), rows L2-normalised.
        top_k: how many to choose, at most n.
        lambda_mult: 0 to 1.
    """
    chosen: list[int] = []
    nearest = np.zeros(len(relevance), dtype=np.float64)
    free = np.ones(len(relevance), dtype=bool)
    for _ in range(min(top_k, len(relevance))):
        gain = np.where(free, lambda_mult * relevance - (1 - lambda_mult) * nearest, -np.inf)
        best = int(gain.argmax())
        similarity = vectors @ vectors[best]
        nearest = np.maximum(nearest, similarity) if chosen else similarity.astype(np.float64)
        free[best] = False
        chosen.append(best)
    return chosen
