"""The plain forward pass: a padded batch through the Hugging Face module. Token ids in, hidden state of each last token out.

It knows no templates, budgets or devices of its own. Sequences are padded on the right and no attention mask is built: attention is
causal, so a sequence's last token never sees the padding behind it, and positions count from 0 as they do without padding.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import Qwen3Model


class PaddedForward:
    """Calls a `Qwen3Model` on padded batches."""

    def __init__(self, model: Qwen3Model) -> None:
        self._model = model

    def __call__(self, sequences: Sequence[Sequence[int]]) -> torch.Tensor:
        """Hidden states of the last layer, after the final norm, at each sequence's last token: shape (n, hidden), the model's dtype.

        No sequence may be empty.
        """
        device = self._model.device
        lengths = torch.tensor([len(ids) for ids in sequences])
        rows = torch.zeros(len(sequences), int(lengths.max()), dtype=torch.long)
        for row, ids in zip(rows, sequences, strict=True):
            row[: len(ids)] = torch.tensor(ids)
        hidden = self._model(input_ids=rows.to(device), use_cache=False).last_hidden_state
        last: torch.Tensor = hidden[torch.arange(len(sequences), device=device), (lengths - 1).to(device)]
        return last
