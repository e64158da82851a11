"""A Qwen3 decoder layer for inference, with few passes over memory; in float32 the same numbers as transformers' to rounding.

What is not a matrix product costs memory traffic, and transformers spends a pass over a fresh tensor on each multiplication. Here root mean
squares come from one reading pass, a head's norm is folded into its rotation, and sums and products are made in place, in memory that is
kept: the C library gives large tensors back to the system, which hands them out again page by page, filled with zeros. It needs no
gradients, and knows no packing.

Where weights are in bfloat16, matrix products are, and the activation between two of them; what goes from layer to layer, norms, rotations
and attention stay in float32. On a processor that multiplies bfloat16 natively everything else gains nothing by it, and loses digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import torch
from torch.nn.functional import silu

from qwen3_rag.models.attention import Kernel

_SAME = {"gate": "q", "up": "k", "turned": "v"}
"""What is never needed at the same time has the same memory: the MLP when attention is over, values when keys are turned."""
KEPT = 2**28
"""Bytes that are kept from one call to the next; more are given back."""


class Memory:
    """What layers write into, by name: one at a time, each over what the one before it left. For one thread."""

    def __init__(self) -> None:
        self._parts: dict[str, torch.Tensor] = {}

    def take(self, name: str, shape: Sequence[int], device: torch.device, dtype: torch.dtype = torch.float32) -> torch.Tensor:
        """A tensor with anything in it. What was taken by this name before is gone."""
        size, name = math.prod(shape) * dtype.itemsize, _SAME.get(name, name)
        part = self._parts.get(name)
        if part is None or len(part) < size or part.device != device:
            self._parts.pop(name, None)
            with torch.inference_mode(False):  # what is made in that mode cannot be written to outside of it
                part = self._parts[name] = torch.empty(size, dtype=torch.uint8, device=device)
        return part[:size].view(dtype).view(*shape)

    def trim(self) -> None:
        """Give back what is too much to be kept."""
        if sum(map(len, self._parts.values())) > KEPT:
            self._parts.clear()


@dataclass(frozen=True, slots=True)
class Rotation:
    """Cosines and sines of each token's angles, shape (tokens, head dim / 2)."""

    cos: torch.Tensor
    sin: torch.Tensor

    @classmethod
    def of(cls, cos: torch.Tensor, sin: torch.Tensor) -> Rotation:
        """From transformers' tensors of shape (1, tokens, head dim), in which each angle stands twice."""
        half = cos.shape[-1] // 2
        return cls(cos[0, :, :half], sin[0, :, :half])

    def at(self, rows: torch.Tensor) -> Rotation:
        """Those of some tokens."""
        return Rotation(self.cos[rows], self.sin[rows])


def can_fuse(model: Any, hidden: torch.Tensor) -> bool:
    """Whether these layers can run here: no gradients, float32 or on a CPU bfloat16, and nothing in the network that they do not know.

    Dropout is such a thing: it would be drawn in another order than by transformers' layers, which compute the same batch with gradients.
    """
    attention, mlp = model.layers[0].self_attn, model.layers[0].mlp
    known = hasattr(attention, "q_norm") and hasattr(mlp, "gate_proj") and hasattr(mlp, "up_proj") and hasattr(mlp, "down_proj")
    format_fits = hidden.dtype == torch.float32 or (hidden.dtype == torch.bfloat16 and hidden.device.type == "cpu")
    fits = known and model.config.hidden_act == "silu" and format_fits and not torch.is_grad_enabled()
    return bool(fits and not _drops_out(model))


def _drops_out(model: torch.nn.Module) -> bool:
    return model.training and any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules())


def run_layer(layer: Any, hidden: torch.Tensor, rotation: Rotation, kernel: Kernel, memory: Memory) -> torch.Tensor:
    """The layer's output for all tokens, written over `hidden`, float32 of shape (tokens, hidden)."""
    attention = layer.self_attn
    normed = norm(layer.input_layernorm, hidden, memory)
    query = rotated(attention.q_norm, heads(attention, "q", normed, memory), rotation, memory)
    key = rotated(attention.k_norm, heads(attention, "k", normed, memory), rotation, memory)
    found = kernel.everywhere(query, key, heads(attention, "v", normed, memory), attention.scaling, out=query)
    return _finish(layer, hidden, found, memory)


def run_last_layer(
    layer: Any, hidden: torch.Tensor, rotation: Rotation, kernel: Kernel, last: torch.Tensor, memory: Memory
) -> torch.Tensor:
    """The layer's output at the rows `last` only, shape (len(last), hidden): keys and values of all tokens, the rest for those alone."""
    attention = layer.self_attn
    normed = norm(layer.input_layernorm, hidden, memory)
    key = rotated(attention.k_norm, heads(attention, "k", normed, memory), rotation, memory)
    query = rotated(attention.q_norm, heads(attention, "q", normed[last], memory), rotation.at(last), memory)
    found = kernel.at_ends(query, key, heads(attention, "v", normed, memory), attention.scaling)
    return _finish(layer, hidden[last], found, memory)


def _finish(layer: Any, hidden: torch.Tensor, found: torch.Tensor, memory: Memory) -> torch.Tensor:
    """Output projection, residuals and MLP."""
    _add_product(hidden, layer.self_attn.o_proj, found.reshape(len(hidden), -1), memory)
    normed = norm(layer.post_attention_layernorm, hidden, memory)
    inner = silu(_product("gate", layer.mlp.gate_proj, normed, memory), inplace=True)
    inner.mul_(_product("up", layer.mlp.up_proj, normed, memory))
    _add_product(hidden, layer.mlp.down_proj, inner, memory)
    return hidden


def heads(attention: Any, name: str, hidden: torch.Tensor, memory: Memory) -> torch.Tensor:
    """A projection, split into heads: float32 of shape (tokens, heads, head dim)."""
    module = getattr(attention, f"{name}_proj")
    if hidden.dtype == torch.float32:
        states = _product(name, module, hidden, memory)
    else:
        product = _product("product", module, hidden, memory)
        states = memory.take(name, product.shape, product.device).copy_(product)
    return states.view(len(states), -1, attention.head_dim)


def norm(module: Any, states: torch.Tensor, memory: Memory, dtype: torch.dtype | None = None) -> torch.Tensor:
    """RMS norm over the last dimension of float32 states, in `dtype`; None is that of the weights, which products take."""
    dtype = dtype or module.weight.dtype
    scaled = memory.take("norm", states.shape, states.device)
    torch.mul(states, _inverse_rms(states, module.variance_epsilon), out=scaled)
    out = scaled if dtype == scaled.dtype else memory.take("rounded", states.shape, states.device, dtype)
    return torch.mul(scaled, module.weight, out=out)


def rotated(module: Any, states: torch.Tensor, rotation: Rotation, memory: Memory) -> torch.Tensor:
    """RMS norm of each head, then rotation, written over `states`, of shape (tokens, heads, head dim).

    With halves a and b, weights u and v and inverse root mean square r: (a·u·cos − b·v·sin)·r and (b·v·cos + a·u·sin)·r.
    """
    half = rotation.cos.shape[-1]
    weight, cos, sin = module.weight, rotation.cos.unsqueeze(1), rotation.sin.unsqueeze(1)
    scale = _inverse_rms(states, module.variance_epsilon)
    first, second = states[..., :half], states[..., half:]
    turned = torch.mul(first, sin * weight[:half], out=memory.take("turned", first.shape, states.device))
    first.mul_(cos * weight[:half]).addcmul_(second, sin * weight[half:], value=-1)
    second.mul_(cos * weight[half:]).add_(turned)
    return states.mul_(scale)


def _inverse_rms(states: torch.Tensor, epsilon: float) -> torch.Tensor:
    squares: torch.Tensor = torch.linalg.vector_norm(states, dim=-1, keepdim=True).square_()
    return squares.div_(states.shape[-1]).add_(epsilon).rsqrt_()


def _product(name: str, module: torch.nn.Module, states: torch.Tensor, memory: Memory) -> torch.Tensor:
    """What a linear layer makes of `states`, in memory of this name where it is an ordinary one."""
    if not _is_ordinary(module):
        found: torch.Tensor = module(states)
        return found
    out = memory.take(name, (len(states), len(module.weight)), states.device, states.dtype)
    return torch.mm(states, module.weight.t(), out=out)


def _add_product(target: torch.Tensor, module: Any, states: torch.Tensor, memory: Memory) -> None:
    """Add what a linear layer makes of `states` to `target`, which is in float32."""
    if not _is_ordinary(module):
        target.add_(module(states))
    elif module.weight.dtype == target.dtype:
        target.addmm_(states, module.weight.t())
    else:
        if states.dtype != module.weight.dtype:
            states = memory.take("rounded", states.shape, states.device, module.weight.dtype).copy_(states)
        target.add_(_product("product", module, states, memory))


def _is_ordinary(module: torch.nn.Module) -> TypeGuard[torch.nn.Linear]:
    """Neither reduced to int8 nor wrapped."""
    return type(module) is torch.nn.Linear and module.bias is None
