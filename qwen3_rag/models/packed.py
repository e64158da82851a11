"""The packed forward pass: sequences in one row through the Hugging Face modules. Token ids in, hidden state of each last token out.

Layers are transformers' own with our attention function, or in float32 without gradients and dropout those of `fused`. Of the last layer
only what the last tokens need is computed: keys and values of every token, but queries, output projection and MLP for those rows alone.
It knows no templates and no budgets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from transformers import Qwen3Model
from transformers.models.qwen3.modeling_qwen3 import apply_rotary_pos_emb

from qwen3_rag.models import fused
from qwen3_rag.models.attention import PACKED, Kernel, kernel_for
from qwen3_rag.models.packing import Item, Row, pack

Angles = tuple[torch.Tensor, torch.Tensor]


class PackedForward:
    """Calls the layers of a `Qwen3Model` on packed rows, in one thread. The model's attention is switched to ours, for good."""

    def __init__(self, model: Qwen3Model) -> None:
        self._model = model
        model.config._attn_implementation = PACKED
        self._memory = fused.Memory()

    def __call__(self, items: Sequence[Item]) -> torch.Tensor:
        """Hidden states of the last layer, after the final norm, at each item's last token: shape (n, hidden), the model's dtype."""
        model, row = self._model, pack(items)
        device = model.device
        hidden = model.embed_tokens(torch.tensor(row.ids, device=device).unsqueeze(0))
        positions = torch.tensor(row.positions, device=device).unsqueeze(0)
        kernel = self._kernel(row, device, hidden.dtype)
        last = torch.tensor([segment.last for segment in row.ends], device=device)
        return self._states(hidden, positions, kernel, last)

    def _states(self, hidden: torch.Tensor, positions: torch.Tensor, kernel: Kernel, last: torch.Tensor) -> torch.Tensor:
        """What `__call__` returns, from the row's token vectors, (1, tokens, hidden), and positions, (1, tokens)."""
        model = self._model
        if fused.can_fuse(model, hidden):
            hidden = hidden.float()
            return self._fused(hidden[0], fused.Rotation.of(*model.rotary_emb(hidden, positions)), kernel, last)
        rotation: Angles = model.rotary_emb(hidden, positions)
        for layer in model.layers[:-1]:
            hidden = layer(hidden, position_embeddings=rotation, kernel=kernel)
        states: torch.Tensor = model.norm(_last_layer(model.layers[-1], hidden, rotation, kernel, last))
        return states[0]

    def _kernel(self, row: Row, device: torch.device, dtype: torch.dtype) -> Kernel:
        """How attention over `row` is computed."""
        return kernel_for(row, device, dtype)

    def _fused(self, hidden: torch.Tensor, rotation: fused.Rotation, kernel: Kernel, last: torch.Tensor) -> torch.Tensor:
        layers, memory = self._model.layers, self._memory
        for layer in layers[:-1]:
            hidden = fused.run_layer(layer, hidden, rotation, kernel, memory)
        found = fused.run_last_layer(layers[-1], hidden, rotation, kernel, last, memory)
        states = fused.norm(self._model.norm, found, memory, torch.float32).clone()
        memory.trim()
        return states


def _last_layer(layer: Any, hidden: torch.Tensor, rotation: Angles, kernel: Kernel, last: torch.Tensor) -> torch.Tensor:
    """A decoder layer whose output is wanted at the rows `last` only: (1, tokens, hidden) in, (1, len(last), hidden) out."""
    attention = layer.self_attn
    residual = hidden[:, last]
    normed = layer.input_layernorm(hidden)
    key, value = _heads(attention, "k", normed), _heads(attention, "v", normed)
    query = _heads(attention, "q", normed[:, last])
    cos, sin = rotation
    key = apply_rotary_pos_emb(key, key, cos, sin)[1]
    query = apply_rotary_pos_emb(query, query, cos[:, last], sin[:, last])[0]
    found = kernel.at_ends(query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1), attention.scaling)
    hidden = residual + attention.o_proj(found.reshape(1, len(last), -1))
    out: torch.Tensor = hidden + layer.mlp(layer.post_attention_layernorm(hidden))
    return out


def _heads(attention: Any, name: str, hidden: torch.Tensor) -> torch.Tensor:
    """A projection, split into heads and normalised as Qwen3 does: shape (1, heads, tokens, head dim)."""
    states = getattr(attention, f"{name}_proj")(hidden).unflatten(-1, (-1, attention.head_dim))
    norm = getattr(attention, f"{name}_norm", None)
    heads: torch.Tensor = (norm(states) if norm else states).transpose(1, 2)
    return heads
