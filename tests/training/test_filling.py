from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag.training.filling import filled

Item = tuple[int, frozenset[str]]


def one_by_one(items: list[Item], size: int) -> tuple[list[list[Item]], list[Item]]:
    """The same, with a look at everything that waits whenever a batch begins."""
    batches: list[list[Item]] = []
    batch: list[Item] = []
    waiting: list[Item] = []
    for item in items:
        candidates = [item]
        while candidates:
            for candidate in candidates:
                fits = len(batch) < size and all(candidate[1].isdisjoint(marks) for _, marks in batch)
                (batch if fits else waiting).append(candidate)
            candidates = []
            if len(batch) == size:
                batches.append(batch)
                batch, candidates, waiting = [], waiting, []
    return batches, [*batch, *waiting]


@given(st.lists(st.frozensets(st.sampled_from("abcdefgh"), max_size=3), max_size=60), st.integers(1, 5))
def test_those_who_wait_are_served_first_come_first_served(marks: list[frozenset[str]], size: int):
    items = list(enumerate(marks))
    assert filled(items, size, lambda item: item[1]) == one_by_one(items, size)


def test_many_that_wait_cost_no_more_than_few():
    looked = 0

    class Mark(str):
        __slots__ = ()

        def __hash__(self) -> int:
            nonlocal looked
            looked += 1
            return super().__hash__()

    def cost(count: int) -> int:
        nonlocal looked
        items = [frozenset((Mark(f"q{i}"), Mark(f"d{i}" if i % 2 else f"label {i % 10}"))) for i in range(count)]
        looked = 0
        batches, left = filled(items, 32, lambda item: item)
        assert len(left) > count / 4
        assert len(batches) > count / 100
        return looked

    assert cost(8000) < 6 * cost(2000)
