"""Cuts work into batches by a token budget, longest first. Knows only lengths."""

from __future__ import annotations

from collections.abc import Sequence


def batches(lengths: Sequence[int], budget: int) -> list[list[int]]:
    """Indices of the texts of each batch: longest first, `longest x count` of a batch within `budget` padded tokens.

    Longest first, so that a batch that is too large for the memory shows at once. A text longer than the budget is a batch of its own.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    cut: list[list[int]] = []
    for index in order:
        if cut and lengths[cut[-1][0]] * (len(cut[-1]) + 1) <= budget:
            cut[-1].append(index)
        else:
            cut.append([index])
    return cut
