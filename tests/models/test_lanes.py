"""A batch divided among threads: nothing lost, the same numbers, and torch's threads elsewhere as they were."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import Qwen3Config, Qwen3Model

from qwen3_rag.errors import NonFiniteError
from qwen3_rag.models import inference as module
from qwen3_rag.models import lanes
from qwen3_rag.models.budget import CPU_TOKENS
from qwen3_rag.models.inference import Inference
from qwen3_rag.models.lanes import Lanes, count_lanes, divide
from qwen3_rag.models.packing import Item
from qwen3_rag.models.scheduling import Reduction
from tests.models.tiny_qwen3 import make_config

CPU = torch.device("cpu")


@pytest.fixture
def threads() -> Iterator[None]:
    """Two threads for torch, whatever the tests run with."""
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@given(st.lists(st.integers(1, 900), max_size=40), st.integers(1, 8))
def test_each_item_is_in_one_lane_and_lanes_are_even(lengths: list[int], count: int):
    parts = divide([Item([7] * length) for length in lengths], count)
    if parts is None:
        return
    assert len(parts) == count > 1
    assert sorted(index for part in parts for index in part) == list(range(len(lengths)))
    loads = [sum(lengths[index] for index in part) for part in parts]
    assert min(loads) > 0
    assert max(loads) <= 1.25 * sum(lengths) / count


def test_one_row_where_that_is_better():
    assert divide([Item([1] * 600)] * 4, 1) is None
    assert divide([Item([1] * 600)] * 4, 2) == [[0, 2], [1, 3]]
    assert divide([Item([1] * 250)] * 4, 2) is None  # few tokens
    assert divide([Item([1] * 5000), *[Item([1] * 600)] * 4], 2) is None  # one long text, while others would wait for it
    assert divide([Item([1] * 5000)], 2) is None
    assert divide([Item([1] * 1000)] * 7, 8) is None  # one lane would have nothing
    assert divide([], 2) is None


@pytest.mark.usefixtures("threads")
def test_only_small_networks_on_a_cpu(monkeypatch: pytest.MonkeyPatch):
    assert count_lanes(make_config(), CPU) == 2
    assert count_lanes(make_config(), torch.device("cuda")) == 1
    official = Qwen3Config(hidden_size=1024, intermediate_size=3072, num_attention_heads=16, num_key_value_heads=8, head_dim=128)
    assert count_lanes(official, CPU) == 1
    monkeypatch.setattr(torch, "get_num_threads", lambda: 64)
    assert count_lanes(make_config(), CPU) == lanes.MOST


@pytest.mark.usefixtures("threads")
def test_one_core_in_each_and_other_threads_as_they_were():
    two = Lanes(2)
    meeting = threading.Barrier(2)  # both calls at the same time, or this would time out
    inside: list[int] = []
    call = lambda: (meeting.wait(10), torch.get_num_threads())[1]  # noqa: E731
    assert in_a_new_thread(lambda: (inside.extend(two.run([call, call])), torch.get_num_threads())[1]) == 2
    assert inside == [1, 1]
    assert torch.get_num_threads() == in_a_new_thread(torch.get_num_threads) == 2


def in_a_new_thread(call: Callable[[], int]) -> int:
    """Of one that has not computed yet."""
    found: list[int] = []
    thread = threading.Thread(target=lambda: found.append(call()))
    thread.start()
    thread.join()
    return found[0]


def test_an_error_comes_out_when_all_have_ended():
    ended: list[str] = []

    def slow() -> None:
        time.sleep(0.05)
        ended.append("slow")

    def fail() -> None:
        raise RuntimeError("of a lane")

    two = Lanes(2)
    with pytest.raises(RuntimeError, match="of a lane"):
        two.run([fail, slow])
    assert ended == ["slow"]
    assert two.run([lambda: 1, lambda: 2]) == [1, 2]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system does not fork")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_has_threads_of_its_own():
    two = Lanes(2)
    assert two.run([lambda: 1, lambda: 2]) == [1, 2]
    child = os.fork()
    if not child:
        signal.alarm(20)  # ends the child, should it wait for ever
        os._exit(two.run([lambda: 3, lambda: 4]) != [3, 4])
    assert os.waitpid(child, 0)[1] == 0
    assert two.run([lambda: 5, lambda: 6]) == [5, 6]


def test_threads_end_with_it():
    two = Lanes(2)
    two.run([lambda: None])
    mine = [thread for thread in threading.enumerate() if thread.name.startswith("qwen3-rag-lane")]
    del two
    gc.collect()
    deadline = time.monotonic() + 10
    while any(thread.is_alive() for thread in mine[-2:]) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(mine) >= 2
    assert not any(thread.is_alive() for thread in mine[-2:])


ITEMS = [Item([1, 2, 3, *[number % 50 + 4] * (50 + number)], 3) for number in range(40)]


class TestInference:
    @pytest.fixture
    def model(self) -> Qwen3Model:
        torch.manual_seed(5)
        return Qwen3Model(make_config()).eval().requires_grad_(False)

    @pytest.fixture
    def divided(self, model: Qwen3Model, monkeypatch: pytest.MonkeyPatch) -> Inference:
        """Two lanes, and a record of what was run in them."""
        monkeypatch.setattr(module, "count_lanes", lambda *_: 2)
        inference = Inference(model, "tiny")
        inference.calls = []  # type: ignore[attr-defined]
        run = inference._lanes.run
        monkeypatch.setattr(inference._lanes, "run", lambda calls: (inference.calls.append(len(calls)), run(calls))[1])  # type: ignore[attr-defined]
        return inference

    def rows(self, inference: Any) -> Any:
        width = inference.model.config.hidden_size
        return inference.run(ITEMS, Reduction(lambda rows: rows, (width,))).rows

    def test_the_same_numbers(self, model: Qwen3Model, divided: Any):
        alone = Inference(model, "tiny")
        alone._lanes = Lanes(1)
        np.testing.assert_allclose(self.rows(divided), self.rows(alone), atol=1e-5)
        assert divided.calls == [2]
        assert divided.budget.tokens == 2 * CPU_TOKENS

    def test_memory_that_runs_out_in_a_lane(self, model: Qwen3Model, divided: Any, monkeypatch: pytest.MonkeyPatch):
        expected, forward, failed = self.rows(divided), divided._forwards[1], []

        def fail_once(items: Any) -> Any:
            if not failed:
                failed.append(len(items))
                raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
            return forward(items)

        divided._forwards[1] = fail_once
        np.testing.assert_allclose(self.rows(divided), expected, atol=1e-5)
        assert len(failed) == 1
        assert divided.budget.tokens < 2 * CPU_TOKENS

    def test_output_that_is_not_finite(self, model: Qwen3Model, divided: Any):
        model.norm.weight[3] = float("nan")
        with pytest.raises(NonFiniteError):
            self.rows(divided)
