"""What several processes of one training exchange: vectors with their gradients, and the gradients of weights. Without others, nothing.

Gathering sends the sum of all processes' gradients back to each one's own rows. The mean over processes of the weights' gradients is then
that of the mean of their losses. It knows no losses.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import Any

import torch
from torch import distributed


def count() -> int:
    """How many processes train together."""
    return distributed.get_world_size() if distributed.is_available() and distributed.is_initialized() else 1


def launched() -> int:
    """How many processes torchrun or accelerate started, known before they have met."""
    return int(os.environ.get("WORLD_SIZE", "1"))


def rank() -> int:
    """Which of them this is, from 0."""
    return distributed.get_rank() if count() > 1 else int(os.environ.get("RANK", "0"))


def wait() -> None:
    """Go on when all are here."""
    if count() > 1:
        distributed.barrier()


def gathered(rows: torch.Tensor) -> torch.Tensor:
    """The rows of all processes in their order, of which each has equally many; gradients flow back to their owners."""
    if count() == 1:
        return rows
    everything: torch.Tensor = _Gather.apply(rows)  # type: ignore[no-untyped-call]
    return everything


def total(value: float, device: torch.device) -> float:
    """The sum over all processes."""
    if count() == 1:
        return value
    summed = torch.tensor([value], dtype=torch.float64, device=device)
    distributed.all_reduce(summed)
    return float(summed.item())


def average_gradients(parameters: Iterable[torch.nn.Parameter]) -> None:
    """Replace each gradient by the mean over all processes."""
    if count() == 1:
        return
    for parameter in parameters:
        if parameter.requires_grad:
            gradient = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad.contiguous()
            distributed.all_reduce(gradient)
            parameter.grad = gradient / count()


class _Gather(torch.autograd.Function):
    @staticmethod
    def forward(context: Any, rows: torch.Tensor) -> torch.Tensor:
        own = rows.detach().contiguous()
        parts = [torch.empty_like(own) for _ in range(count())]
        distributed.all_gather(parts, own)
        context.share = len(own)
        return torch.cat(parts)

    @staticmethod
    def backward(context: Any, *gradients: torch.Tensor) -> torch.Tensor:
        summed = gradients[0].contiguous().clone()
        distributed.all_reduce(summed)
        first = rank() * context.share
        return summed[first : first + context.share]
