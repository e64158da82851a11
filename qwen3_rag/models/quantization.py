"""int8 on a CPU: the linear layers of a Qwen3 model with int8 weights, and activations that are rounded to int8 as they come.

Each token's row has a scale of its own (its largest absolute value), each output channel of a weight too. So a result does not depend on
what else is in the batch. The matrix product is oneDNN's, through the operator that torch's own compiler emits; the older quantized
tensors of torch (`quint8`, `quantize_dynamic`) are deprecated. Why so and not otherwise: `benchmarks/NOTES.md`.

This module knows nothing of loading. Embeddings, norms, attention, the head and the key projections stay float32: an error in a key
moves every later token's attention, and keys are a fifteenth of the products. Measured on nano, cosine with float32 0.993 → 0.9999.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator
from enum import StrEnum
from functools import cache

import torch
from torch import nn
from transformers import Qwen3Model

from qwen3_rag.errors import ConfigurationError

_PROJECTIONS = (
    ("self_attn", ("q_proj", "v_proj", "o_proj")),
    ("mlp", ("gate_proj", "up_proj", "down_proj")),
)
_X86 = frozenset(("x86_64", "amd64"))

_ACTIVATION_LIMIT = 127
_ACTIVATION_ZERO = 128
_WEIGHT_LIMIT = 127
# Without VNNI instructions a processor adds two products in 16 bits and saturates: 2 * 255 * 64 fits, 2 * 255 * 65 does not.
_NARROW_WEIGHT_LIMIT = 64
_LEAST = 1e-30
"""Stands for the scale of a row of zeros; its inverse is still finite in float32."""


class ModelQuantization(StrEnum):
    """How the weights of a model's linear layers are held and multiplied."""

    NONE = "none"
    INT8 = "int8"


def select_quantization(name: str) -> ModelQuantization:
    """The choice called `name`.

    Raises:
        ConfigurationError: unknown name.
    """
    try:
        return ModelQuantization(name)
    except ValueError:
        raise ConfigurationError(f"There is no quantization {name!r} of models. It can be: {', '.join(ModelQuantization)}.") from None


class Int8Linear(nn.Module):
    """Stands in for a float32 `nn.Linear`. Immutable once made, so several threads may call it at the same time."""

    weight: torch.Tensor
    scale: torch.Tensor
    zero: torch.Tensor
    bias: torch.Tensor | None

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features, self.out_features = linear.in_features, linear.out_features
        weight, scale = _rounded(linear.weight.detach())
        self.register_buffer("weight", torch.ops.onednn.qlinear_prepack(weight, None), persistent=False)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("zero", torch.zeros(len(scale), dtype=torch.int64), persistent=False)
        self.register_buffer("bias", None if linear.bias is None else linear.bias.detach(), persistent=False)

    def forward(self, states: torch.Tensor) -> torch.Tensor:
        """float32 of shape (…, in) to float32 of shape (…, out). NaN or infinity in a row comes out as NaN or infinity in that row."""
        rows = states.detach().reshape(-1, self.in_features)
        if not len(rows):
            return states.new_empty((*states.shape[:-1], self.out_features))
        largest = torch.maximum(rows.amax(1, keepdim=True), rows.amin(1, keepdim=True).neg_()).clamp_min_(_LEAST)
        signed = torch.mul(rows, _ACTIVATION_LIMIT / largest).round_().to(torch.int8)
        result = self._multiply(signed).mul_(largest.mul_(1 / _ACTIVATION_LIMIT))
        if self.bias is not None:
            result += self.bias
        return result.view(*states.shape[:-1], self.out_features)

    def extra_repr(self) -> str:
        """Shown in the printed model."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"

    def _multiply(self, signed: torch.Tensor) -> torch.Tensor:
        # Unsigned: signed rows fall to oneDNN's reference loop, hundreds of times slower, wherever there is no AMX. Flipping the highest
        # bit of an int8 adds 128.
        unsigned = signed.view(torch.uint8).bitwise_xor_(_ACTIVATION_ZERO)
        return _product(unsigned, _ACTIVATION_ZERO, self.weight, self.scale, self.zero)


def quantize_linears(model: Qwen3Model) -> None:
    """Replace the linear layers of every block by int8 ones, in place; each float32 weight is freed before the next is rounded.

    What is int8 already is left as it is.

    Raises:
        ConfigurationError: the model is not in float32 on a CPU, or torch has no int8 engine on this platform. Nothing was changed.
    """
    check_int8(model.device, model.dtype)
    for parent, name in _linears(model):
        setattr(parent, name, Int8Linear(getattr(parent, name)))


def has_int8_engine() -> bool:
    """Whether torch multiplies int8 matrices fast here: oneDNN on x86-64, which torch has on Linux and Windows."""
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return hasattr(torch.ops.onednn, "qlinear_pointwise") and platform.machine().lower() in _X86


def check_int8(device: torch.device, dtype: torch.dtype) -> None:
    """Refuse int8 for a model that is, or is to be, on another device than the CPU or in another format than float32.

    Raises:
        ConfigurationError: so, or torch has no int8 engine on this platform.
    """
    if device.type != "cpu":
        raise ConfigurationError(
            f"quantization='int8' is for the CPU, and this model is on {device}. Give device='cpu', or quantization='none': "
            "on an accelerator, dtype='bfloat16' is the fast one."
        )
    if dtype != torch.float32:
        raise ConfigurationError(
            f"quantization='int8' computes everything else in float32, and this model is in {str(dtype).removeprefix('torch.')}. "
            "Give dtype='float32', or quantization='none'."
        )
    if not has_int8_engine():
        raise ConfigurationError(
            f"torch {torch.__version__} has no fast int8 engine (oneDNN on x86-64) on this platform, {platform.system()} "
            f"{platform.machine()}. Give quantization='none'."
        )


def _linears(model: Qwen3Model) -> Iterator[tuple[nn.Module, str]]:
    """Where the float32 linear layers hang: the parent and the attribute."""
    for layer in model.layers:
        for room, names in _PROJECTIONS:
            parent = getattr(layer, room)
            yield from ((parent, name) for name in names if isinstance(getattr(parent, name), nn.Linear))


def _rounded(weight: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """int8 of shape (out, in) and the float32 scale of each output channel, symmetric around zero."""
    scale = weight.abs().amax(1).clamp_min_(_LEAST).div_(_weight_limit())
    return torch.div(weight, scale[:, None]).round_().to(torch.int8), scale


@cache
def _weight_limit() -> int:
    """Largest int8 weight whose products this processor adds without loss: found by trying the worst case, of one row and of many."""
    width, channels = 256, 64
    weight = torch.ops.onednn.qlinear_prepack(torch.full((channels, width), _WEIGHT_LIMIT, dtype=torch.int8), None)
    scale, zero = torch.ones(channels), torch.zeros(channels, dtype=torch.int64)
    worst = (_product(torch.full((count, width), 255, dtype=torch.uint8), 0, weight, scale, zero) for count in (1, 64))
    exact = all(bool((result == width * 255 * _WEIGHT_LIMIT).all()) for result in worst)
    return _WEIGHT_LIMIT if exact else _NARROW_WEIGHT_LIMIT


def _product(rows: torch.Tensor, zero_point: int, weight: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    """(rows - zero_point) @ weight.T * scale in float32, of uint8 rows and packed int8 weights."""
    result: torch.Tensor = torch.ops.onednn.qlinear_pointwise(
        rows, 1.0, zero_point, weight, scale, zero, None, 1.0, 0, torch.float32, "none", [], ""
    )
    return result
