"""The one way to a Qdrant client: a server, the embedded engine or memory, as the settings say.

All three come as a real `qdrant_client.QdrantClient`, so whatever is written for qdrant-client works with each. Knows no schema.
"""

from __future__ import annotations

import functools
import math
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import grpc  # type: ignore[import-untyped]
import stamina
from qdrant_client import QdrantClient
from qdrant_client.client_base import QdrantBase
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse
from qdrant_client.local.qdrant_local import QdrantLocal

from qwen3_rag.errors import ConfigurationError, StoreError, StoreUnavailableError
from qwen3_rag.settings import StoreSettings
from qwen3_rag.store.backend import backend_of
from qwen3_rag.store.edge.client import EdgeClient, as_qdrant_client

MEMORY = ":memory:"

_ATTEMPTS = 4
_FIRST_WAIT_SECONDS = 0.1
_TRANSIENT_STATUS = frozenset({429, 502, 503, 504})
_TRANSIENT_CODES = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.RESOURCE_EXHAUSTED})
_RETRIED = (
    *("get_collections", "get_collection", "collection_exists", "get_aliases", "get_collection_aliases", "update_collection"),
    *("create_payload_index", "delete_payload_index", "upsert", "delete", "set_payload", "overwrite_payload", "delete_payload"),
    *("clear_payload", "update_vectors", "delete_vectors", "batch_update_points", "retrieve", "scroll", "count", "facet"),
    *("query_points", "query_batch_points", "query_points_groups", "search_matrix_pairs", "search_matrix_offsets"),
)
"""What can be repeated without changing its meaning."""

_NOT_REPEATED = ("create_collection", "recreate_collection", "delete_collection", "update_collection_aliases")

_METHODS = tuple(name for name in dir(QdrantBase) if not name.startswith("_") and callable(getattr(QdrantLocal, name, None)))
_LOCK = "_qwen3_rag_lock"
_WRAPPING = threading.Lock()

_Function = TypeVar("_Function", bound=Callable[..., Any])


def open_client(settings: StoreSettings) -> QdrantClient:
    """A client for the server at `settings.url`, else for the folder `settings.path`, or for memory when that is `":memory:"`.

    With a folder, the backend is `EdgeClient`: one process at a time has it, and closing the client gives it back. Requests to a
    server are repeated a few times while it cannot be reached or is overloaded; what then stays an error is a `StoreError`, or
    qdrant-client's `UnexpectedResponse` where the server refused one request over REST.

    Raises:
        ConfigurationError: `url` is no address.
        StoreUnavailableError: the server cannot be reached.
        StoreLockedError: another process has the folder.
        StoreError: the server refuses the client, or the folder cannot be used.
    """
    if settings.url:
        return _open_server(settings, settings.url)
    if settings.path == MEMORY:
        client = QdrantClient(location=MEMORY)
        one_call_at_a_time(client)
        return client
    edge = EdgeClient(settings.path)
    try:
        return as_qdrant_client(edge)
    finally:
        edge.close()  # the client has its own hold on the store


def one_call_at_a_time(client: QdrantBase) -> None:
    """Make qdrant-client's local mode safe for threads; any other backend is already, and left alone.

    It has no lock of its own: of two that write at once one fails, or a point gets the other's vector. The lock is put on the
    backend itself, so that whoever else holds the client waits for it too.
    """
    backend = backend_of(client)
    with _WRAPPING:
        if not isinstance(backend, QdrantLocal) or hasattr(backend, _LOCK):
            return
        setattr(backend, _LOCK, threading.RLock())
        for name in _METHODS:
            setattr(backend, name, _locked(getattr(backend, name), getattr(backend, _LOCK)))


def _locked(method: _Function, lock: AbstractContextManager[Any]) -> _Function:
    @functools.wraps(method)
    def call(*args: Any, **kwargs: Any) -> Any:
        with lock:
            return method(*args, **kwargs)

    return call  # type: ignore[return-value]


def _open_server(settings: StoreSettings, url: str) -> QdrantClient:
    try:
        client = QdrantClient(
            url=url,
            api_key=settings.api_key.get_secret_value() if settings.api_key else None,
            prefer_grpc=settings.prefer_grpc,
            timeout=math.ceil(settings.timeout),
            check_compatibility=False,
        )
    except ValueError as error:
        raise ConfigurationError(
            f"url={settings.place!r} is not the address of a Qdrant server ({error}). Write it like this: "
            "http://localhost:6333 (QWEN3_RAG_URL)."
        ) from None
    _retry(client._client, settings.place, settings.timeout)
    try:
        client.get_collections()
    except BaseException:
        client.close()
        raise
    return client


def _retry(backend: QdrantBase, url: str, seconds: float) -> None:
    """Repeat what may be repeated while it fails for a passing reason, until `seconds` have passed; explain what stays an error."""
    patient = stamina.retry(on=_is_transient, attempts=_ATTEMPTS, wait_initial=_FIRST_WAIT_SECONDS, timeout=seconds)
    for name in _RETRIED:
        setattr(backend, name, _explained(patient(getattr(backend, name)), url))
    for name in _NOT_REPEATED:
        setattr(backend, name, _explained(getattr(backend, name), url))


def _explained(function: _Function, url: str) -> _Function:
    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (ResponseHandlingException, UnexpectedResponse, grpc.RpcError) as error:
            explained = _explain(error, url)
            if explained is None:
                raise
            raise explained from error

    return call  # type: ignore[return-value]


def _explain(error: Exception, url: str) -> StoreError | None:
    """What an error means; None where qdrant-client's own, an answer over REST, says it already."""
    place, reason = f"The Qdrant server at {url}", _reason(error)
    if _is_refusal(error):
        return StoreError(f"{place} refuses this client ({reason}). Set `api_key` (QWEN3_RAG_API_KEY).")
    if _is_late(error):
        return StoreUnavailableError(
            f"{place} did not answer in time ({reason}). Try again when it is less busy, or give it longer: `timeout` in seconds "
            "(QWEN3_RAG_TIMEOUT)."
        )
    if _is_transient(error):
        return StoreUnavailableError(
            f"{place} cannot be reached ({reason}). Check that it runs: curl {url}/readyz. "
            "Without a server, unset `url` (QWEN3_RAG_URL) to use the embedded engine."
        )
    if isinstance(error, grpc.RpcError):
        return StoreError(f"{place} could not do what was asked ({error.code().name}: {reason}). Its log says more.")
    return None


def _is_transient(error: Exception) -> bool:
    if isinstance(error, UnexpectedResponse):
        return error.status_code in _TRANSIENT_STATUS
    if isinstance(error, grpc.RpcError):
        return error.code() in _TRANSIENT_CODES
    return isinstance(error, ResponseHandlingException)


def _is_refusal(error: Exception) -> bool:
    if isinstance(error, UnexpectedResponse):
        return error.status_code in (401, 403)
    return isinstance(error, grpc.RpcError) and error.code() in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.PERMISSION_DENIED)


def _is_late(error: Exception) -> bool:
    return isinstance(error, grpc.RpcError) and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED


def _reason(error: Exception) -> str:
    if isinstance(error, grpc.RpcError):
        return str(error.details())
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
