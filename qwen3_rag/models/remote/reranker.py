"""`RemoteReranker`: a Qwen3 reranking model behind an HTTP API, whichever of the usual dialects it speaks. It knows no HTTP itself."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np
from numpy.typing import NDArray
from pydantic import SecretStr
from tokenizers import Tokenizer

from qwen3_rag.errors import ConfigurationError, RemoteResponseError
from qwen3_rag.models.base import ResultArray
from qwen3_rag.models.checkpoint import CONTEXT
from qwen3_rag.models.embedder import checked_texts
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.models.remote import canary as check
from qwen3_rag.models.remote import dialects
from qwen3_rag.models.remote.addresses import rerank_urls, shown
from qwen3_rag.models.remote.answers import Scored, read_scores
from qwen3_rag.models.remote.batching import finished
from qwen3_rag.models.remote.config import Connection, Scores, Template
from qwen3_rag.models.remote.http import PathError, noted_trouble
from qwen3_rag.models.remote.loop import Once
from qwen3_rag.models.remote.model import RemoteModel
from qwen3_rag.models.remote.texts import Pairs, Text
from qwen3_rag.settings import Canary, Dialect

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where and how the server is asked, and whether it counts tokens as we do."""

    dialect: Dialect
    url: httpx.URL
    template: Template
    counts: bool = False


class RemoteReranker(RemoteModel):
    """A Qwen3 reranking model on an inference server. Safe to call from several threads and event loops.

    ```python
    with RemoteReranker("Qwen/Qwen3-Reranker-0.6B", "http://localhost:8000") as reranker:
        print(reranker.score("how are keys rotated?", ["Keys are rotated every 90 days.", "Lunch is at noon."]))
    ```

    Args:
        model: its name as the server knows it.
        url: the server, with or without `/v1` or the path of the endpoint.
        dialect: how it is asked; None tries one after the other at first use.
        template: who applies the chat template; None is the client, and the server with DashScope.
        instruction_field: name of the field that carries an instruction to a server that applies the template, such as SGLang's
            `instruct`. DashScope's is known. Without it, an instruction is refused there.
        scores: what the server's scores are.
        api_key: sent as a bearer token.
        tokenizer: the model's own: hub id, local folder or `Tokenizer`. None is the one that goes by the model's name.
        max_tokens: longest prompt that the server takes: template, instruction, query and document.
        canary: what the check at first use does about faults.
        connection: timeouts, headers, limits and retries.

    Raises:
        ConfigurationError: an argument is not possible, or the model is known to be no reranker.
        ModelNotFoundError: the tokenizer is neither here nor on the hub.
    """

    def __init__(
        self,
        model: str,
        url: str,
        *,
        dialect: Dialect | None = None,
        template: Template | None = None,
        instruction_field: str | None = None,
        scores: Scores = Scores.PROBABILITIES,
        api_key: SecretStr | str | None = None,
        tokenizer: Tokenizer | str | Path | None = None,
        max_tokens: int = CONTEXT,
        canary: Canary = Canary.STRICT,
        connection: Connection | None = None,
    ) -> None:
        super().__init__(model, ModelKind.RERANKER, api_key, tokenizer, max_tokens, connection)
        self._scores, self._template, self._instruction_field = scores, template, instruction_field
        self._candidates = rerank_urls(url, dialect, "reranker_url")
        self._canary = canary
        self._endpoint = Once(self._find)

    @property
    def dialect(self) -> Dialect:
        """How the server is asked. Finds out, if that was neither given nor found before."""
        return self._loop.run(self._endpoint.get()).dialect

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None, deadline: float | None = None) -> ResultArray:
        """P(yes) of each document, float32 of shape (n,), with `truncated` for each document.

        With a `deadline`, in seconds from now, requests that have no answer by then are cancelled, and their documents are NaN.

        Raises:
            ConfigurationError: the query is no string, the documents are no sequence of strings, the instruction leaves no room, or the
                server applies the template and there is no field for the instruction.
            RemoteUnavailableError: the server cannot be reached, or is not able to answer.
            RemoteResponseError: it refuses, its answer cannot be used, or it failed the check at first use.
        """
        return self._loop.run(self._score(query, documents, instruction, deadline))

    async def ascore(
        self, query: str, documents: Sequence[str], instruction: str | None = None, deadline: float | None = None
    ) -> ResultArray:
        """`score` without blocking the event loop. Cancelling it cancels its requests."""
        return await self._loop.arun(self._score(query, documents, instruction, deadline))

    async def _score(self, query: str, documents: Sequence[str], instruction: str | None, deadline: float | None) -> ResultArray:
        until = None if deadline is None else time.monotonic() + deadline
        if not isinstance(query, str):
            raise ConfigurationError(f"`query` must be a string, not a {type(query).__name__}: documents are scored against one query.")
        texts = checked_texts("documents", documents)
        scores = np.full(len(texts), np.nan, dtype=np.float32)
        truncated = [False] * len(texts)
        with noted_trouble() as trouble:
            for endpoint in await finished([self._endpoint.get()], _left(until)):  # none, if the server was not found in time
                pairs = await asyncio.to_thread(self._writer.pairs, query, texts, instruction, self._max_tokens, endpoint.template)
                truncated = [document.truncated for document in pairs.documents]
                await self._fill(scores, pairs, endpoint, self._carried(endpoint, instruction), until)
        unscored = int(np.isnan(scores).sum())
        if unscored and trouble.said:  # a deadline that ends while the server fails, and is asked again, would look as if it were only slow
            logger.warning("%d documents were not scored before the deadline: %s", unscored, trouble.said)
        if any(truncated):
            logger.warning(
                "%d of %d pairs were cut to the %d tokens that %s reads", sum(truncated), len(texts), self._max_tokens, self._model
            )
        return ResultArray.of(scores, truncated)

    async def _fill(
        self, scores: NDArray[np.float32], pairs: Pairs, endpoint: Endpoint, carried: dict[str, str], until: float | None
    ) -> None:
        async def send(batch: Sequence[int]) -> NDArray[np.float32]:
            documents = [pairs.documents[index] for index in batch]
            scored = await self._request(endpoint, pairs.query, documents, carried)
            if endpoint.counts:
                check.refuse_cut(shown(endpoint.url), sum(document.tokens for document in documents), scored.tokens)
            return check.probabilities(scored.rows, self._scores, shown(endpoint.url))

        _, batcher = self._connected()
        for batch, part in await batcher.run([document.tokens for document in pairs.documents], send, _left(until)):
            scores[list(batch)] = part

    async def _find(self) -> Endpoint:
        """The first endpoint that answers, having passed the check."""
        refusals: list[PathError] = []
        for dialect, url in self._candidates:
            endpoint = Endpoint(dialect, url, self._template or dialects.default_template(dialect))
            try:
                return await self._tried(endpoint)
            except PathError as error:
                refusals.append(error)
        if len(refusals) == 1:
            raise refusals[0]
        raise RemoteResponseError(
            f"The inference server at {shown(self._candidates[0][1])} takes no reranking request in any known dialect "
            f"({', '.join(Dialect)}). Check that it serves a reranker under the name {self._model!r}, or give the full URL and `dialect` "
            f"(QWEN3_RAG_RERANKER_DIALECT). "
            f"It said: {' | '.join(str(error) for error in refusals)}"
        )

    async def _tried(self, endpoint: Endpoint) -> Endpoint:
        judge = check.Judge(shown(endpoint.url), self._canary)
        pairs = self._writer.pairs(check.QUERY, [check.RELEVANT, check.IRRELEVANT], None, self._max_tokens, endpoint.template)
        scored = await self._request(endpoint, pairs.query, pairs.documents, {})
        relevant, irrelevant = check.probabilities(scored.rows, self._scores, shown(endpoint.url)).tolist()
        expected = sum(document.tokens for document in pairs.documents)
        if endpoint.template is Template.CLIENT:  # a server's own template may differ by a space
            check.check_tokens(judge, expected, scored.tokens)
        check.check_scores(judge, relevant, irrelevant)
        return Endpoint(endpoint.dialect, endpoint.url, endpoint.template, counts=scored.tokens == expected)

    async def _request(self, endpoint: Endpoint, query: str, documents: Sequence[Text], carried: dict[str, str]) -> Scored:
        http, _ = self._connected()
        body = dialects.body(endpoint.dialect, self._model, query, [document.text for document in documents])
        return read_scores(await http.post(endpoint.url, body | carried), len(documents), shown(endpoint.url))

    def _carried(self, endpoint: Endpoint, instruction: str | None) -> dict[str, str]:
        """The instruction as a field of its own, where the server applies the template."""
        if instruction is None or endpoint.template is Template.CLIENT:
            return {}
        field = self._instruction_field or dialects.default_instruction_field(endpoint.dialect)
        if field is None:
            raise ConfigurationError(
                f"The server at {shown(endpoint.url)} applies the reranker's template, and it is not known how it is told an instruction. "
                "Name the field with `instruction_field`, or have the template applied here: template=Template.CLIENT."
            )
        return {field: self._writer.plain(instruction)}


def _left(until: float | None) -> float | None:
    return None if until is None else max(0.0, until - time.monotonic())
