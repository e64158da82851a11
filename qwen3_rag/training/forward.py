"""The packed forward pass for training: the same numbers, with an attention whose gradients are cheap.

What inference gathers and writes in place costs a pass over the whole row and block on the way back. Here the row is split into its
segments and joined again, of which the gradient is one concatenation.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import Qwen3Model

from qwen3_rag.models.attention import BlockAttention, Kernel
from qwen3_rag.models.fused import Rotation
from qwen3_rag.models.packed import PackedForward
from qwen3_rag.models.packing import Row, Segment
from qwen3_rag.training.compiled import CompiledLayers, rms_norm


class TrainingForward(PackedForward):
    """Calls the layers of a `Qwen3Model` on packed rows; without gradients as in inference, with them compiled where that is wanted."""

    def __init__(self, model: Qwen3Model, compiled: bool = False) -> None:
        super().__init__(model)
        self._layers = CompiledLayers(model) if compiled else None

    def _states(self, hidden: torch.Tensor, positions: torch.Tensor, kernel: Kernel, last: torch.Tensor) -> torch.Tensor:
        if self._layers is None or not torch.is_grad_enabled():
            return super()._states(hidden, positions, kernel, last)
        return self._compiled(self._layers, hidden, positions, kernel, last)

    def _compiled(
        self, layers: CompiledLayers, hidden: torch.Tensor, positions: torch.Tensor, kernel: Kernel, last: torch.Tensor
    ) -> torch.Tensor:
        model: Any = self._model
        rotation = Rotation.of(*model.rotary_emb(hidden.new_empty(0, dtype=torch.float32), positions))  # only its dtype counts
        hidden = hidden[0]
        *before, final = model.layers
        for layer in before:
            heads = layers.heads(layer, hidden, rotation)
            hidden = layers.output(layer, hidden, kernel.everywhere(*heads, layer.self_attn.scaling))
        found = kernel.at_ends(*layers.heads(final, hidden, rotation, last), final.self_attn.scaling)
        states = layers.output(final, hidden[last], found)
        return rms_norm(states, model.norm.weight, model.config.rms_norm_eps)

    def _kernel(self, row: Row, device: torch.device, dtype: torch.dtype) -> Kernel:
        kernel = super()._kernel(row, device, dtype)
        return SegmentAttention(row) if torch.is_grad_enabled() and isinstance(kernel, BlockAttention) else kernel


class SegmentAttention:
    """Segment by segment. Tensors are of shape (tokens, heads, head dim)."""

    def __init__(self, row: Row) -> None:
        self._segments, self._ends = row.segments, row.ends
        self._places = {segment.start: place for place, segment in enumerate(row.segments)}

    def everywhere(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Queries are all tokens of the row. `out` is not made use of: gradients need what would be written over."""
        queries, keys, values = (self._split(tensor) for tensor in (query, key, value))
        found = [
            _attend(own, self._seen(keys, segment), self._seen(values, segment), scale)
            for own, segment in zip(queries, self._segments, strict=True)
        ]
        return torch.cat(found)

    def at_ends(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        """Queries are the last token of each item."""
        keys, values = self._split(key), self._split(value)
        found = [
            _attend(own, self._seen(keys, segment), self._seen(values, segment), scale)
            for own, segment in zip(torch.split(query, 1), self._ends, strict=True)
        ]
        return torch.cat(found)

    def _split(self, tensor: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return torch.split(tensor, [segment.length for segment in self._segments])

    def _seen(self, parts: Sequence[torch.Tensor], segment: Segment) -> torch.Tensor:
        """What a segment attends to: the shared beginning, where it has one, and itself."""
        own = parts[self._places[segment.start]]
        return torch.cat([parts[self._places[segment.before]], own]) if segment.before_length else own


def _attend(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    """Causal attention of queries that are the last of the keys."""
    count, seen, dtype = len(query), len(key), query.dtype
    if query.device.type == "cpu":  # where attention's gradient in bfloat16 takes four times as long
        query, key, value = query.float(), key.float(), value.float()
    mask = None
    if 1 < count < seen:
        mask = torch.ones(count, seen, dtype=torch.bool, device=query.device).tril(seen - count)
    found = scaled_dot_product_attention(
        query.transpose(0, 1)[None],
        key.transpose(0, 1)[None],
        value.transpose(0, 1)[None],
        attn_mask=mask,
        is_causal=count == seen and count > 1,
        scale=scale,
        enable_gqa=query.shape[1] != key.shape[1],
    )
    return found[0].transpose(0, 1).to(dtype)
