"""Attention inside each segment of a packed row, as a function registered with transformers' `AttentionInterface`.

Two kernels compute the same. `BlockAttention` runs `scaled_dot_product_attention` segment by segment, segments of like length as one
batch: for the CPU, and for float32 anywhere. `VarlenAttention` runs `torch.nn.attention.varlen` over the whole row: for CUDA in half
precision; the shared beginning is gathered in front of each segment's own keys, and the causal mask is aligned to the last key, as
FlashAttention's is. It knows no templates and no batches of texts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface

from qwen3_rag.models.packing import Row, Segment

PACKED = "qwen3_rag_packed"
"""The name under which transformers knows the function."""

_ALIKE = 0.85
"""Segments are one batch while the shortest has this share of the longest's tokens."""
_SMALL = 256
"""Longer segments gain nothing from being batched."""
_ROWS = 1024
"""Queries that are masked at a time, where a segment attends to a shared beginning: bounds the mask."""
_HALF = frozenset((torch.bfloat16, torch.float16))


class Kernel(Protocol):
    """Attention over a packed row. Query (n, heads, head dim), key and value (tokens, kv heads, head dim); the result is like query."""

    def everywhere(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Queries are all tokens of the row. The result may be written into `out`, which may be `query` itself."""

    def at_ends(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        """Queries are the last token of each item."""


def kernel_for(row: Row, device: torch.device, dtype: torch.dtype) -> Kernel:
    """The kernel that computes `row` best on `device`."""
    if device.type == "cuda" and dtype in _HALF:
        return VarlenAttention(row, device)
    return BlockAttention(row, device)


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    *,
    kernel: Kernel,
    **_: Any,
) -> tuple[torch.Tensor, None]:
    """What transformers calls: tensors of shape (1, heads, tokens, head dim) in, (1, tokens, heads, head dim) out."""
    out = kernel.everywhere(query[0].transpose(0, 1), key[0].transpose(0, 1), value[0].transpose(0, 1), scaling)
    return out.unsqueeze(0), None


AttentionInterface.register(PACKED, packed_attention)


@dataclass(frozen=True, slots=True)
class _Block:
    """Segments with the same beginning, computed as one batch, with what every layer needs of them; `batch` is None for a single one."""

    segments: list[Segment]
    batch: _Batch | None


@dataclass(frozen=True, slots=True)
class _Batch:
    """`rows` and `keys` index the row, (batch, longest) each; `mask` is None where causal order says it all.

    Shorter segments repeat their last token: behind it in a causal order, so that no real token sees the repetition. `real` marks what is
    no repetition, and `places` are the rows of that.
    """

    rows: torch.Tensor
    keys: torch.Tensor
    mask: torch.Tensor | None
    real: torch.Tensor
    places: torch.Tensor


class BlockAttention:
    """Segment by segment, or block by block where segments are small and alike."""

    def __init__(self, row: Row, device: torch.device) -> None:
        self._device = device
        self._blocks = [self._block(segments) for segments in _alike(row.segments)]
        self._ends = {segment: index for index, segment in enumerate(row.ends)}

    def everywhere(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Queries are all tokens of the row. The result is written into `out`, if that is given; a block's queries are read before."""
        out = torch.empty_like(query, memory_format=torch.contiguous_format) if out is None else out
        for block in self._blocks:
            batch = block.batch
            if batch is None:
                segment = block.segments[0]
                out[segment.start : segment.start + segment.length] = _alone(segment, query, key, value, scale)
                continue
            own, keys, values = _gathered(query, batch.rows), _gathered(key, batch.keys), _gathered(value, batch.keys)
            found = _attend(own, keys, values, scale, batch.mask, is_causal=batch.mask is None)
            out[batch.places] = found[batch.real]
        return out

    def at_ends(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        """Queries are the last token of each item."""
        out = torch.empty_like(query, memory_format=torch.contiguous_format)
        for block in self._blocks:
            wanted = [(place, self._ends[segment]) for place, segment in enumerate(block.segments) if segment in self._ends]
            if not wanted:
                continue
            if block.batch is None:
                segment, index = block.segments[0], wanted[0][1]
                own_keys, own_values = _own(segment, key)[None], _own(segment, value)[None]
                out[index] = _attend(query[index : index + 1, None], own_keys, own_values, scale, None)[0, 0]
                continue
            places, indices = (torch.tensor(part, device=self._device) for part in zip(*wanted, strict=True))
            lengths = torch.tensor([segment.before_length + segment.length for segment in block.segments], device=self._device)
            keys = block.batch.keys[places]
            mask = (torch.arange(keys.shape[1], device=self._device) < lengths[places, None])[:, None, None]
            out[indices] = _attend(query[indices, None], key[keys], value[keys], scale, mask)[:, 0]
        return out

    def _block(self, segments: list[Segment]) -> _Block:
        first = segments[0]
        if len(segments) == 1:
            return _Block(segments, None)
        longest = max(segment.length for segment in segments)
        starts = torch.tensor([segment.start for segment in segments], device=self._device)
        lengths = torch.tensor([segment.length for segment in segments], device=self._device)
        steps = torch.arange(longest, device=self._device)
        rows = starts[:, None] + torch.minimum(steps, lengths[:, None] - 1)
        before = torch.arange(first.before, first.before + first.before_length, device=self._device).expand(len(segments), -1)
        keys = torch.cat([before, rows], dim=1)
        mask = _causal(longest, keys.shape[1], self._device) if first.before_length else None
        real = steps < lengths[:, None]
        return _Block(segments, _Batch(rows, keys, mask, real, rows[real]))


def _alike(segments: Sequence[Segment]) -> Iterator[list[Segment]]:
    """Segments that can be one batch: the same beginning, about as long as each other, and not long."""
    block: list[Segment] = []
    for segment in sorted(segments, key=lambda segment: (segment.before, segment.before_length, segment.length)):
        same = block and (segment.before, segment.before_length) == (block[0].before, block[0].before_length)
        if not same or segment.length > _SMALL or block[0].length < _ALIKE * segment.length:
            if block:
                yield block
            block = []
        block.append(segment)
    if block:
        yield block


def _alone(segment: Segment, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
    own = query[segment.start : segment.start + segment.length][None]
    keys, values = _own(segment, key)[None], _own(segment, value)[None]
    if not segment.before_length:
        return _attend(own, keys, values, scale, None, is_causal=True)[0]
    parts = []
    for start in range(0, segment.length, _ROWS):
        stop = min(start + _ROWS, segment.length)
        seen = segment.before_length + stop
        mask = _causal(stop - start, seen, query.device)
        parts.append(_attend(own[:, start:stop], keys[:, :seen], values[:, :seen], scale, mask)[0])
    return torch.cat(parts)


def _own(segment: Segment, tensor: torch.Tensor) -> torch.Tensor:
    """What a segment attends to: the shared beginning and itself."""
    own = tensor[segment.start : segment.start + segment.length]
    if not segment.before_length:
        return own
    return torch.cat([tensor[segment.before : segment.before + segment.before_length], own])


def _gathered(tensor: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    """`tensor[rows]`, laid so that each head's tokens are neighbours: gathering and attention together take a seventh less on a CPU."""
    count = tensor.shape[1]
    heads = torch.arange(count, device=rows.device)[:, None]
    flat = tensor.reshape(-1, tensor.shape[2]).index_select(0, (rows[:, None] * count + heads).flatten())
    return flat.view(len(rows), count, rows.shape[1], -1).transpose(1, 2)


def _causal(queries: int, keys: int, device: torch.device) -> torch.Tensor:
    """The mask of queries that are the last of the keys."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril(keys - queries)


def _attend(
    query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, mask: torch.Tensor | None, *, is_causal: bool = False
) -> torch.Tensor:
    """Attention of tensors of shape (batch, tokens, heads, head dim)."""
    found = scaled_dot_product_attention(
        query.transpose(1, 2),
        key.transpose(1, 2),
        value.transpose(1, 2),
        attn_mask=mask,
        is_causal=is_causal,
        scale=scale,
        enable_gqa=query.shape[2] != key.shape[2],
    )
    return found.transpose(1, 2)


class VarlenAttention:
    """The whole row in one call. `attend` is `varlen_attn`; tests give one of their own that runs anywhere."""

    def __init__(self, row: Row, device: torch.device, attend: Callable[..., torch.Tensor] | None = None) -> None:
        self._attend = attend or _varlen()
        self._all = _Lengths(row.segments, [segment.length for segment in row.segments], device)
        self._last = _Lengths(row.ends, [1] * len(row.ends), device)

    def everywhere(
        self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float, out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Queries are all tokens of the row. `out` is not made use of."""
        return self._run(self._all, query, key, value, scale)

    def at_ends(self, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        """Queries are the last token of each item."""
        return self._run(self._last, query, key, value, scale)

    def _run(self, at: _Lengths, query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, scale: float) -> torch.Tensor:
        if at.keys is not None:
            key, value = key[at.keys], value[at.keys]
        found: torch.Tensor = self._attend(
            query.contiguous(),
            key.contiguous(),
            value.contiguous(),
            at.cu_query,
            at.cu_key,
            at.most_queries,
            at.most_keys,
            scale=scale,
            window_size=(-1, 0),
            enable_gqa=query.shape[1] != key.shape[1],
        )
        return found


def _varlen() -> Callable[..., Any]:
    from torch.nn.attention.varlen import varlen_attn

    return varlen_attn


class _Lengths:
    """Where queries and keys of each segment begin and end; `keys` gathers the keys, None where they lie in order already."""

    def __init__(self, segments: Sequence[Segment], queries: Sequence[int], device: torch.device) -> None:
        keys = [segment.before_length + segment.length for segment in segments]
        self.cu_query = torch.tensor([0, *queries], device=device).cumsum(0).to(torch.int32)
        self.cu_key = torch.tensor([0, *keys], device=device).cumsum(0).to(torch.int32)
        self.most_queries, self.most_keys = max(queries), max(keys)
        gathered = [row for s in segments for row in (*range(s.before, s.before + s.before_length), *range(s.start, s.start + s.length))]
        self.keys = None if gathered == list(range(len(gathered))) else torch.tensor(gathered, device=device)
