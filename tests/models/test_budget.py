from __future__ import annotations

import pytest
import torch

from qwen3_rag.models import budget
from qwen3_rag.models.budget import LEAST_TOKENS, Footprint, TokenBudget, choose_budget, free_bytes, is_out_of_memory
from tests.models.tiny_qwen3 import make_config


def test_it_halves_and_is_restored_slowly() -> None:
    one = TokenBudget(2048)
    one.halve(2048)
    assert one.tokens == 1024
    one.halve(700)
    assert one.tokens == 350
    for _ in range(15):
        one.succeeded()
    assert one.tokens == 350
    one.succeeded()
    assert one.tokens == 438
    for _ in range(1000):
        one.succeeded()
    assert one.tokens == 2048


def test_it_does_not_begin_too_small_to_be_of_use() -> None:
    assert TokenBudget(10).tokens == LEAST_TOKENS


def test_it_becomes_as_small_as_it_must_and_grows_from_there() -> None:
    one = TokenBudget(LEAST_TOKENS)
    for attempted in (LEAST_TOKENS, 100, 9, 2, 1):
        one.halve(attempted)
        assert one.tokens == max(1, attempted // 2)
    for _ in range(1000):
        one.succeeded()
    assert one.tokens == LEAST_TOKENS


def test_little_memory_makes_small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    config, device = make_config(), torch.device("cpu")
    assert choose_budget(config, torch.float32, device).tokens == budget.CPU_TOKENS
    each = Footprint.of(config, torch.float32).bytes_per_token
    monkeypatch.setattr(budget, "free_bytes", lambda _: 1200 * each)
    assert choose_budget(config, torch.float32, device).tokens == 600
    assert Footprint.of(config, torch.bfloat16).bytes_per_token * 2 == each


def test_the_machine_tells_what_is_free() -> None:
    assert 10**6 < free_bytes(torch.device("cpu")) <= 1 << 60


def test_out_of_memory_is_recognised() -> None:
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.int8)
    assert is_out_of_memory(raised.value)
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory"))
    assert not is_out_of_memory(RuntimeError("size mismatch"))
    assert not is_out_of_memory(ValueError("out of memory"))
