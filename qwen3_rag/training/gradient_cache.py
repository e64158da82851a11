"""A contrastive batch that is larger than the memory: vectors first without gradients, then the loss, then parts again with them.

The gradient is exactly that of the whole batch in one piece (Gao et al., arXiv 2101.06983); the forward pass is paid twice. It knows
neither texts nor losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch

from qwen3_rag.models.packing import Item, in_packing_order

Encode = Callable[[Sequence[Item]], torch.Tensor]
"""Sequences in, a vector for each out, shape (n, hidden)."""
Loss = Callable[[torch.Tensor], torch.Tensor]
"""All vectors in, shape (n, hidden), a scalar out."""


def cached_backward(encode: Encode, items: Sequence[Item], loss: Loss, most_tokens: int) -> torch.Tensor:
    """Add the gradients of `loss(encode(items))` to the parameters, with at most `most_tokens` tokens' activations at a time.

    What fits in one part is computed once. Parameters that `loss` itself reads get their gradients too. Dropout draws the same numbers in
    both passes. Returns the loss, detached.
    """
    parts = list(_parts(items, most_tokens))
    if len(parts) == 1:
        value = loss(encode(items))
        value.backward()  # type: ignore[no-untyped-call]
        return value.detach()
    states: list[_Random] = []
    vectors: list[torch.Tensor] = []
    with torch.no_grad():
        for part in parts:
            states.append(_Random())
            vectors.append(encode([items[index] for index in part]))
    order = torch.tensor([index for part in parts for index in part], device=vectors[0].device)
    whole = torch.cat(vectors)[order.argsort()].requires_grad_()
    value = loss(whole)
    value.backward()  # type: ignore[no-untyped-call]
    if whole.grad is not None:
        gradient = torch.split(whole.grad[order], [len(part) for part in parts])
        for part, rows, state in zip(parts, gradient, states, strict=True):
            with state.again():
                encode([items[index] for index in part]).backward(rows)  # type: ignore[no-untyped-call]
    return value.detach()


def _parts(items: Sequence[Item], most_tokens: int) -> Iterator[list[int]]:
    """Indices of items that are encoded together: as many as fit, those that begin alike side by side."""
    part: list[int] = []
    tokens = 0
    for index in in_packing_order(items):
        if part and tokens + len(items[index].ids) > most_tokens:
            yield part
            part, tokens = [], 0
        part.append(index)
        tokens += len(items[index].ids)
    if part:
        yield part


class _Random:
    """The state of torch's random numbers, on the CPU and on each CUDA device in use."""

    def __init__(self) -> None:
        self._cpu = torch.get_rng_state()
        self._cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []

    @contextmanager
    def again(self) -> Iterator[None]:
        """Draw the numbers that were drawn from here on; afterwards go on where one was."""
        with torch.random.fork_rng(devices=list(range(len(self._cuda)))):
            torch.set_rng_state(self._cpu)
            if self._cuda:
                torch.cuda.set_rng_state_all(self._cuda)
            yield
