"""The paper's formulas (arXiv 2506.05176), written down again from the paper and the model cards, one text at a time.

It shares no code with the package: plain transformers modules, the checkpoint's own tokenizer, padding left, right or none.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from transformers import PreTrainedTokenizerFast, Qwen3ForCausalLM

TASK = "Given a web search query, retrieve relevant passages that answer the query"
PREFIX = (
    "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
)
SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
PADDING = 5


class Reference:
    """Embeds and scores with `Qwen3ForCausalLM` in float32."""

    def __init__(self, folder: Path, max_tokens: int) -> None:
        self.network = Qwen3ForCausalLM.from_pretrained(folder, dtype=torch.float32).eval().requires_grad_(False)
        self.tokenizer = PreTrainedTokenizerFast(tokenizer_file=str(folder / "tokenizer.json"), pad_token="<|endoftext|>")
        self.max_tokens = max_tokens

    def ids(self, text: str) -> list[int]:
        return self.tokenizer(text, add_special_tokens=False)["input_ids"]

    def last_state(self, ids: list[int], padding: str = "none") -> torch.Tensor:
        pad = [self.tokenizer.pad_token_id] * (PADDING if padding != "none" else 0)
        row, mask = [*ids, *pad], [1] * len(ids) + [0] * len(pad)
        if padding == "left":
            row, mask = [*pad, *ids], [0] * len(pad) + [1] * len(ids)
        positions = (torch.tensor([mask]).cumsum(-1) - 1).clamp(min=0)
        inputs = {"input_ids": torch.tensor([row]), "attention_mask": torch.tensor([mask]), "position_ids": positions}
        states = self.network.model(**inputs, use_cache=False)[0]
        return states[0, -1] if padding == "left" else states[0, len(ids) - 1]

    def embed(self, text: str, dim: int, padding: str = "none") -> np.ndarray:
        ids = [*self.ids(text)[: self.max_tokens - 1], self.tokenizer.convert_tokens_to_ids("<|endoftext|>")]
        state = self.last_state(ids, padding)[:dim].float()
        return torch.nn.functional.normalize(state, dim=0).numpy()

    def embed_query(self, query: str, dim: int, task: str = TASK, padding: str = "none") -> np.ndarray:
        return self.embed(f"Instruct: {task}\nQuery:{query}", dim, padding)

    def score(self, query: str, document: str, task: str = TASK, padding: str = "none") -> float:
        prefix, suffix = self.ids(PREFIX), self.ids(SUFFIX)
        pair = self.ids(f"<Instruct>: {task}\n<Query>: {query}\n<Document>: {document}")
        ids = [*prefix, *pair[: self.max_tokens - len(prefix) - len(suffix)], *suffix]
        logits = self.network.lm_head(self.last_state(ids, padding)).float()
        yes, no = (self.tokenizer.convert_tokens_to_ids(word) for word in ("yes", "no"))
        return float(torch.nn.functional.log_softmax(torch.stack([logits[no], logits[yes]]), dim=0)[1].exp())
