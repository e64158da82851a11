"""What a user can say about an inference server, as small frozen value objects and enums. Knows no HTTP."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

from pydantic import SecretStr

from qwen3_rag.errors import ConfigurationError

LIMIT = "`max_tokens` (QWEN3_RAG_EMBEDDER_MAX_TOKENS, QWEN3_RAG_RERANKER_MAX_TOKENS)"
"""What errors call the longest text that a server takes."""


class Dimensions(StrEnum):
    """Who shortens vectors to `dim`."""

    LOCAL = "local"
    """We do: any server can be used, and the request has no `dimensions`."""
    SERVER = "server"
    """The request has `dimensions`. Only for servers that take it; it saves bandwidth."""


class Template(StrEnum):
    """Who puts query and document into the reranker's chat template. It must happen exactly once."""

    CLIENT = "client"
    """We do; the server joins both texts and adds nothing."""
    SERVER = "server"
    """The server does, from a template that it was started with; it gets query and document bare."""


class Scores(StrEnum):
    """What a server's scores are."""

    PROBABILITIES = "probabilities"
    """P(yes)."""
    LOGITS = "logits"
    """log P(yes)/P(no); a sigmoid is applied here."""


@dataclass(frozen=True, slots=True)
class Limits:
    """Most texts and tokens of one request, and most requests at the same time.

    A server that finds a request too large gets smaller ones from then on. 32 texts are what Text Embeddings Inference takes unasked.
    """

    texts: int = 32
    tokens: int = 32_768
    concurrency: int = 4

    def __post_init__(self) -> None:
        for name in ("texts", "tokens", "concurrency"):
            if getattr(self, name) < 1:
                raise ConfigurationError(f"Limits({name}={getattr(self, name)!r}) is not possible. Give at least 1.")


@dataclass(frozen=True, slots=True)
class Retries:
    """How often a request is tried, and the seconds between: exponential with jitter, or as the server's `Retry-After` says."""

    attempts: int = 5
    first_wait: float = 0.5
    longest_wait: float = 30.0

    def __post_init__(self) -> None:
        if self.attempts < 1 or self.first_wait < 0 or self.longest_wait < 0:
            raise ConfigurationError(f"{self} is not possible. Give at least one attempt, and waits of 0 seconds or more.")


@dataclass(frozen=True, slots=True)
class Connection:
    """How a server is talked to. `timeout` is in seconds: to connect, and between two parts of an answer."""

    timeout: float = 60.0
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    limits: Limits = field(default_factory=Limits)
    retries: Retries = field(default_factory=Retries)

    def __post_init__(self) -> None:
        if self.timeout <= 0:
            raise ConfigurationError(f"A timeout of {self.timeout!r} seconds is not possible. Give more than 0.")


def secret(api_key: SecretStr | str | None) -> SecretStr | None:
    """The key as a secret.

    Raises:
        ConfigurationError: it holds what no HTTP header can. The message does not show it.
    """
    key = SecretStr(api_key) if isinstance(api_key, str) else api_key
    if key is not None and not (key.get_secret_value().isascii() and key.get_secret_value().isprintable()):
        raise ConfigurationError(
            "The API key holds characters that an HTTP header cannot, such as a line break. Give it exactly as it was issued: `api_key`, "
            "QWEN3_RAG_INFERENCE_API_KEY."
        )
    return key
