"""A loaded network and its scheduler: sequences in, hidden states of their last tokens out, from any number of threads and tasks.

It knows nothing of text. Batches are composed by `scheduling`, computed by `packed`; here they meet the device: one batch at a time,
divided among lanes where the network is small, memory that runs out, output that is not finite.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from functools import partial

import numpy as np
import torch
from transformers import Qwen3Model

from qwen3_rag.errors import NonFiniteError
from qwen3_rag.models.budget import choose_budget, is_out_of_memory
from qwen3_rag.models.lanes import Lanes, count_lanes, divide
from qwen3_rag.models.packed import PackedForward
from qwen3_rag.models.packing import Item
from qwen3_rag.models.scheduling import BatchTooLargeError, Rows, Scheduler

logger = logging.getLogger(__name__)


class Inference(Scheduler):
    """Runs a model; `submit` and `run` are those of the scheduler."""

    def __init__(self, model: Qwen3Model, name: str) -> None:
        self.model = model
        self._name = name
        lanes = count_lanes(model.config, model.device)
        self._lanes, self._forwards = Lanes(lanes), [PackedForward(model) for _ in range(lanes)]
        self._forward = self._forwards[0]  # for what is not divided: the lanes are idle then
        super().__init__(self._states, choose_budget(model.config, model.dtype, model.device, lanes), self._refuse_non_finite)

    @torch.inference_mode()
    def _states(self, items: Sequence[Item]) -> Rows:
        try:
            parts = divide(items, self._lanes.count)
            states = self._forward(items) if parts is None else self._divided(items, parts)
            if not torch.isfinite(states).all() and self.model.dtype != torch.float32:
                states = self._once_more(items)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            raise BatchTooLargeError from error
        rows: Rows = states.float().cpu().numpy()
        return rows

    def _divided(self, items: Sequence[Item], parts: Sequence[Sequence[int]]) -> torch.Tensor:
        """The states of `items` in their order, each part computed in a lane."""

        @torch.inference_mode()
        def compute(forward: PackedForward, part: Sequence[int]) -> torch.Tensor:
            return forward([items[index] for index in part])

        found = self._lanes.run([partial(compute, *each) for each in zip(self._forwards, parts, strict=True)])
        order = torch.tensor([index for part in parts for index in part], device=self.model.device)
        states = torch.cat(found)
        return torch.empty_like(states).index_copy_(0, order, states)

    def _once_more(self, items: Sequence[Item]) -> torch.Tensor:
        dtype = self.model.dtype
        logger.warning("%s gave non-finite output in %s; a batch of %d is computed again in float32", self._name, dtype, len(items))
        self._cast(torch.float32)
        try:
            return self._forward(items)
        finally:
            self._cast(dtype)

    def _cast(self, dtype: torch.dtype) -> None:
        """Parameters only, and exact there and back; `Module.to` would round the rotary frequencies for good."""
        with torch.inference_mode(False):  # what is made in that mode can never be written to outside of it
            for parameter in self.model.parameters():
                parameter.data = parameter.data.to(dtype)

    def _refuse_non_finite(self, states: Rows) -> None:
        if np.isfinite(states).all():
            return
        raise NonFiniteError(
            f"The model {self._name!r} computed NaN or infinity for {len(states)} texts, in float32 too. Its weights are damaged "
            "or not those of a trained model: download the checkpoint again. Nothing of these texts was returned."
        )
