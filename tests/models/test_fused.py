"""The layers of our own beside transformers': the same numbers, and only where they apply."""

from __future__ import annotations

import copy

import pytest
import torch
from transformers import Qwen3Model

from qwen3_rag.models import fused
from qwen3_rag.models.packed import PackedForward
from qwen3_rag.models.packing import Item
from qwen3_rag.models.quantization import has_int8_engine, quantize_linears
from tests.models.tiny_qwen3 import make_config

ITEMS = [Item([1, 2, 3, 4, 5, 6], 3), Item([1, 2, 3, 9, 9], 3), Item([7]), Item([3] * 40)]


@pytest.fixture
def model() -> Qwen3Model:
    torch.manual_seed(3)
    model = Qwen3Model(make_config()).eval()
    for name, parameter in model.named_parameters():
        if "norm" in name:  # ones at first, which hides which weight goes where
            parameter.data.uniform_(0.5, 1.5)
    return model


def test_equals_the_layers_of_transformers(model: Qwen3Model):
    forward = PackedForward(model)
    theirs = forward(ITEMS).detach()  # with gradients, these are the layers
    with torch.inference_mode():
        ours = forward(ITEMS)
    assert torch.allclose(ours, theirs, atol=2e-6, rtol=1e-5)
    assert not torch.equal(ours, torch.zeros_like(ours))


def test_gradients_reach_every_parameter(model: Qwen3Model):
    PackedForward(model)(ITEMS).sum().backward()
    assert all(parameter.grad is not None and bool(parameter.grad.any()) for parameter in model.layers.parameters())


def test_bfloat16_is_nearer_to_float32_than_the_layers_of_transformers(model: Qwen3Model):
    small = to_bfloat16(model)
    for rounded, parameter in zip(small.parameters(), model.parameters(), strict=True):
        parameter.data = rounded.data.float()
    theirs = PackedForward(small)(ITEMS).detach().float()
    with torch.inference_mode():
        exact, ours = PackedForward(model)(ITEMS), PackedForward(small)(ITEMS)
    assert ours.dtype == torch.float32
    off, off_theirs = (distance(states, exact) for states in (ours, theirs))
    assert 0 < off < 0.02
    assert off < 0.8 * off_theirs


def test_bfloat16_goes_with_memory_that_is_kept(model: Qwen3Model):
    forward = PackedForward(to_bfloat16(model))
    with torch.inference_mode():
        fresh, again, few = forward(ITEMS), forward(ITEMS), forward(ITEMS[:1])
        for parameter in forward._model.parameters():  # as when output was not finite
            parameter.data = parameter.data.float()
        wide = forward(ITEMS)
    assert torch.equal(fresh, again)
    assert distance(few, fresh[:1]) < 0.02
    assert 0 < distance(fresh, wide) < 0.02


def to_bfloat16(model: Qwen3Model) -> Qwen3Model:
    """A copy with parameters in bfloat16; rotary frequencies stay as they are, as when a checkpoint is loaded so."""
    small = copy.deepcopy(model)
    for parameter in small.parameters():
        parameter.data = parameter.data.bfloat16()
    return small


def distance(states: torch.Tensor, exact: torch.Tensor) -> float:
    """Of all rows together, relative."""
    return float((states - exact).norm() / exact.norm())


def test_only_formats_that_the_layers_know_and_without_gradients(model: Qwen3Model):
    hidden = torch.zeros(1, 1, model.config.hidden_size)
    assert not fused.can_fuse(model, hidden)
    with torch.no_grad():
        assert fused.can_fuse(model, hidden)
        assert fused.can_fuse(model, hidden.bfloat16())
        assert not fused.can_fuse(model, hidden.bfloat16().to("meta"))  # on an accelerator the whole row is one kernel, in bfloat16
        assert not fused.can_fuse(model, hidden.half())
        model.config.hidden_act = "gelu"
        assert not fused.can_fuse(model, hidden)


def test_not_where_numbers_are_drawn(model: Qwen3Model):
    hidden = torch.zeros(1, 1, model.config.hidden_size)
    with torch.no_grad():
        assert fused.can_fuse(model.train(), hidden)
        model.layers[1].mlp.up_proj = torch.nn.Sequential(torch.nn.Dropout(0.1), model.layers[1].mlp.up_proj)
        assert not fused.can_fuse(model, hidden)
        assert fused.can_fuse(model.eval(), hidden)


def test_what_is_given_is_not_changed(model: Qwen3Model):
    weights = {name: parameter.clone() for name, parameter in model.named_parameters()}
    with torch.inference_mode():
        first, again = PackedForward(model)(ITEMS), PackedForward(model)(ITEMS)
    assert torch.equal(first, again)
    assert all(torch.equal(parameter, weights[name]) for name, parameter in model.named_parameters())


def test_memory_that_is_kept_changes_nothing(model: Qwen3Model):
    forward = PackedForward(model)
    with torch.inference_mode():
        fresh = PackedForward(model)(ITEMS)
        small = forward(ITEMS[:1])  # less memory than what follows, and then more
        kept, copy = forward(ITEMS), forward(ITEMS[:1])
    assert torch.equal(kept, fresh)  # nor does a later call write over it
    assert torch.equal(small, copy)
    with torch.no_grad():  # where tensors of the other mode must not be written to
        assert torch.equal(forward(ITEMS), fresh)


def test_what_is_too_much_is_given_back(monkeypatch: pytest.MonkeyPatch):
    memory, device = fused.Memory(), torch.device("cpu")
    first = memory.take("q", (3, 4), device)
    assert memory.take("gate", (2, 5), device).data_ptr() == first.data_ptr() != memory.take("k", (3, 4), device).data_ptr()
    memory.trim()
    assert memory.take("q", (3, 4), device).data_ptr() == first.data_ptr()
    assert memory.take("gate", (6, 4), device, torch.bfloat16).data_ptr() == first.data_ptr()
    monkeypatch.setattr(fused, "KEPT", 4 * 23)
    memory.trim()
    assert memory.take("q", (3, 4), device).data_ptr() != first.data_ptr()


@pytest.mark.skipif(not has_int8_engine(), reason="torch has no int8 engine on this platform")
def test_int8_layers_fit(model: Qwen3Model):
    forward = PackedForward(model)
    with torch.inference_mode():
        plain = forward(ITEMS)
        quantize_linears(model)
        small = forward(ITEMS)
    assert torch.nn.functional.cosine_similarity(plain, small).min() > 0.99
    assert isinstance(model.layers[0].self_attn.k_proj, torch.nn.Linear)
