"""Runs sequences of any number and length through a model: batches, one thread at a time on the device, finite output or an error.

It knows nothing of text. How a batch is computed is behind one call (`PaddedForward`).
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import Qwen3Model

from qwen3_rag.errors import NonFiniteError
from qwen3_rag.models.batching import batches
from qwen3_rag.models.padded import PaddedForward

_CPU_BUDGET = 2048
_ACCELERATOR_BUDGET = 16_384

logger = logging.getLogger(__name__)


class Inference:
    """A loaded model and its lock. Calls from several threads take turns, batch by batch."""

    def __init__(self, model: Qwen3Model, name: str) -> None:
        self.model = model
        self.token_budget = _CPU_BUDGET if model.device.type == "cpu" else _ACCELERATOR_BUDGET
        self._name = name
        self._forward = PaddedForward(model)
        self._lock = threading.Lock()

    def states(self, sequences: Sequence[Sequence[int]]) -> Iterator[tuple[list[int], NDArray[np.float32]]]:
        """Last-token hidden states, batch by batch: indices into `sequences` and float32 rows of shape (batch, hidden).

        Raises:
            NonFiniteError: NaN or infinity came out, in float32 too.
        """
        for indices in batches([len(ids) for ids in sequences], self.token_budget):
            batch = [sequences[index] for index in indices]
            with self._lock, torch.inference_mode():
                rows = self._forward(batch).float()
                if not torch.isfinite(rows).all():
                    rows = self._once_more(batch)
                yield_rows: NDArray[np.float32] = rows.cpu().numpy()
            yield indices, yield_rows

    def _once_more(self, batch: Sequence[Sequence[int]]) -> torch.Tensor:
        dtype = self.model.dtype
        if dtype != torch.float32:
            logger.warning("%s gave non-finite output in %s; a batch of %d is computed again in float32", self._name, dtype, len(batch))
            self._cast(torch.float32)
            try:
                rows = self._forward(batch)
            finally:
                self._cast(dtype)
            if torch.isfinite(rows).all():
                return rows
        raise NonFiniteError(
            f"The model {self._name!r} computed NaN or infinity for a batch of {len(batch)} texts, in float32 too. Its weights are damaged "
            "or not those of a trained model: download the checkpoint again. Nothing of this batch was returned."
        )

    def _cast(self, dtype: torch.dtype) -> None:
        """Parameters only, and exact there and back; `Module.to` would round the rotary frequencies for good."""
        for parameter in self.model.parameters():
            parameter.data = parameter.data.to(dtype)
