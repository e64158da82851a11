"""The network as it is in the middle of training, as an embedder and as a reranker, so that it can be judged like any other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from qwen3_rag.models.base import EmbedderLike, RerankerLike, ResultArray
from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.inference import Inference
from qwen3_rag.models.loading import Loaded
from qwen3_rag.models.prompts import RerankTemplate
from qwen3_rag.models.reranker import sigmoid
from qwen3_rag.training.network import Network

_NAME = "the model in training"
_TOGETHER = 32
"""Documents of one query that are scored at a time."""


def current_embedder(network: Network) -> EmbedderLike:
    """To be used before the next step."""
    network.eval()
    network.refresh()
    return Embedder(Loaded(_NAME, network.checkpoint, network.tokenizer, Inference(network.running, _NAME)))


def current_reranker(network: Network) -> RerankerLike:
    """To be used before the next step."""
    network.eval()
    network.refresh()
    return _Reranker(network)


class _Reranker:
    """Scores with the rows of the head that are being trained, which are in no file yet."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._template = RerankTemplate(network.tokenizer, network.checkpoint.context)

    @property
    def model(self) -> str:
        return _NAME

    @torch.no_grad()
    def score(self, query: str, documents: Sequence[str], instruction: str | None = None, deadline: float | None = None) -> ResultArray:
        prompts = self._template.prompts(query, documents, instruction)
        yes, no = self._network.answer_rows(self._template.yes_id, self._template.no_id)
        parts = [prompts[start : start + _TOGETHER] for start in range(0, len(prompts), _TOGETHER)]
        logits = [self._network([prompt.item for prompt in part]).float() @ (yes - no).float() for part in parts]
        scores = torch.cat(logits).cpu().numpy() if logits else np.empty(0, dtype=np.float32)
        return ResultArray.of(sigmoid(scores), [prompt.truncated for prompt in prompts])
