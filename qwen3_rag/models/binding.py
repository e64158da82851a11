"""Which embedder and reranker belong to a knowledge base; loads them on first use and refuses an embedder of another space.

It knows names, spaces and the two protocols. It does not import torch before a model is needed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from typing import Self

from tokenizers import Tokenizer

from qwen3_rag.errors import ConfigurationError, EmbeddingSpaceError, ModelNotFoundError
from qwen3_rag.models.base import EmbedderLike, RerankerLike, ResultArray, embed_documents_async, embed_queries_async
from qwen3_rag.models.checkpoint import CONTEXT
from qwen3_rag.models.registry import default_reranker_for
from qwen3_rag.settings import DEFAULT_EMBEDDER, DEFAULT_RERANKER, RemoteSettings, Settings
from qwen3_rag.types import EmbeddingSpace

OFF = "off"
"""The reranker's name that means none."""


@dataclass(frozen=True, slots=True)
class ModelChoice:
    """What the caller asked for: objects, names or nothing; and how or where models are to be loaded."""

    embedder: EmbedderLike | str | None = None
    reranker: RerankerLike | str | None = None
    dim: int | None = None
    dtype: str = "auto"
    device: str = "auto"
    quantization: str = "none"
    remote: RemoteSettings = field(default_factory=RemoteSettings)

    @classmethod
    def of(cls, settings: Settings, embedder: EmbedderLike | str | None, reranker: RerankerLike | str | None) -> Self:
        """What `settings` say, with an embedder and a reranker before theirs."""
        return cls(
            embedder=embedder if embedder is not None else settings.embedder,
            reranker=reranker if reranker is not None else settings.reranker,
            dim=settings.dim,
            dtype=settings.dtype,
            device=settings.device,
            quantization=settings.model_quantization,
            remote=settings.remote,
        )


@dataclass(frozen=True, slots=True)
class Remembered:
    """What the knowledge base was made with."""

    space: EmbeddingSpace
    reranker: str | None


class ModelBinding:
    """The embedder and the reranker of one knowledge base.

    `look_up` says what it was made with, None while it is new. It is asked until it says so: another instance may make it.

    Raises:
        EmbeddingSpaceError: at once where the choice contradicts what is remembered, on first use where only loading can tell.
    """

    def __init__(self, choice: ModelChoice, look_up: Callable[[], Remembered | None] = lambda: None) -> None:
        self._choice = choice
        self._look_up = look_up
        self._remembered = look_up()
        self._lock = threading.RLock()
        self._embedder: EmbedderLike | None = None
        self._reranker: RerankerLike | None = None
        self._resources = ExitStack()
        try:
            self._check_early()
        except BaseException:
            self.close()
            raise

    @property
    def embedder_name(self) -> str:
        """The embedder's name, loaded or not."""
        chosen = self._choice.embedder
        if isinstance(chosen, str):
            return chosen
        if chosen is not None:
            return chosen.model
        remembered = self._learnt()
        return remembered.space.model if remembered else DEFAULT_EMBEDDER

    @property
    def reranker_name(self) -> str | None:
        """The reranker's name, loaded or not; None where there is none."""
        chosen = self._choice.reranker
        if chosen is not None:
            name = chosen if isinstance(chosen, str) else chosen.model
            return None if name == OFF else name
        remembered = self._learnt()
        usual = remembered.reranker if remembered else default_reranker_for(self.embedder_name)
        return usual or (DEFAULT_RERANKER if self._choice.remote.reranker_url else None)

    def remember(self, remembered: Remembered) -> None:
        """Note what the knowledge base was now made with."""
        self._remembered = remembered

    def embedder(self) -> EmbedderLike:
        """The embedder at the knowledge base's own dim, loaded once.

        Raises:
            EmbeddingSpaceError: it does not make vectors that compare with the stored ones.
            ModelError: it cannot be loaded.
        """
        with self._lock:
            self._learnt()
            if self._embedder is None:
                self._embedder = self._checked(self._load_embedder())
            return self._embedder

    def reranker(self) -> RerankerLike | None:
        """The reranker, loaded once; None where there is none."""
        with self._lock:
            name = self.reranker_name
            if self._reranker is None and name is not None:
                chosen = self._choice.reranker
                self._reranker = chosen if chosen is not None and not isinstance(chosen, str) else self._load_reranker(name)
            return self._reranker

    def close(self) -> None:
        """Close connections to inference servers that were made here. Safe to repeat."""
        self._resources.close()

    def _learnt(self) -> Remembered | None:
        """What the knowledge base was made with; when that becomes known, what was loaded before is chosen and checked anew."""
        with self._lock:
            if self._remembered is None and (found := self._look_up()) is not None:
                self._remembered, self._embedder, self._reranker = found, None, None
                self._check_early()
            return self._remembered

    def _check_early(self) -> None:
        remembered, chosen = self._remembered, self._choice.embedder
        if chosen is not None and not isinstance(chosen, str) and not hasattr(chosen, "space"):
            raise ConfigurationError(
                f"{type(chosen).__name__} cannot be used as embedder: it does not say which space its vectors are of (`space`). Give a "
                "model name, or an object with the methods and attributes of qwen3_rag.models.base.EmbedderLike."
            )
        if remembered is None:
            return
        if self._choice.dim is not None and self._choice.dim != remembered.space.dim:
            raise EmbeddingSpaceError(_refusal(remembered.space, f"{self.embedder_name} with {self._choice.dim} dimensions"))
        if chosen is not None and (not isinstance(chosen, str) or chosen != remembered.space.model):
            self.embedder()

    def _load_embedder(self) -> EmbedderLike:
        chosen = self._choice.embedder
        if chosen is not None and not isinstance(chosen, str):
            return chosen
        dim = self._remembered.space.dim if self._remembered else self._choice.dim
        if self._choice.remote.embedder_url:
            return self._remote_embedder(self._choice.remote.embedder_url, dim)
        from qwen3_rag.models.embedder import Embedder

        return Embedder.load(self.embedder_name, dim=dim, **self._how())

    def _remote_embedder(self, url: str, dim: int | None) -> EmbedderLike:
        from qwen3_rag.models.remote import Connection, RemoteEmbedder

        remote = self._choice.remote
        embedder = RemoteEmbedder(
            self.embedder_name,
            url,
            dim=dim,
            api_key=remote.api_key,
            tokenizer=remote.embedder_tokenizer,
            revision=remote.embedder_revision,
            max_tokens=remote.embedder_max_tokens or CONTEXT,
            canary=remote.canary,
            connection=Connection(timeout=remote.timeout),
        )
        return self._resources.enter_context(embedder)

    def _remote_reranker(self, url: str, name: str) -> RerankerLike:
        from qwen3_rag.models.remote import Connection, RemoteReranker

        remote = self._choice.remote
        reranker = RemoteReranker(
            name,
            url,
            dialect=remote.reranker_dialect,
            api_key=remote.api_key,
            tokenizer=remote.reranker_tokenizer,
            max_tokens=remote.reranker_max_tokens or CONTEXT,
            canary=remote.canary,
            connection=Connection(timeout=remote.timeout),
        )
        return self._resources.enter_context(reranker)

    def _load_reranker(self, name: str) -> RerankerLike:
        if self._choice.remote.reranker_url:
            return self._remote_reranker(self._choice.remote.reranker_url, name)
        from qwen3_rag.models.reranker import Reranker

        try:
            return Reranker.load(name, **self._how())
        except ModelNotFoundError as error:
            raise ModelNotFoundError(f"{error} To search without a reranker: reranker='off', --rerank off, or rerank=False.") from error

    def _how(self) -> dict[str, str]:
        choice = self._choice
        return {"dtype": choice.dtype, "device": choice.device, "quantization": choice.quantization}

    def _checked(self, embedder: EmbedderLike) -> EmbedderLike:
        dim = self._remembered.space.dim if self._remembered else self._choice.dim
        fixed_at_less = self._remembered is not None and dim is not None and embedder.dim < dim  # a vector has prefixes, no continuation
        if dim is not None and embedder.dim != dim and not fixed_at_less:
            embedder = AtDim(embedder, dim)
        if self._remembered and embedder.space.fingerprint != self._remembered.space.fingerprint:
            raise EmbeddingSpaceError(_refusal(self._remembered.space, str(embedder.space)) + self._same_weights_hint())
        return embedder

    def _same_weights_hint(self) -> str:
        if self._remembered is None or not self._choice.remote.embedder_url:
            return ""
        return (
            " If the inference server runs the very same weights, say so: "
            f"embedder_revision={self._remembered.space.revision!r} (QWEN3_RAG_EMBEDDER_REVISION)."
        )


class AtDim:
    """An embedder seen at another default dim.

    Raises:
        DimensionError: the embedder does not offer it, and has a `check_dim` that says so: before a collection is made for it.
    """

    def __init__(self, embedder: EmbedderLike, dim: int) -> None:
        if dim < 1:
            raise ConfigurationError(f"An embedding dimension of {dim} is not possible. Give a positive `dim`.")
        if (check := getattr(embedder, "check_dim", None)) is not None:
            check(dim)
        self._embedder = embedder
        self.dim = dim
        self.model: str = embedder.model
        self.space = replace(embedder.space, dim=dim)

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens, where the embedder can tell."""
        return self._embedder.max_tokens

    @property
    def tokenizer(self) -> Tokenizer:
        """The embedder's own, where it shows one."""
        return self._embedder.tokenizer

    def embed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        """Embed queries at this dim."""
        return self._embedder.embed_queries(texts, instruction, dim or self.dim)

    def embed_documents(self, texts: Sequence[str], dim: int | None = None) -> ResultArray:
        """Embed documents at this dim."""
        return self._embedder.embed_documents(texts, dim or self.dim)

    async def aembed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        """`embed_queries` without blocking the event loop."""
        return await embed_queries_async(self._embedder, texts, instruction, dim or self.dim)

    async def aembed_documents(self, texts: Sequence[str], dim: int | None = None) -> ResultArray:
        """`embed_documents` without blocking the event loop."""
        return await embed_documents_async(self._embedder, texts, dim or self.dim)


def _refusal(stored: EmbeddingSpace, asked: str) -> str:
    return (
        f"This knowledge base holds vectors of {stored}, which do not compare with those of {asked}. "
        "Leave the embedder and dim away to use what it was made with, or embed the documents anew into another knowledge base: "
        "qwen3-rag ingest PATH --kb NEW_DIR --embedder NAME"
    )
