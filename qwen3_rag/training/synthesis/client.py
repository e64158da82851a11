"""Chat completions of any OpenAI-compatible server, through the `openai` package, which sends again what may pass. Knows no prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from qwen3_rag.errors import (
    ConfigurationError,
    MissingExtraError,
    RemoteError,
    RemoteResponseError,
    RemoteUnavailableError,
    RequestRefusedError,
)
from qwen3_rag.training.synthesis.journal import Completion
from qwen3_rag.training.synthesis.settings import AnswerFormat, ServerSettings

if TYPE_CHECKING:
    from openai.types.chat import ChatCompletion

NO_KEY = "none"
"""What servers that want no key are sent: the client insists on one."""
_QUOTED = 300
_TRANSIENT = frozenset({408, 409, 429})
_OF_THE_REQUEST = frozenset({400, 413, 422})
"""What servers say of a prompt that is too long, or that they do not want to answer."""

Messages = Sequence[Mapping[str, str]]


def require_openai() -> None:
    """The door of this room.

    Raises:
        MissingExtraError: the `openai` package is not installed.
    """
    if find_spec("openai") is None:
        raise MissingExtraError("Asking a language model for synthetic pairs", "train")


class ChatClient:
    """Asks one server. Used in one event loop only.

    Args:
        server: where, and how patiently.
        api_key: what the server wants to see; None for one that wants nothing.

    Raises:
        MissingExtraError: the `openai` package is not installed.
        ConfigurationError: no model was named.
    """

    def __init__(self, server: ServerSettings, api_key: str | None = None) -> None:
        require_openai()
        from openai import AsyncOpenAI

        if not server.model:
            raise ConfigurationError(f"Say which model of {server.url} to ask: `model` under [server], or --model.")
        self._server = server
        self._client = AsyncOpenAI(base_url=server.url, api_key=api_key or NO_KEY, timeout=server.timeout, max_retries=server.retries)

    async def complete(self, messages: Messages, schema: Mapping[str, Any], seed: int) -> Completion:
        """One answer.

        Raises:
            RemoteUnavailableError: no answer, however often it was asked.
            RequestRefusedError: the server refuses this prompt, which need not mean that it refuses others.
            RemoteResponseError: the server refuses, or answers with what is no chat completion.
        """
        from openai import OpenAIError

        asked: Any = list(messages)
        try:
            answer = await self._client.chat.completions.create(
                model=self._server.model,
                messages=asked,
                temperature=self._server.temperature,
                max_tokens=self._server.most_tokens,
                seed=seed,
                extra_body={**self._format(schema), **self._server.extra},
            )
        except (OpenAIError, ValueError) as error:  # the package lets through what a body that is no JSON raises
            raise self._failed(error) from error
        return _completion(answer, self._server.url)

    async def close(self) -> None:
        """Close the connections."""
        await self._client.close()

    def _format(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        match self._server.answer_format:
            case AnswerFormat.TEXT:
                return {}
            case AnswerFormat.JSON_OBJECT:
                return {"response_format": {"type": "json_object"}}
            case AnswerFormat.JSON_OBJECT_SCHEMA:
                return {"response_format": {"type": "json_object", "schema": schema}}
            case AnswerFormat.JSON_SCHEMA:
                return {"response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": schema, "strict": True}}}

    def _failed(self, error: Exception) -> RemoteError:
        from openai import APIConnectionError, APIStatusError

        place = f"The language model's server at {self._server.url}"
        kept = "Answers so far are kept; the same command again goes on from there."
        if isinstance(error, APIStatusError):
            said = f"HTTP {error.status_code}: {_quoted(error.response.text)}"
            if error.status_code in _TRANSIENT or error.status_code >= 500:
                return RemoteUnavailableError(
                    f"{place} is not able to answer ({said}; sent {self._server.retries + 1} times). Where it is only busy, lower "
                    f"`concurrency`. {kept}"
                )
            hint = {401: " Give its key as OPENAI_API_KEY.", 403: " Give its key as OPENAI_API_KEY."}.get(
                error.status_code, " Check `url` (it ends in /v1), `model`, `answer_format` and `extra`."
            )
            message = f"{place} refuses the request ({said}).{hint} {kept}"
            return RequestRefusedError(message, reason=said) if error.status_code in _OF_THE_REQUEST else RemoteResponseError(message)
        if isinstance(error, APIConnectionError):
            reason = str(error.__cause__ or error) or type(error).__name__
            return RemoteUnavailableError(
                f"{place} cannot be reached, or takes more than {self._server.timeout:g} s ({reason}; sent {self._server.retries + 1} "
                f"times). Check that it runs, and `url`; a slow one needs a longer `timeout`. {kept}"
            )
        return RemoteResponseError(f"{place} answers with what cannot be used: {_quoted(str(error))}. Check `url`: it ends in /v1. {kept}")


def _completion(answer: ChatCompletion, url: str) -> Completion:
    if not getattr(answer, "choices", None):
        raise RemoteResponseError(
            f"The language model's server at {url} answers with what is no chat completion: {_quoted(str(answer))}. Check `url`: it ends "
            "in /v1."
        )
    choice, usage = answer.choices[0], answer.usage
    message = getattr(choice, "message", None)
    text: object = getattr(message, "content", None)
    if message is None or not isinstance(text, str | None):
        raise RemoteResponseError(
            f"The language model's server at {url} answers with a choice whose message has no text: {_quoted(str(choice))}. Check that it "
            "serves chat completions."
        )
    return Completion.of(
        text, choice.finish_reason or "stop", getattr(usage, "prompt_tokens", None), getattr(usage, "completion_tokens", None)
    )


def _quoted(text: str) -> str:
    line = " ".join(text.split())
    return repr(line if len(line) <= _QUOTED else f"{line[:_QUOTED]}…") if line else "an empty answer"
