"""From what a user writes as an address to the URLs that are asked. Knows paths and dialects, and sends nothing."""

from __future__ import annotations

import httpx

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.settings import Dialect, without_user

_EMBEDDINGS = "/embeddings"
_RERANKS = {
    "/reranks": (Dialect.DASHSCOPE,),
    "/rerank": (Dialect.RERANK, Dialect.TEI),
    "/score": (Dialect.SCORE,),
}


def embeddings_url(address: str, setting: str) -> httpx.URL:
    """The embeddings endpoint of a server: `http://host:8000`, `http://host:8000/v1` and the full URL all mean the same."""
    url = _checked(address, setting)
    if url.path.endswith(_EMBEDDINGS):
        return url
    return _under(url, "/v1", _EMBEDDINGS)


def rerank_urls(address: str, dialect: Dialect | None, setting: str) -> list[tuple[Dialect, httpx.URL]]:
    """The reranking endpoints that a server may have, in the order to try them; one of them where that is certain."""
    url = _checked(address, setting)
    for ending, dialects in _RERANKS.items():
        if url.path.endswith(ending):
            return [(each, url) for each in ([dialect] if dialect else dialects)]
    candidates = [
        (Dialect.RERANK, _under(url, "/v1", "/rerank")),
        (Dialect.TEI, _under(url, "", "/rerank")),
        (Dialect.SCORE, _under(url, "", "/score")),
        (Dialect.DASHSCOPE, _under(url, "/v1", "/reranks")),
    ]
    return [(each, target) for each, target in candidates if dialect in (None, each)]


def shown(url: httpx.URL) -> str:
    """The URL without what may be secret in it: user, password and query."""
    return str(url.copy_with(userinfo=b"", query=None, fragment=None))


def _under(url: httpx.URL, version: str, path: str) -> httpx.URL:
    base = url.path.rstrip("/")
    # A version that the user wrote, `/v1` or another, is kept where the endpoint has one and left away where it has none.
    head, _, last = base.rpartition("/")
    if last.startswith("v") and last[1:].isdigit():
        base, version = head, f"/{last}" if version else ""
    return url.copy_with(path=f"{base}{version}{path}")


def _checked(address: str, setting: str) -> httpx.URL:
    """The address as a URL, without a slash at its end."""
    try:
        url = httpx.URL(address)
    except (httpx.InvalidURL, TypeError):
        url = httpx.URL("")
    if url.scheme not in ("http", "https") or not url.host:
        raise ConfigurationError(
            f"{setting}={without_user(str(address))!r} is not the address of an inference server. "
            f"Write it like this: http://localhost:8000 (QWEN3_RAG_{setting.upper()})."
        )
    return url.copy_with(path=url.path.rstrip("/") or "/")
