"""Gradients: packed equals padded, and in parts equals in one piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from transformers import Qwen3Model

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.models.packed import PackedForward
from qwen3_rag.models.packing import Item
from qwen3_rag.training.compiled import has_compiler
from qwen3_rag.training.forward import TrainingForward
from qwen3_rag.training.gradient_cache import cached_backward
from qwen3_rag.training.losses import Contrast, contrastive_loss
from qwen3_rag.training.network import Network
from tests.models.tiny_qwen3 import make_config

ITEMS = [Item([1, 2, 3, 4, 5], 3), Item([1, 2, 3, 9], 3), Item([7, 8]), Item([3] * 30), Item([1, 2, 3, 6, 6], 3), Item(list(range(20, 60)))]


def model() -> Qwen3Model:
    torch.manual_seed(3)
    return Qwen3Model(make_config())


def contrast(vectors: torch.Tensor) -> torch.Tensor:
    queries, positives, negatives = vectors.chunk(3)
    return contrastive_loss(Contrast(queries, positives, negatives[:, None], torch.arange(2), torch.tensor([[5], [6]])), 0.1)


def gradients(network: Qwen3Model, backward: Callable[[], object]) -> dict[str, torch.Tensor]:
    network.zero_grad()
    backward()
    return {name: parameter.grad.clone() for name, parameter in network.named_parameters() if parameter.grad is not None}


def one_by_one(network: Qwen3Model) -> torch.Tensor:
    """The stock forward pass of transformers, a sequence at a time, with the attention of its own."""
    network.config._attn_implementation = "sdpa"
    return torch.cat([network(torch.tensor([list(item.ids)]), use_cache=False).last_hidden_state[:, -1] for item in ITEMS])


def test_packed_gradients_equal_those_of_transformers():
    network = model()
    expected = gradients(network, lambda: contrast(one_by_one(network)).backward())
    packed = PackedForward(network)
    found = gradients(network, lambda: contrast(packed(ITEMS)).backward())
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-5, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("most_tokens", [1, 45, 10_000])
def test_parts_give_the_gradients_of_one_piece(most_tokens: int):
    network = model()
    packed = PackedForward(network)
    values = []

    def whole() -> None:
        values.append(contrast(packed(ITEMS)))
        values[0].backward()

    expected = gradients(network, whole)
    found = gradients(network, lambda: values.append(cached_backward(packed, ITEMS, contrast, most_tokens)))
    torch.testing.assert_close(values[1], values[0].detach())
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-6, rtol=1e-4)


def test_dropout_draws_the_same_numbers_twice():
    network = model().train()
    packed = PackedForward(network)
    drawn: list[torch.Tensor] = []

    def encode(items: list[Item]) -> torch.Tensor:
        drawn.append(torch.rand(3))
        return packed(items)

    before = torch.get_rng_state()
    cached_backward(encode, ITEMS, contrast, 45)
    half = len(drawn) // 2
    assert half > 1
    assert all(torch.equal(first, again) for first, again in zip(drawn[:half], drawn[half:], strict=True))
    assert not torch.equal(before, torch.get_rng_state())


@pytest.mark.parametrize("dropout", [0.3, 0.0])
def test_adapters_with_dropout_give_the_same_vectors_twice(tiny: Path, dropout: float):
    network = Network.load(str(tiny), ModelKind.EMBEDDER)
    network.add_adapters(4, None, dropout, seed=0)
    for name, parameter in network.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter.data, std=0.1)
    network.train()
    vectors: list[torch.Tensor] = []

    def encode(items: Sequence[Item]) -> torch.Tensor:
        vectors.append(network(items))
        return vectors[-1]

    cached_backward(encode, ITEMS, contrast, 45)
    half = len(vectors) // 2
    assert half > 1
    for first, again in zip(vectors[:half], vectors[half:], strict=True):
        torch.testing.assert_close(first, again.detach(), atol=1e-5, rtol=1e-5)


def test_gradient_checkpointing_changes_nothing():
    network = model().train()
    packed = PackedForward(network)
    expected = gradients(network, lambda: contrast(packed(ITEMS)).backward())
    network.activation_checkpointing_enable()
    found = gradients(network, lambda: contrast(packed(ITEMS)).backward())
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-6, rtol=1e-4)


def test_the_forward_pass_of_training_is_that_of_inference():
    """With and without shared beginnings, grouped heads, and at each sequence's last token."""
    network = model()
    packed = PackedForward(network)
    expected = gradients(network, lambda: contrast(packed(ITEMS)).backward())
    trained = TrainingForward(network)
    found = gradients(network, lambda: contrast(trained(ITEMS)).backward())
    torch.testing.assert_close(trained(ITEMS), packed(ITEMS), atol=1e-5, rtol=1e-5)
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=1e-5, rtol=1e-4)


def compiled_equals(tolerance: float) -> None:
    network = model()
    plain = TrainingForward(network)
    expected = gradients(network, lambda: contrast(plain(ITEMS)).backward())
    compiled = TrainingForward(network, compiled=True)
    found = gradients(network, lambda: contrast(compiled(ITEMS)).backward())
    torch.testing.assert_close(compiled(ITEMS), plain(ITEMS), atol=tolerance, rtol=tolerance)
    assert found.keys() == expected.keys()
    for name, gradient in found.items():
        torch.testing.assert_close(gradient, expected[name], atol=tolerance, rtol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


compiling = pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")  # torch's own, from importing its compiler


@compiling
def test_the_layers_to_be_compiled_give_the_gradients_of_those_of_transformers():
    with torch.compiler.set_stance("force_eager"):
        compiled_equals(1e-5)


@pytest.mark.filterwarnings("ignore")  # of torch's own, from its compiler
@pytest.mark.slow
def test_compiled_layers_give_the_gradients_of_those_of_transformers():
    if not has_compiler():
        pytest.skip("torch.compile needs a C++ compiler on a CPU, and there is none here")
    compiled_equals(1e-5)


def test_adapters_are_not_compiled(tiny: Path):
    network = Network.load(str(tiny), ModelKind.EMBEDDER)
    network.add_adapters(4, None, 0.0, seed=0)
    with pytest.raises(ConfigurationError, match="`compiled` is for training all weights"):
        network.compile_layers(torch.device("cpu"))


@compiling
def test_without_a_compiler_it_says_so_before_the_first_step(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("shutil.which", lambda name: None)
    with pytest.raises(ConfigurationError, match=r"needs a C\+\+ compiler on a CPU: install one"):
        Network.load(str(tiny), ModelKind.EMBEDDER).compile_layers(torch.device("cpu"))
    Network.load(str(tiny), ModelKind.EMBEDDER).compile_layers(torch.device("cuda"))  # which has a compiler of its own
