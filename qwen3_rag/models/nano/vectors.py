"""From a teacher's vectors of tokens and texts to token vectors whose weighted mean imitates it: linear algebra only.

1. A token weighs a / (a + its probability) in a mean (Arora et al., 2017: smooth inverse frequency).
2. One linear map, by least squares, takes the weighted mean of a text's token vectors to the teacher's vector of the text.
3. Ridge regression then moves the single token vectors, as far as the texts they occur in ask for it.
4. The few leading directions of the weighted token vectors are removed; they hold what all texts share.
5. What remains is rotated to the principal directions of the teacher's text vectors, largest first, and cut. A prefix of
   a vector is then the best of its length, which is what Matryoshka truncation wants.

This module knows nothing of tokenizers, of files or of Qwen3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float64]

CONJUGATE_GRADIENT_STEPS = 20


@dataclass(frozen=True, slots=True)
class Recipe:
    """What was chosen, on development questions that are in neither of the two evaluation sets.

    `smoothing` is the `a` of the weights, `ridge` the penalty on moving token vectors, `removed` how many leading directions go,
    `content` how many dimensions stay.
    """

    smoothing: float = 1e-3
    ridge: float = 0.1
    removed: int = 4
    content: int = 312


def token_probabilities(sources: Sequence[Sequence[Sequence[int]]], vocabulary: int) -> Array:
    """Mean over the sources of each token's share in the source's token ids; shape (vocabulary,), zero for tokens never seen.

    Sources count alike, however long their texts are.
    """
    counts = [np.bincount(np.concatenate([np.asarray(ids, dtype=np.int64) for ids in source]), minlength=vocabulary) for source in sources]
    return np.asarray(np.mean([count / count.sum() for count in counts], axis=0), dtype=np.float64)


def token_weights(probabilities: Array, smoothing: float) -> Array:
    """`smoothing / (smoothing + p)`, between 0 and 1."""
    return smoothing / (smoothing + probabilities)


def fitted_vectors(token_ids: Sequence[Sequence[int]], weights: Array, tokens: Array, texts: Array, recipe: Recipe) -> Array:
    """Token vectors such that the weighted mean over a text's `token_ids` is near its row of `texts`: steps 2 and 3.

    `tokens` of shape (vocabulary, d) are the teacher's token vectors, `texts` of shape (len(token_ids), d) its text vectors.
    """
    means = _WeightedMeans(token_ids, weights)
    start = torch.from_numpy(tokens @ np.linalg.lstsq(means.of(tokens), texts, rcond=None)[0])
    residual = torch.from_numpy(texts) - means.forward(start)
    return np.asarray((start + _ridge_correction(means, residual, recipe.ridge)).numpy(), dtype=np.float64)


def content_vectors(vectors: Array, weights: Array, probabilities: Array, texts: Array, recipe: Recipe) -> Array:
    """Steps 4 and 5: `vectors` without their leading directions, on the principal directions of `texts`; (vocabulary, content)."""
    common = _leading_directions(vectors * (weights * np.sqrt(probabilities))[:, None], recipe.removed)
    rest = texts - texts @ common.T @ common
    rest /= np.linalg.norm(rest, axis=1, keepdims=True)
    axes = _leading_directions(rest - rest.mean(0), recipe.content)
    return (vectors - vectors @ common.T @ common) @ axes.T


class _WeightedMeans:
    """The linear map from token vectors to the weighted mean of each text, and its transpose. Sums go in a fixed order."""

    def __init__(self, token_ids: Sequence[Sequence[int]], weights: Array) -> None:
        texts = np.repeat(np.arange(len(token_ids)), [len(ids) for ids in token_ids])
        tokens = np.concatenate([np.asarray(ids, dtype=np.int64) for ids in token_ids])
        shares = weights[tokens] / np.bincount(texts, weights[tokens], minlength=len(token_ids))[texts]
        by_token = np.argsort(tokens, kind="stable")
        self._forward = _bags(tokens, texts, shares, len(token_ids))
        self._transposed = _bags(texts[by_token], tokens[by_token], shares[by_token], len(weights))

    def of(self, vectors: Array) -> Array:
        """`forward` for numpy."""
        return np.asarray(self.forward(torch.from_numpy(vectors)).numpy(), dtype=np.float64)

    def forward(self, vectors: torch.Tensor) -> torch.Tensor:
        """(vocabulary, d) to (texts, d)."""
        return _sums(vectors, *self._forward)

    def transposed(self, vectors: torch.Tensor) -> torch.Tensor:
        """(texts, d) to (vocabulary, d)."""
        return _sums(vectors, *self._transposed)


def _bags(indices: NDArray[np.int64], bags: NDArray[np.int64], shares: Array, count: int) -> tuple[torch.Tensor, ...]:
    """Indices, first index of each of `count` bags, and shares; `bags` is sorted."""
    starts = np.searchsorted(bags, np.arange(count))
    return torch.from_numpy(indices), torch.from_numpy(starts), torch.from_numpy(shares)


def _sums(vectors: torch.Tensor, indices: torch.Tensor, starts: torch.Tensor, shares: torch.Tensor) -> torch.Tensor:
    # Not torch.sparse: its products of this size differed from run to run and were once NaN (seen with torch 2.13 on a CPU).
    return torch.nn.functional.embedding_bag(indices, vectors, starts, mode="sum", per_sample_weights=shares)


def _ridge_correction(means: _WeightedMeans, residual: torch.Tensor, penalty: float) -> torch.Tensor:
    """The `x` that minimises |means x - residual|² + penalty |x|², by conjugate gradients, all columns at once."""
    error = means.transposed(residual)
    solution = torch.zeros_like(error)
    direction, squares = error.clone(), error.square().sum(0)
    for _ in range(CONJUGATE_GRADIENT_STEPS):
        image = means.transposed(means.forward(direction)) + penalty * direction
        step = squares / (direction * image).sum(0)
        solution += step * direction
        error -= step * image
        previous, squares = squares, error.square().sum(0)
        direction = error + squares / previous * direction
    return solution


def _leading_directions(rows: Array, count: int) -> Array:
    """The first right singular vectors, shape (count, d), with the sign that makes the largest component positive."""
    directions = np.linalg.svd(rows, full_matrices=False)[2][:count]
    largest = np.abs(directions).argmax(1)
    return np.asarray(directions * np.sign(directions[np.arange(len(directions)), largest])[:, None], dtype=np.float64)
