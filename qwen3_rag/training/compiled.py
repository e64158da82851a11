"""A Qwen3 decoder layer in two functions that `torch.compile` makes few loops of: what comes before attention, and what comes after.

Step by step a layer spends more time on norms, rotations and residuals, each a pass over memory and another one back, than on matrix
products. Gradients are torch's own. Norms and rotations are computed in float32 whatever the weights are in. It knows no packing.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import linear, silu

from qwen3_rag.models.fused import Rotation

Heads = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


class CompiledLayers:
    """The two halves of a layer; they are compiled once for all layers, when they are first called."""

    def __init__(self, model: Any) -> None:
        self._epsilon: float = model.config.rms_norm_eps
        self._before: Callable[..., Heads] = torch.compile(before_attention, dynamic=True)
        self._after: Callable[..., torch.Tensor] = torch.compile(after_attention, dynamic=True)

    def heads(self, layer: Any, hidden: torch.Tensor, rotation: Rotation, asking: torch.Tensor | None = None) -> Heads:
        """Queries, keys and values of shape (tokens, heads, head dim), from `hidden`, (tokens, hidden).

        Where rows are `asking`, queries are theirs alone.
        """
        attention = layer.self_attn
        projections = (getattr(attention, f"{name}_proj").weight for name in "qkv")
        norms = (attention.q_norm.weight, attention.k_norm.weight)
        return self._before(hidden, layer.input_layernorm.weight, *projections, *norms, rotation.cos, rotation.sin, asking, self._epsilon)

    def output(self, layer: Any, hidden: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
        """The layer's output, of the shape of `hidden`, from what its attention has found, shape (tokens, heads, head dim)."""
        mlp = layer.mlp
        weights = (mlp.gate_proj.weight, mlp.up_proj.weight, mlp.down_proj.weight)
        norm = layer.post_attention_layernorm.weight
        return self._after(hidden, found.reshape(len(hidden), -1), layer.self_attn.o_proj.weight, norm, *weights, self._epsilon)


def can_compile(model: Any) -> bool:
    """Whether these are the layers that the two functions compute: without adapters and biases."""
    attention, mlp = model.layers[0].self_attn, model.layers[0].mlp
    projections = [getattr(attention, f"{name}_proj") for name in "qkvo"] + [mlp.gate_proj, mlp.up_proj, mlp.down_proj]
    return model.config.hidden_act == "silu" and all(type(each) is torch.nn.Linear and each.bias is None for each in projections)


def has_compiler() -> bool:
    """Whether there is a C++ compiler, which `torch.compile` needs for a CPU: the one that CXX names, or a usual one."""
    return any(shutil.which(name) for name in (os.environ.get("CXX"), "g++", "clang++", "c++") if name)


def before_attention(
    hidden: torch.Tensor,
    norm: torch.Tensor,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    query_norm: torch.Tensor,
    key_norm: torch.Tensor,
    cos: torch.Tensor,
    sin: torch.Tensor,
    asking: torch.Tensor | None,
    epsilon: float,
) -> Heads:
    """Norm, projections, norm and rotation of heads."""
    normed, width = rms_norm(hidden, norm, epsilon), query_norm.shape[0]
    keys, values = (linear(normed, weight).view(len(hidden), -1, width) for weight in (key, value))
    keys = rotated(rms_norm(keys, key_norm, epsilon), cos, sin)
    if asking is not None:
        normed, cos, sin = normed[asking], cos[asking], sin[asking]
    queries = linear(normed, query).view(len(normed), -1, width)
    return rotated(rms_norm(queries, query_norm, epsilon), cos, sin), keys, values


def after_attention(
    hidden: torch.Tensor,
    found: torch.Tensor,
    out: torch.Tensor,
    norm: torch.Tensor,
    gate: torch.Tensor,
    up: torch.Tensor,
    down: torch.Tensor,
    epsilon: float,
) -> torch.Tensor:
    """Output projection, residuals and MLP."""
    hidden = hidden + linear(found, out)
    normed = rms_norm(hidden, norm, epsilon)
    return hidden + linear(silu(linear(normed, gate)) * linear(normed, up), down)


def rms_norm(states: torch.Tensor, weight: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Over the last dimension."""
    wide = states.float()
    scaled = wide * torch.rsqrt(wide.square().mean(-1, keepdim=True) + epsilon)
    return (weight.float() * scaled).to(states.dtype)


def rotated(states: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    """Each head turned by its token's angles, of shape (tokens, head dim / 2), halves against each other."""
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    first, second = states.float().chunk(2, -1)
    return torch.cat([first * cos - second * sin, second * cos + first * sin], -1).to(states.dtype)
