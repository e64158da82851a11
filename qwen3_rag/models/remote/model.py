"""What every model on an inference server has: its name there, a tokenizer here, and connections in an event loop of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Self

from pydantic import SecretStr
from tokenizers import Tokenizer

from qwen3_rag.models.checkpoint import CONTEXT
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.models.registry import check_kind
from qwen3_rag.models.remote.batching import Batcher
from qwen3_rag.models.remote.config import Connection, secret
from qwen3_rag.models.remote.http import HttpClient
from qwen3_rag.models.remote.loop import LoopThread
from qwen3_rag.models.remote.texts import Writer, checked_limit, load_tokenizer


class RemoteModel:
    """Holds them, and closes the connections. It asks nothing."""

    def __init__(
        self,
        model: str,
        kind: ModelKind,
        api_key: SecretStr | str | None,
        tokenizer: Tokenizer | str | Path | None,
        max_tokens: int,
        connection: Connection | None,
    ) -> None:
        check_kind(model, kind)
        self._model = model
        self._key = secret(api_key)
        self._connection = connection or Connection()
        self._max_tokens = checked_limit(model, max_tokens, CONTEXT)
        self._writer = Writer(load_tokenizer(tokenizer, model, kind))
        self._loop = LoopThread(type(self).__name__)
        self._server: tuple[HttpClient, Batcher] | None = None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Nothing in it changes, and a model in memory twice helps nobody: what holds it may be copied, and shares it."""
        return self

    @property
    def model(self) -> str:
        """Its name as the server knows it."""
        return self._model

    @property
    def max_tokens(self) -> int:
        """Longest input in tokens: of an embedder with the end-of-text token, of a reranker the whole prompt."""
        return self._max_tokens

    def close(self) -> None:
        """Close the connections. Safe to repeat."""
        self._loop.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _connected(self) -> tuple[HttpClient, Batcher]:
        """Made in the loop that uses them."""
        if self._server is None:
            http = HttpClient(self._connection, self._key)
            self._loop.on_close(http.close)
            self._server = http, Batcher(self._connection.limits)
        return self._server
