from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag.models.batching import batches


@given(st.lists(st.integers(1, 300), max_size=60), st.integers(1, 1000))
def test_every_text_once_longest_first_within_the_budget(lengths: list[int], budget: int) -> None:
    cut = batches(lengths, budget)
    order = [index for batch in cut for index in batch]
    assert sorted(order) == list(range(len(lengths)))
    assert [lengths[index] for index in order] == sorted(lengths, reverse=True)
    assert all(len(batch) == 1 or lengths[batch[0]] * len(batch) <= budget for batch in cut)


def test_batches_are_filled() -> None:
    assert batches([10, 10, 10, 10], 20) == [[0, 1], [2, 3]]
    assert batches([1, 50, 2], 20) == [[1], [2, 0]]
    assert batches([], 20) == []
