"""Packing loses nothing, and what shares a row changes nothing."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import Qwen3Model

from qwen3_rag.models.attention import BlockAttention, VarlenAttention
from qwen3_rag.models.packed import PackedForward
from qwen3_rag.models.packing import Item, in_packing_order, pack
from qwen3_rag.models.padded import PaddedForward
from tests.models.tiny_qwen3 import make_config

TOLERANCE = 1e-5

tokens = st.lists(st.integers(0, 500), min_size=1, max_size=40)
beginnings = st.sampled_from([[], [7], [3, 1, 4, 1, 5], [3, 1, 4], list(range(60, 90))])
items = st.builds(lambda start, rest: Item([*start, *rest], len(start)), beginnings, tokens)


@given(st.lists(items, max_size=12))
def test_a_row_holds_every_sequence_once(sequences: list[Item]) -> None:
    row = pack(sequences)
    covered = sorted(place for segment in row.segments for place in range(segment.start, segment.start + segment.length))
    assert covered == list(range(len(row.ids))) == list(range(len(row.positions)))
    for item, end in zip(sequences, row.ends, strict=True):
        places = [*range(end.before, end.before + end.before_length), *range(end.start, end.start + end.length)]
        assert [row.ids[place] for place in places] == list(item.ids)
        assert [row.positions[place] for place in places] == list(range(len(item.ids)))


@given(st.lists(items, max_size=12))
def test_a_row_is_no_longer_than_it_need_be(sequences: list[Item]) -> None:
    shared = {item.beginning for item in sequences}
    assert len(pack(sequences).ids) == sum(map(len, shared)) + sum(len(item.ids) - len(item.beginning) for item in sequences)


@given(st.lists(items, max_size=30))
def test_packing_order_is_a_permutation_that_keeps_beginnings_together(sequences: list[Item]) -> None:
    order = in_packing_order(sequences)
    assert sorted(order) == list(range(len(sequences)))
    laid = [sequences[index].beginning for index in order]
    assert sum(one != other for one, other in pairwise(laid)) == max(len(set(laid)) - 1, 0)
    for one, other in pairwise(order):
        if sequences[one].beginning == sequences[other].beginning:
            assert len(sequences[one].ids) >= len(sequences[other].ids)


def test_a_sequence_never_shares_its_last_token() -> None:
    row = pack([Item([1, 2, 3], 3), Item([1, 2, 3], 9)])
    assert [(end.before_length, end.length) for end in row.ends] == [(2, 1), (2, 1)]


def test_an_empty_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="empty"):
        pack([Item([1]), Item([])])


class Networks:
    """The same random weights, padded and packed."""

    def __init__(self) -> None:
        torch.manual_seed(3)
        network = Qwen3Model(make_config()).eval().requires_grad_(False)
        for parameter in network.parameters():
            if parameter.dim() == 2:
                torch.nn.init.normal_(parameter, std=0.1)
        other = Qwen3Model(make_config()).eval().requires_grad_(False)
        other.load_state_dict(network.state_dict())
        self.layered, self.padded = PackedForward(network), PaddedForward(other)

    def packed(self, items: list[Item]) -> torch.Tensor:
        """As it runs in use: without gradients, so with the layers of our own. `layered` runs those of transformers."""
        with torch.inference_mode():
            return self.layered(items)


@pytest.fixture(scope="module")
def networks() -> Networks:
    return Networks()


@settings(max_examples=60, deadline=None)
@given(sequences=st.lists(items, min_size=1, max_size=12))
def test_packed_equals_padded_whatever_shares_the_row(networks: Networks, sequences: list[Item]) -> None:
    together = networks.packed(sequences)
    np.testing.assert_allclose(together, networks.padded([item.ids for item in sequences]), atol=TOLERANCE)
    np.testing.assert_allclose(together[:1], networks.packed(sequences[:1]), atol=TOLERANCE)
    np.testing.assert_allclose(together.flip(0), networks.packed(sequences[::-1]), atol=TOLERANCE)


@pytest.mark.parametrize("shared", [0, 5, 300])
def test_long_sequences_equal_padded(networks: Networks, shared: int) -> None:
    rng = np.random.default_rng(1)
    start = rng.integers(0, 500, shared).tolist()
    sequences = [Item(start + rng.integers(0, 500, length).tolist(), shared) for length in (1500, 257, 256, 255, 2, 1, 1100)]
    expected = networks.padded([item.ids for item in sequences])
    np.testing.assert_allclose(networks.packed(sequences), expected, atol=TOLERANCE)
    np.testing.assert_allclose(networks.layered(sequences), expected, atol=TOLERANCE)


def varlen_on_any_device(
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    cu_query: torch.Tensor,
    cu_key: torch.Tensor,
    most_queries: int,
    most_keys: int,
    *,
    scale: float,
    window_size: tuple[int, int],
    enable_gqa: bool,
) -> torch.Tensor:
    """What `varlen_attn` is documented to do: each sequence alone, causal from the last key backwards."""
    assert window_size == (-1, 0)
    assert (most_queries, most_keys) == (int(cu_query.diff().max()), int(cu_key.diff().max()))
    groups = query.shape[1] // key.shape[1]
    assert enable_gqa == (groups > 1)
    out = torch.empty_like(query)
    for (q0, q1), (k0, k1) in zip(cu_query.unfold(0, 2, 1).tolist(), cu_key.unfold(0, 2, 1).tolist(), strict=True):
        keys, values = (part[k0:k1].repeat_interleave(groups, 1) for part in (key, value))
        logits = torch.einsum("qhd,khd->hqk", query[q0:q1], keys) * scale
        unseen = torch.ones(q1 - q0, k1 - k0, dtype=torch.bool).tril(k1 - k0 - q1 + q0).logical_not()
        out[q0:q1] = torch.einsum("hqk,khd->qhd", logits.masked_fill(unseen, -torch.inf).softmax(-1), values)
    return out


@settings(max_examples=40, deadline=None)
@given(sequences=st.lists(items, min_size=1, max_size=10))
def test_both_kernels_compute_the_same(sequences: list[Item]) -> None:
    row, device = pack(sequences), torch.device("cpu")
    generator = torch.Generator().manual_seed(5)
    query, key, value = (torch.randn(len(row.ids), heads, 16, generator=generator) for heads in (4, 2, 2))
    block, varlen = BlockAttention(row, device), VarlenAttention(row, device, varlen_on_any_device)
    everywhere = block.everywhere(query, key, value, 0.25)
    torch.testing.assert_close(everywhere, varlen.everywhere(query, key, value, 0.25), atol=1e-5, rtol=1e-5)
    last = torch.tensor([end.last for end in row.ends])
    for kernel in (block, varlen):
        torch.testing.assert_close(kernel.at_ends(query[last], key, value, 0.25), everywhere[last], atol=1e-5, rtol=1e-5)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_varlen_on_a_gpu_equals_padded(networks: Networks) -> None:
    device = torch.device("cuda")
    rng = np.random.default_rng(2)
    start = rng.integers(0, 500, 20).tolist()
    sequences = [Item(start + rng.integers(0, 500, length).tolist(), 20) for length in (300, 100, 7, 1)]
    row = pack(sequences)
    query, key, value = (torch.randn(len(row.ids), heads, 64, device=device, dtype=torch.bfloat16) for heads in (4, 2, 2))
    expected = BlockAttention(row, device).everywhere(query.float(), key.float(), value.float(), 0.125)
    found = VarlenAttention(row, device).everywhere(query, key, value, 0.125)
    torch.testing.assert_close(found.float(), expected, atol=2e-2, rtol=2e-2)
