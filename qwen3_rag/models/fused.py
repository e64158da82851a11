"""A Qwen3 decoder layer in float32 for inference, with few passes over memory; the same numbers as transformers' to rounding.

What is not a matrix product costs memory traffic, and transformers spends a pass over a fresh tensor on each multiplication. Here root mean
squares come from one reading pass, a head's norm is folded into its rotation, and sums and products are made in place. It needs no
gradients, and knows no packing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch.nn.functional import silu

from qwen3_rag.models.attention import Kernel


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
    """Whether these layers can run here: float32, no gradients, and nothing in the network that they do not know.

    Dropout is such a thing: it would be drawn in another order than by transformers' layers, which compute the same batch with gradients.
    """
    attention, mlp = model.layers[0].self_attn, model.layers[0].mlp
    known = hasattr(attention, "q_norm") and hasattr(mlp, "gate_proj") and hasattr(mlp, "up_proj") and hasattr(mlp, "down_proj")
    fits = known and model.config.hidden_act == "silu" and hidden.dtype == torch.float32 and not torch.is_grad_enabled()
    return bool(fits and not _drops_out(model))


def _drops_out(model: torch.nn.Module) -> bool:
    return model.training and any(isinstance(module, torch.nn.Dropout) and module.p > 0 for module in model.modules())


def run_layer(layer: Any, hidden: torch.Tensor, rotation: Rotation, kernel: Kernel) -> torch.Tensor:
    """The layer's output for all tokens, written over `hidden`, shape (tokens, hidden)."""
    attention = layer.self_attn
    normed = norm(layer.input_layernorm, hidden)
    query = rotated(attention.q_norm, heads(attention, "q", normed), rotation)
    key = rotated(attention.k_norm, heads(attention, "k", normed), rotation)
    found = kernel.everywhere(query, key, heads(attention, "v", normed), attention.scaling)
    return _finish(layer, hidden, found)


def run_last_layer(layer: Any, hidden: torch.Tensor, rotation: Rotation, kernel: Kernel, last: torch.Tensor) -> torch.Tensor:
    """The layer's output at the rows `last` only, shape (len(last), hidden): keys and values of all tokens, the rest for those alone."""
    attention = layer.self_attn
    normed = norm(layer.input_layernorm, hidden)
    key = rotated(attention.k_norm, heads(attention, "k", normed), rotation)
    query = rotated(attention.q_norm, heads(attention, "q", normed[last]), rotation.at(last))
    found = kernel.at_ends(query, key, heads(attention, "v", normed), attention.scaling)
    return _finish(layer, hidden[last], found)


def _finish(layer: Any, hidden: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
    """Output projection, residuals and MLP."""
    hidden.add_(layer.self_attn.o_proj(found.reshape(len(hidden), -1)))
    normed = norm(layer.post_attention_layernorm, hidden)
    inner = silu(layer.mlp.gate_proj(normed), inplace=True).mul_(layer.mlp.up_proj(normed))
    hidden.add_(layer.mlp.down_proj(inner))
    return hidden


def heads(attention: Any, name: str, hidden: torch.Tensor) -> torch.Tensor:
    """A projection, split into heads: shape (tokens, heads, head dim)."""
    states: torch.Tensor = getattr(attention, f"{name}_proj")(hidden)
    return states.view(len(states), -1, attention.head_dim)


def norm(module: Any, states: torch.Tensor) -> torch.Tensor:
    """RMS norm over the last dimension."""
    return torch.mul(states, _inverse_rms(states, module.variance_epsilon)).mul_(module.weight)


def rotated(module: Any, states: torch.Tensor, rotation: Rotation) -> torch.Tensor:
    """RMS norm of each head, then rotation; of shape (tokens, heads, head dim) both.

    With halves a and b, weights u and v and inverse root mean square r: (a·u·cos − b·v·sin)·r and (b·v·cos + a·u·sin)·r.
    """
    half = rotation.cos.shape[-1]
    weight, cos, sin = module.weight, rotation.cos.unsqueeze(1), rotation.sin.unsqueeze(1)
    out = states * torch.cat([cos * weight[:half], cos * weight[half:]], dim=-1)
    out[..., :half].addcmul_(states[..., half:], sin * weight[half:], value=-1)
    out[..., half:].addcmul_(states[..., :half], sin * weight[:half])
    return out.mul_(_inverse_rms(states, module.variance_epsilon))


def _inverse_rms(states: torch.Tensor, epsilon: float) -> torch.Tensor:
    squares: torch.Tensor = torch.linalg.vector_norm(states, dim=-1, keepdim=True).square_()
    return squares.div_(states.shape[-1]).add_(epsilon).rsqrt_()
