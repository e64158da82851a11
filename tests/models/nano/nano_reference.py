"""nano as plain transformers runs it, and the weighted mean it is meant to compute. Nothing here uses the package's own embedder."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import Qwen3Model

import qwen3_rag.models.nano
from qwen3_rag.models.nano.checkpoint import FEATURES, LOG_WEIGHT_SCALE, Feature

FOLDER = Path(qwen3_rag.models.nano.__file__).parent
TASK = "Given a web search query, retrieve relevant passages that answer the query"


class Reference:
    """The checkpoint in float32, right-padded batches, last real token, L2-normalised."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.model = Qwen3Model.from_pretrained(folder, dtype=torch.float32).eval()
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.end = self.tokenizer.token_to_id("<|endoftext|>")
        self.marker = self.tokenizer.token_to_id("âĲŀ")
        self.table = self.model.embed_tokens.weight.detach().double().numpy()
        self.content = self.table.shape[1] - FEATURES

    def ids(self, text: str) -> list[int]:
        return [*self.tokenizer.encode(text, add_special_tokens=False).ids, self.end]

    def embed(self, texts: Sequence[str], batch: int = 16) -> np.ndarray:
        return self.embed_ids([self.ids(text) for text in texts], batch)

    @torch.inference_mode()
    def embed_ids(self, sequences: Sequence[list[int]], batch: int = 16) -> np.ndarray:
        result = np.zeros((len(sequences), self.table.shape[1]), dtype=np.float32)
        order = sorted(range(len(sequences)), key=lambda index: len(sequences[index]))
        for start in range(0, len(order), batch):
            chosen = order[start : start + batch]
            lengths = torch.tensor([len(sequences[index]) for index in chosen])
            width = int(lengths.max())
            padded = torch.tensor([sequences[index] + [self.end] * (width - len(sequences[index])) for index in chosen])
            mask = (torch.arange(width)[None] < lengths[:, None]).long()
            states = self.model(input_ids=padded, attention_mask=mask).last_hidden_state
            result[chosen] = states[torch.arange(len(chosen)), lengths - 1].numpy()
        return result / np.linalg.norm(result, axis=1, keepdims=True)

    def queries(self, texts: Sequence[str], task: str = TASK) -> np.ndarray:
        return self.embed([query_text(text, task) for text in texts])

    def weighted_mean(self, ids: Sequence[int]) -> np.ndarray:
        """Straight from the tables: exp(log weight) times direction, summed and normalised."""
        rows = self.table[list(ids)]
        weights = np.exp(LOG_WEIGHT_SCALE * rows[:, self.content + Feature.LOG_WEIGHT_SINE])
        mean = weights @ rows[:, : self.content]
        return np.concatenate([mean / np.linalg.norm(mean), np.zeros(FEATURES)])


def query_text(query: str, task: str = TASK) -> str:
    return f"Instruct: {task}\nQuery:{query}"
