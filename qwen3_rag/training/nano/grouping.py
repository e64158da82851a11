"""Pairs of alike passages side by side, so that a batch of one group holds texts that are hard to tell apart.

In a batch drawn at random nearly all similarities are those of strangers, and what is learned is the subject. Groups are found by spherical
k-means (Dhillon and Modha, 2001) on a teacher's vectors of the passages. This module knows vectors, no models and no training.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.training.nano.teaching import unit
from qwen3_rag.training.pairs import Pair

ROUNDS = 15

Array = NDArray[np.float32]


def grouped(pairs: Sequence[Pair], vectors: Array, groups: int, seed: int) -> Iterator[Pair]:
    """The pairs, each with its group as its source.

    Args:
        pairs: what is grouped.
        vectors: of their positives, shape (pairs, width).
        groups: how many.
        seed: of the first centres.
    """
    for pair, group in zip(pairs, spherical_kmeans(vectors, groups, seed).tolist(), strict=True):
        yield replace(pair, source=f"group {group}")


def spherical_kmeans(vectors: Array, groups: int, seed: int) -> NDArray[np.int64]:
    """A group for each row, by the cosine with its centre; shape (rows,). An empty group keeps its centre."""
    rows = unit(vectors)
    centres = rows[np.random.default_rng(seed).choice(len(rows), min(groups, len(rows)), replace=False)]
    nearest = np.zeros(len(rows), dtype=np.int64)
    for _ in range(ROUNDS):
        nearest = (rows @ centres.T).argmax(1)
        sums = np.zeros_like(centres)
        np.add.at(sums, nearest, rows)
        filled = np.bincount(nearest, minlength=len(centres)) > 0
        centres = np.where(filled[:, None], unit(sums), centres)
    return nearest
