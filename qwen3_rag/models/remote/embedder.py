"""`RemoteEmbedder`: a Qwen3 embedding model behind an OpenAI-compatible `/v1/embeddings`. It knows no HTTP and no template text."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr
from tokenizers import Tokenizer

from qwen3_rag.errors import DimensionError, RemoteResponseError
from qwen3_rag.models.base import ResultArray
from qwen3_rag.models.checkpoint import CONTEXT
from qwen3_rag.models.embedder import MIN_DIM, checked_texts, normalised
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.models.prompts import END_OF_TEXT, TEMPLATE_VERSION
from qwen3_rag.models.remote import canary as check
from qwen3_rag.models.remote.addresses import embeddings_url, shown
from qwen3_rag.models.remote.answers import Vectors, read_vectors
from qwen3_rag.models.remote.config import Connection, Dimensions
from qwen3_rag.models.remote.loop import Once
from qwen3_rag.models.remote.model import RemoteModel
from qwen3_rag.models.remote.texts import Text
from qwen3_rag.settings import Canary
from qwen3_rag.types import EmbeddingSpace

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Facts:
    """What the first answers told: the model's name there, its width, what to append to every text, and whether it counts as we do."""

    model: str
    width: int
    suffix: str
    counts: bool


class RemoteEmbedder(RemoteModel):
    """A Qwen3 embedding model on an inference server. Safe to call from several threads and event loops.

    ```python
    with RemoteEmbedder("Qwen/Qwen3-Embedding-0.6B", "http://localhost:8000") as embedder:
        print(embedder.embed_queries(["how are keys rotated?"]).shape)
    ```

    Args:
        model: its name as the server knows it.
        url: the server, with or without `/v1` or `/v1/embeddings`.
        dim: default dimension; None is the model's own.
        api_key: sent as a bearer token.
        tokenizer: the model's own: hub id, local folder or `Tokenizer`. None is the one that goes by the model's name.
        revision: what the vectors are compared by. Give the revision of the local checkpoint if the server runs the same weights; else
            it is `remote:` and the name that the server reports, which compares with no local model.
        max_tokens: longest text that the server takes, the end-of-text token included.
        dimensions: who shortens vectors.
        canary: what the check at first use does about faults.
        connection: timeouts, headers, limits and retries.

    Raises:
        ConfigurationError: an argument is not possible, or the model is known to be no embedder.
        ModelNotFoundError: the tokenizer is neither here nor on the hub.
    """

    def __init__(
        self,
        model: str,
        url: str,
        *,
        dim: int | None = None,
        api_key: SecretStr | str | None = None,
        tokenizer: Tokenizer | str | Path | None = None,
        revision: str | None = None,
        max_tokens: int = CONTEXT,
        dimensions: Dimensions = Dimensions.LOCAL,
        canary: Canary = Canary.STRICT,
        connection: Connection | None = None,
    ) -> None:
        super().__init__(model, ModelKind.EMBEDDER, api_key, tokenizer, max_tokens, connection)
        self._dim, self._revision = dim, revision
        self._url = embeddings_url(url, "embedder_url")
        self._dimensions = dimensions
        self._judge = check.Judge(shown(self._url), canary)
        self._known = Once(self._ask)

    @property
    def dim(self) -> int:
        """Default dimension of its vectors. Asks the server, if it was not asked before."""
        width = self._facts().width
        return width if self._dim is None else self._checked(self._dim, width)

    @property
    def tokenizer(self) -> Tokenizer:
        """Encodes text as the model will read it: without truncation, padding or special tokens."""
        return self._writer.tokenizer.plain

    @property
    def space(self) -> EmbeddingSpace:
        """What makes its vectors comparable, at its default dim. Asks the server, if it was not asked before."""
        revision = self._revision or f"remote:{self._facts().model}"
        return EmbeddingSpace(self._model, revision, self.dim, TEMPLATE_VERSION)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of `space`."""
        return self.space.fingerprint

    def embed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        """Embed queries, each after its instruction.

        Returns float32 of shape (n, dim), rows L2-normalised, with `truncated` for each text: a vector for every text, or an error.

        Raises:
            ConfigurationError: not a sequence of strings, or an instruction that leaves no room.
            DimensionError: `dim` is more than the server's vectors have, or less than 32.
            RemoteUnavailableError: the server cannot be reached, or is not able to answer.
            RemoteResponseError: it refuses, its answer cannot be used, or it failed the check at first use.
        """
        return self._loop.run(self._queries(texts, instruction, dim))

    def embed_documents(self, texts: Sequence[str], dim: int | None = None) -> ResultArray:
        """Embed documents as they are. Returns and raises as `embed_queries`."""
        return self._loop.run(self._documents(texts, dim))

    async def aembed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        """`embed_queries` without blocking the event loop. Cancelling it cancels its requests."""
        return await self._loop.arun(self._queries(texts, instruction, dim))

    async def aembed_documents(self, texts: Sequence[str], dim: int | None = None) -> ResultArray:
        """`embed_documents` without blocking the event loop. Cancelling it cancels its requests."""
        return await self._loop.arun(self._documents(texts, dim))

    async def _queries(self, texts: Sequence[str], instruction: str | None, dim: int | None) -> ResultArray:
        checked = checked_texts("texts", texts)
        return await self._embed(await asyncio.to_thread(self._writer.queries, checked, instruction, self._max_tokens), dim)

    async def _documents(self, texts: Sequence[str], dim: int | None) -> ResultArray:
        checked = checked_texts("texts", texts)
        return await self._embed(await asyncio.to_thread(self._writer.documents, checked, self._max_tokens), dim)

    async def _embed(self, texts: list[Text], dim: int | None) -> ResultArray:
        facts = await self._known.get()
        asked = dim if dim is not None else self._dim
        width = facts.width if asked is None else self._checked(asked, facts.width)
        result = np.empty((len(texts), width), dtype=np.float32)

        async def send(batch: Sequence[int]) -> NDArray[np.float32]:
            return await self._vectors([texts[index] for index in batch], facts, width)

        _, batcher = self._connected()
        for batch, vectors in await batcher.run([text.tokens + 1 for text in texts], send):
            result[list(batch)] = vectors
        if cut := sum(text.truncated for text in texts):
            logger.warning("%d of %d texts were cut to the %d tokens that %s reads", cut, len(texts), self._max_tokens, self._model)
        return ResultArray.of(result, [text.truncated for text in texts])

    async def _vectors(self, texts: Sequence[Text], facts: Facts, width: int) -> NDArray[np.float32]:
        short = self._dimensions is Dimensions.SERVER and width < facts.width
        answer = await self._request([text.text + facts.suffix for text in texts], width if short else None)
        expected = width if short else facts.width
        if answer.rows.shape[1] != expected:
            raise RemoteResponseError(
                f"The inference server at {self._judge.url} sent vectors of {answer.rows.shape[1]} dimensions where {expected} were "
                "expected; none was used. Check that only one model answers there"
                + (", and that it takes `dimensions`: else use dimensions=Dimensions.LOCAL." if short else ".")
            )
        if facts.counts:
            check.refuse_cut(self._judge.url, sum(text.tokens + 1 for text in texts), answer.tokens)
        return normalised(answer.rows[:, :width])

    async def _request(self, texts: Sequence[str], dimensions: int | None = None) -> Vectors:
        http, _ = self._connected()
        body: dict[str, Any] = {"model": self._model, "input": list(texts), "encoding_format": "float"}
        if dimensions is not None:
            body["dimensions"] = dimensions
        return read_vectors(await http.post(self._url, body), len(texts), self._judge.url)

    def _facts(self) -> Facts:
        return self._loop.run(self._known.get())

    async def _ask(self) -> Facts:
        texts = self._writer.queries([check.QUERY], None, self._max_tokens)
        texts += self._writer.documents([check.RELEVANT, check.IRRELEVANT], self._max_tokens)
        expected = sum(text.tokens + 1 for text in texts)
        answer, suffix = await self._request([text.text for text in texts]), ""
        if answer.tokens == expected - len(texts):
            suffix = END_OF_TEXT
            answer = await self._request([text.text + suffix for text in texts])
        check.check_tokens(self._judge, expected, answer.tokens, suffix)
        check.check_vectors(self._judge, *answer.rows)
        return Facts(answer.model or self._model, answer.rows.shape[1], suffix, counts=answer.tokens == expected)

    def _checked(self, dim: int, width: int) -> int:
        least = min(MIN_DIM, width)
        if not isinstance(dim, int | np.integer) or isinstance(dim, bool) or not least <= dim <= width:
            raise DimensionError(
                f"An embedding dimension of {dim!r} is not possible with {self._model} at {self._judge.url}, whose vectors have {width}. "
                f"`dim` can be {least} to {width}."
            )
        return int(dim)
