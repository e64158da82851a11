"""Qwen3 reranking models: how probable it is that a document answers a query.

Formula of the Qwen3 Embedding paper (arXiv 2506.05176): P(yes) over {yes, no} at the last position, which is
sigmoid(h · (W[yes] - W[no])), in float32. This module knows no template text and no tensors.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Self

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.errors import ConfigurationError, ModelFormatError
from qwen3_rag.models.base import ResultArray
from qwen3_rag.models.embedder import checked_texts
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.models.loading import Loaded, answer_direction, load
from qwen3_rag.models.prompts import RerankTemplate

logger = logging.getLogger(__name__)


class Reranker:
    """A Qwen3 reranking model. Safe to call from several threads.

    ```python
    reranker = Reranker.load("Qwen/Qwen3-Reranker-0.6B")
    print(reranker.score("how are keys rotated?", ["Keys are rotated every 90 days.", "Lunch is at noon."]))
    ```
    """

    def __init__(self, loaded: Loaded) -> None:
        self._loaded = loaded
        self._template = RerankTemplate(loaded.tokenizer, loaded.checkpoint.context)
        if max(self._template.highest_id, self._template.yes_id, self._template.no_id) >= loaded.checkpoint.vocabulary:
            raise ModelFormatError(
                f"The weights in {loaded.checkpoint.folder} lack rows for tokens of the reranker template. Give a Qwen3 reranker."
            )
        self._direction = answer_direction(loaded, self._template.yes_id, self._template.no_id)

    @classmethod
    def load(cls, model: str, *, dtype: str = "auto", device: str = "auto") -> Self:
        """Load a checkpoint: a hub id or a local folder. `dtype` and `device` are as in `Embedder.load`.

        Raises:
            MissingExtraError: torch or transformers is not installed.
            ConfigurationError: unknown dtype or device, or a model known to be no reranker.
            ModelNotFoundError: no such folder, and the hub does not have it or cannot be reached.
            ModelFormatError: the folder holds no Qwen3 checkpoint with what a reranker needs.
        """
        return cls(load(model, ModelKind.RERANKER, dtype, device))

    @property
    def model(self) -> str:
        """The name it was loaded by; of a local folder, its absolute path."""
        return self._loaded.name

    @property
    def max_tokens(self) -> int:
        """Longest prompt in tokens: template, instruction, query and document."""
        return self._loaded.checkpoint.context

    @property
    def max_query_tokens(self) -> int:
        """A longer query is cut to so many tokens."""
        return self._template.max_query_tokens

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None) -> ResultArray:
        """P(yes) of each document, float32 of shape (n,), with `truncated` for each document.

        Raises:
            ConfigurationError: the query is no string, the documents are no sequence of strings, or the instruction leaves no room.
            NonFiniteError: the model computed NaN or infinity.
        """
        if not isinstance(query, str):
            raise ConfigurationError(f"`query` must be a string, not a {type(query).__name__}: documents are scored against one query.")
        prompts = self._template.prompts(query, checked_texts("documents", documents), instruction)
        logits = np.empty(len(prompts), dtype=np.float32)
        for indices, states in self._loaded.inference.states([prompt.ids for prompt in prompts]):
            logits[indices] = states @ self._direction
        truncated = [prompt.truncated for prompt in prompts]
        if any(truncated):
            logger.warning(
                "%d of %d pairs were cut to the %d tokens that %s reads", sum(truncated), len(prompts), self.max_tokens, self.model
            )
        return ResultArray.of(sigmoid(logits), truncated)

    async def ascore(self, query: str, documents: Sequence[str], instruction: str | None = None) -> ResultArray:
        """`score` in a worker thread."""
        return await asyncio.to_thread(self.score, query, documents, instruction)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-x)) without overflow."""
    result: NDArray[np.float32] = np.exp(-np.logaddexp(np.float32(0), -logits))
    return result
