"""JSON over HTTP to one inference server: pooled connections, patience, and errors that quote what the server said. Knows no model."""

from __future__ import annotations

import json
import re
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from typing import Any

import httpx
import stamina
from pydantic import SecretStr

from qwen3_rag.errors import RemoteResponseError, RemoteUnavailableError
from qwen3_rag.models.remote.addresses import shown
from qwen3_rag.models.remote.batching import TooLargeError
from qwen3_rag.models.remote.config import LIMIT, Connection
from qwen3_rag.models.remote.retrying import TRANSIENT_STATUS, backoff

_QUOTED = 300
_BATCH_TOO_LARGE = re.compile(
    r"batch.?size|batch is too|too many (inputs|texts|documents)|number of (inputs|texts|documents)", re.IGNORECASE
)
_KEY = "Set `api_key` (QWEN3_RAG_INFERENCE_API_KEY)"


class PathError(RemoteResponseError):
    """There is nothing at this URL that understands the request: another path or dialect may."""


class Trouble:
    """What the last attempt of a call failed of that is tried again, in words for a user; None where it went well."""

    def __init__(self) -> None:
        self.said: str | None = None


_TROUBLE: ContextVar[Trouble | None] = ContextVar("trouble", default=None)


@contextmanager
def noted_trouble() -> Iterator[Trouble]:
    """What requests of the block, and of tasks that it starts, have failed of; those of other calls are not in it."""
    trouble = Trouble()
    token = _TROUBLE.set(trouble)
    try:
        yield trouble
    finally:
        _TROUBLE.reset(token)


def _note(said: str | None) -> None:
    if (trouble := _TROUBLE.get()) is not None:
        trouble.said = said


class HttpClient:
    """Posts JSON to a server. Used in one event loop only."""

    def __init__(self, connection: Connection, api_key: SecretStr | None) -> None:
        self._retries = connection.retries
        self._key = api_key
        headers = httpx.Headers({"Accept": "application/json", **_authorization(api_key)})
        headers.update(connection.headers)  # names of headers have no case: one that is given replaces ours
        self._client = httpx.AsyncClient(
            headers=headers,
            verify=_certificates(),
            timeout=httpx.Timeout(connection.timeout, pool=None),  # how many requests run at a time is decided elsewhere
            limits=httpx.Limits(max_connections=connection.limits.concurrency, max_keepalive_connections=connection.limits.concurrency),
        )
        self._impatient_until = float("-inf")

    async def post(self, url: httpx.URL, body: dict[str, Any]) -> Any:
        """The decoded answer.

        Raises:
            RemoteUnavailableError: no connection, no answer in time, or an answer that says so, after all attempts.
            TooLargeError: fewer texts may be accepted.
            PathError: 404, 405, 400 or 422: the server has no such endpoint, or it takes another body.
            RemoteResponseError: another refusal, or no JSON.
        """
        response = await self._patient(url, body)
        try:
            return json.loads(self._masked(response.text)) if self._holds_key(response) else response.json()
        except ValueError as error:
            raise RemoteResponseError(
                f"The inference server at {shown(url)} answered with what is no JSON: {self._quote(response)}. Check that the address is "
                "that of the server's API, and that no proxy in between answers in its place."
            ) from error

    async def close(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def _patient(self, url: httpx.URL, body: dict[str, Any]) -> httpx.Response:
        attempts = self._attempts()
        # httpx would write lone NaN into JSON; there are none in what we send.
        content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
        try:
            async for attempt in stamina.retry_context(
                on=backoff(self._retries),
                attempts=attempts,
                timeout=None,
                wait_initial=self._retries.first_wait,
                wait_jitter=self._retries.first_wait,
                wait_max=self._retries.longest_wait,
            ):
                with attempt:
                    response = await self._attempt(url, content)
        except httpx.HTTPError as error:
            explained = self._explained(url, error, attempts)
            if isinstance(explained, RemoteUnavailableError):
                self._impatient_until = time.monotonic() + self._retries.longest_wait
            raise explained from error
        self._impatient_until = float("-inf")
        return response

    async def _attempt(self, url: httpx.URL, content: bytes) -> httpx.Response:
        try:
            response = await self._client.post(url, content=content, headers={"Content-Type": "application/json"})
            _raise_unless_success(response)
        except httpx.HTTPError as error:
            explained = self._explained(url, error, 1)
            _note(str(explained) if isinstance(explained, RemoteUnavailableError) else None)
            raise
        _note(None)
        return response

    def _explained(self, url: httpx.URL, error: httpx.HTTPError, attempts: int) -> Exception:
        if isinstance(error, httpx.HTTPStatusError):
            return self._refused(url, error.response, attempts)
        return self._unreachable(url, error, attempts)

    def _attempts(self) -> int:
        """All attempts; but one only just after they were used up, or a run of many requests would wait for a dead server with each."""
        return 1 if time.monotonic() < self._impatient_until else self._retries.attempts

    def _unreachable(self, url: httpx.URL, error: httpx.HTTPError, attempts: int) -> RemoteUnavailableError:
        reason = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
        return RemoteUnavailableError(
            f"The inference server at {shown(url)} cannot be reached ({reason}; {_tries(attempts)}). Check that it runs and that the "
            "address is right; a slow one needs a longer `timeout` (QWEN3_RAG_INFERENCE_TIMEOUT)."
        )

    def _refused(self, url: httpx.URL, response: httpx.Response, attempts: int) -> Exception:
        said = f"HTTP {response.status_code}: {self._quote(response)}"
        place = f"The inference server at {shown(url)}"
        match response.status_code:
            case status if status in TRANSIENT_STATUS:
                return RemoteUnavailableError(
                    f"{place} is not able to answer ({said}; {_tries(attempts)}). Look into its log; where it is only busy, lower "
                    "`Limits(concurrency=…)` or try again later."
                )
            case 401 | 403:
                return RemoteResponseError(f"{place} refuses this client ({said}). {_KEY}.")
            case 413:
                return TooLargeError(f"{place} finds one text too large ({said}). Lower {LIMIT}.")
            case 400 | 422 if _BATCH_TOO_LARGE.search(response.text):
                return TooLargeError(f"{place} refuses even one text at a time ({said}). Lower {LIMIT}.")
            case 404 | 405 | 400 | 422:
                return PathError(
                    f"{place} does not take this request ({said}). Check the address and the model's name as the server knows it; if the "
                    f"text is too long for it, give its limit as {LIMIT}."
                )
            case status if 300 <= status < 400:
                target = self._masked(response.headers.get("location", "nowhere"))
                return RemoteResponseError(f"{place} sends elsewhere (HTTP {status}, to {target!r}). Give that address.")
            case _:
                return RemoteResponseError(f"{place} refuses the request ({said}).")

    def _holds_key(self, response: httpx.Response) -> bool:
        secret = self._key.get_secret_value() if self._key else ""
        return bool(secret) and secret.encode() in response.content

    def _masked(self, text: str) -> str:
        """What the server says, without our key: what is quoted ends up in logs, and some gateways repeat it."""
        secret = self._key.get_secret_value() if self._key else ""
        return text.replace(secret, str(self._key)) if secret else text

    def _quote(self, response: httpx.Response) -> str:
        """The answer, shortened, without our key."""
        text = self._masked(" ".join(response.text.split()))
        return repr(text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…") if text else "an empty answer"


@cache
def _certificates() -> ssl.SSLContext:
    """Read once: that takes longer than most requests."""
    return httpx.create_ssl_context()


def _raise_unless_success(response: httpx.Response) -> None:
    """Not httpx's `raise_for_status`, whose message shows the whole URL."""
    if not response.is_success:
        raise httpx.HTTPStatusError(f"HTTP {response.status_code}", request=response.request, response=response)


def _authorization(api_key: SecretStr | None) -> dict[str, str]:
    return {} if api_key is None else {"Authorization": f"Bearer {api_key.get_secret_value()}"}


def _tries(attempts: int) -> str:
    return "tried once" if attempts == 1 else f"tried {attempts} times"
