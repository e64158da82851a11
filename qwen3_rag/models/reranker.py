"""Qwen3 reranking models: how probable it is that a document answers a query.

Formula of the Qwen3 Embedding paper (arXiv 2506.05176): P(yes) over {yes, no} at the last position, which is
sigmoid(h · (W[yes] - W[no])), in float32. This module knows no template text and no tensors.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.errors import ConfigurationError, ModelFormatError
from qwen3_rag.models.base import ResultArray
from qwen3_rag.models.embedder import checked_texts
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.models.loading import Loaded, answer_direction, load
from qwen3_rag.models.prompts import Prompt, RerankTemplate
from qwen3_rag.models.scheduling import Computed, Reduction, Rows

logger = logging.getLogger(__name__)


class Reranker:
    """A Qwen3 reranking model. Safe to call from several threads.

    ```python
    reranker = Reranker.load("Qwen/Qwen3-Reranker-0.6B")
    print(reranker.score("how are keys rotated?", ["Keys are rotated every 90 days.", "Lunch is at noon."]))
    ```

    Args:
        loaded: the network and its files.
        direction: W[yes] - W[no], shape (hidden,); the checkpoint's unless given.
    """

    def __init__(self, loaded: Loaded, direction: Rows | None = None) -> None:
        self._loaded = loaded
        self._template = RerankTemplate(loaded.tokenizer, loaded.checkpoint.context)
        if max(self._template.highest_id, self._template.yes_id, self._template.no_id) >= loaded.checkpoint.vocabulary:
            raise ModelFormatError(
                f"The weights in {loaded.checkpoint.folder} lack rows for tokens of the reranker template. Give a Qwen3 reranker."
            )
        if direction is None:
            direction = answer_direction(loaded, self._template.yes_id, self._template.no_id)
        self._direction = direction
        self._reduction = Reduction(self._scored, ())

    @classmethod
    def load(cls, model: str, *, dtype: str = "auto", device: str = "auto", quantization: str = "none") -> Self:
        """Load a checkpoint: a hub id or a local folder. `dtype`, `device` and `quantization` are as in `Embedder.load`.

        Raises:
            MissingExtraError: torch or transformers is not installed.
            ConfigurationError: unknown dtype, device or quantization, or a model known to be no reranker.
            ModelNotFoundError: no such folder, and the hub does not have it or cannot be reached.
            ModelFormatError: the folder holds no Qwen3 checkpoint with what a reranker needs.
        """
        return cls(load(model, ModelKind.RERANKER, dtype, device, quantization))

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Nothing in it changes, and a model in memory twice helps nobody: what holds it may be copied, and shares it."""
        return self

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

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None, deadline: float | None = None) -> ResultArray:
        """P(yes) of each document, float32 of shape (n,), with `truncated` for each document.

        With a `deadline`, in seconds from now, documents are scored in their order and those not scored in time are NaN. It is looked at
        between batches, which are made as small as the time that is left asks for.

        Raises:
            ConfigurationError: the query is no string, the documents are no sequence of strings, or the instruction leaves no room.
            NonFiniteError: the model computed NaN or infinity.
            ModelMemoryError: one document alone needs more memory than there is.
            OverloadedError: too many callers wait already.
        """
        return self.score_many([(query, documents)], instruction, deadline)[0]

    def score_many(
        self, requests: Sequence[tuple[str, Sequence[str]]], instruction: str | None = None, deadline: float | None = None
    ) -> list[ResultArray]:
        """`score` for several queries, each with its own documents, in shared batches."""
        until = _moment(deadline)
        prompts = self._prompts(requests, instruction)
        items = [prompt.item for each in prompts for prompt in each]
        return self._results(prompts, self._loaded.inference.run(items, self._reduction, until))

    async def ascore(
        self, query: str, documents: Sequence[str], instruction: str | None = None, deadline: float | None = None
    ) -> ResultArray:
        """`score` for tasks: they share batches, and a cancelled one is not computed."""
        until = _moment(deadline)
        prompts = await asyncio.to_thread(self._prompts, [(query, documents)], instruction)
        items = [prompt.item for each in prompts for prompt in each]
        computed = await asyncio.wrap_future(self._loaded.inference.submit(items, self._reduction, until))
        return self._results(prompts, computed)[0]

    def _prompts(self, requests: Sequence[tuple[str, Sequence[str]]], instruction: str | None) -> list[list[Prompt]]:
        for query, _ in requests:
            if not isinstance(query, str):
                raise ConfigurationError(f"`query` must be a string, not a {type(query).__name__}: documents are scored against one query.")
        return [self._template.prompts(query, checked_texts("documents", documents), instruction) for query, documents in requests]

    def _results(self, prompts: Sequence[Sequence[Prompt]], computed: Computed) -> list[ResultArray]:
        truncated = [prompt.truncated for each in prompts for prompt in each]
        if any(truncated):
            logger.warning(
                "%d of %d pairs were cut to the %d tokens that %s reads", sum(truncated), len(truncated), self.max_tokens, self.model
            )
        bounds = np.cumsum([0, *map(len, prompts)]).tolist()
        return [ResultArray.of(computed.rows[a:b], truncated[a:b]) for a, b in pairwise(bounds)]

    def _scored(self, states: Rows) -> Rows:
        return sigmoid(states @ self._direction)


def _moment(seconds: float | None) -> float | None:
    return None if seconds is None else time.monotonic() + seconds


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / (1 + exp(-x)) without overflow."""
    result: NDArray[np.float32] = np.exp(-np.logaddexp(np.float32(0), -logits))
    return result
