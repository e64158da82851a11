"""Qwen3 embedding models: queries and documents in, L2-normalised vectors out, at any Matryoshka dimension.

Formula of the Qwen3 Embedding paper (arXiv 2506.05176): hidden state of the end-of-text token in the last layer, truncated to `dim`,
cast to float32, then normalised; in that order. This module knows no template text and no tensors.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from qwen3_rag.errors import ConfigurationError, DimensionError
from qwen3_rag.models.base import ResultArray
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.models.loading import Loaded, load
from qwen3_rag.models.prompts import TEMPLATE_VERSION, EmbeddingTemplate, Prompt
from qwen3_rag.types import EmbeddingSpace

MIN_DIM = 32

logger = logging.getLogger(__name__)


class Embedder:
    """A Qwen3 embedding model. Safe to call from several threads.

    ```python
    embedder = Embedder.load("nano", dim=128)
    documents = embedder.embed_documents(["Keys are rotated every 90 days.", "Lunch is at noon."])
    queries = embedder.embed_queries(["how are keys rotated?"])
    print(queries @ documents.T)
    ```
    """

    def __init__(self, loaded: Loaded, dim: int | None = None) -> None:
        self._loaded = loaded
        self._template = EmbeddingTemplate(loaded.tokenizer, loaded.checkpoint.context)
        self._dim = self._checked(self.hidden_size if dim is None else dim)

    @classmethod
    def load(cls, model: str, *, dim: int | None = None, dtype: str = "auto", device: str = "auto") -> Self:
        """Load a checkpoint: a hub id, a local folder, or `"nano"`.

        `dim` is the default dimension of the vectors, from 32 to the model's hidden size; None is the latter. `dtype` is `"auto"`,
        `"float32"`, `"bfloat16"` or `"float16"`; `device` is `"auto"`, `"cpu"`, `"cuda"`, `"cuda:1"` or `"mps"`.

        Raises:
            MissingExtraError: torch or transformers is not installed.
            ConfigurationError: unknown dtype or device.
            DimensionError: `dim` outside what the model offers.
            ModelNotFoundError: no such folder, and the hub does not have it or cannot be reached.
            ModelFormatError: the folder holds no Qwen3 embedding checkpoint.
        """
        return cls(load(model, ModelKind.EMBEDDER, dtype, device), dim)

    @property
    def model(self) -> str:
        """The name it was loaded by; of a local folder, its absolute path."""
        return self._loaded.name

    @property
    def dim(self) -> int:
        """Default dimension of its vectors."""
        return self._dim

    @property
    def hidden_size(self) -> int:
        """The largest dimension."""
        return self._loaded.checkpoint.hidden_size

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens, the end-of-text token included."""
        return self._loaded.checkpoint.context

    @property
    def tokenizer(self) -> Tokenizer:
        """Encodes text as the model will read it: without truncation, padding or special tokens."""
        return self._loaded.tokenizer.plain

    @property
    def space(self) -> EmbeddingSpace:
        """What makes its vectors comparable, at its default dim."""
        return EmbeddingSpace(self.model, self._loaded.checkpoint.revision, self._dim, TEMPLATE_VERSION)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of `space`."""
        return self.space.fingerprint

    def embed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        """Embed queries, each after its instruction.

        Returns float32 of shape (n, dim), rows L2-normalised, with `truncated` for each text.

        Raises:
            ConfigurationError: not a sequence of strings, or an instruction that leaves no room.
            DimensionError: `dim` outside 32 and the hidden size.
            NonFiniteError: the model computed NaN or infinity.
        """
        width = self._checked(self._dim if dim is None else dim)
        return self._embed("queries", self._template.queries(checked_texts("texts", texts), instruction), width)

    def embed_documents(self, texts: Sequence[str], dim: int | None = None) -> ResultArray:
        """Embed documents as they are. Returns and raises as `embed_queries`."""
        width = self._checked(self._dim if dim is None else dim)
        return self._embed("documents", self._template.documents(checked_texts("texts", texts)), width)

    async def aembed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        """`embed_queries` in a worker thread."""
        return await asyncio.to_thread(self.embed_queries, texts, instruction, dim)

    async def aembed_documents(self, texts: Sequence[str], dim: int | None = None) -> ResultArray:
        """`embed_documents` in a worker thread."""
        return await asyncio.to_thread(self.embed_documents, texts, dim)

    def _embed(self, role: str, prompts: Sequence[Prompt], dim: int) -> ResultArray:
        vectors = np.empty((len(prompts), dim), dtype=np.float32)
        for indices, states in self._loaded.inference.states([prompt.ids for prompt in prompts]):
            vectors[indices] = normalised(states[:, :dim])
        truncated = [prompt.truncated for prompt in prompts]
        if any(truncated):
            logger.warning(
                "%d of %d %s were cut to the %d tokens that %s reads", sum(truncated), len(prompts), role, self.max_tokens, self.model
            )
        return ResultArray.of(vectors, truncated)

    def _checked(self, dim: int) -> int:
        least, most = min(MIN_DIM, self.hidden_size), self.hidden_size
        if not isinstance(dim, int | np.integer) or isinstance(dim, bool) or not least <= dim <= most:
            raise DimensionError(f"An embedding dimension of {dim!r} is not possible with {self.model}. `dim` can be {least} to {most}.")
        return int(dim)


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows divided by their L2 norm; a row of zeros stays one."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: NDArray[np.float32] = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return result


def checked_texts(argument: str, texts: Any) -> list[str]:
    """`texts` as a list, if it is one of strings.

    Raises:
        ConfigurationError: it is a single string, or holds something else.
    """
    if isinstance(texts, str | bytes) or not hasattr(texts, "__iter__"):
        raise ConfigurationError(f"`{argument}` must be a list of strings, not a single {type(texts).__name__}. Write [text] for one text.")
    items = list(texts)
    for item in items:
        if not isinstance(item, str):
            raise ConfigurationError(f"`{argument}` must be a list of strings; it holds a {type(item).__name__}.")
    return items
