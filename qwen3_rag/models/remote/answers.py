"""Reads what servers answer, and trusts nothing of it: every text has exactly one finite result, or there is an error.

Knows the shapes of answers; not how they were asked for.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard, TypeVar

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.errors import RemoteResponseError

T = TypeVar("T")

_QUOTED = 200
_FIX = "Check that the address is that of the right API, and the server's version and log."


@dataclass(frozen=True, slots=True)
class Vectors:
    """An embeddings answer: float32 of shape (n, width) as the server computed them; the model and the tokens it reports, if it does."""

    rows: NDArray[np.float32]
    model: str | None
    tokens: int | None


def read_vectors(answer: Any, count: int, url: str) -> Vectors:
    """Vectors in the order of the texts.

    Raises:
        RemoteResponseError: it has not exactly one finite vector of one width for each of `count` texts.
    """
    rows = _ordered(_rows(answer, ("data",), url), count, url, lambda row: _vector(row, url))
    widths = {len(row) for row in rows}
    if len(widths) > 1 or 0 in widths:
        raise _fault(url, f"vectors of {' and '.join(map(str, sorted(widths)))} dimensions for {count} texts", answer)
    vectors = np.stack(rows) if rows else np.empty((0, 0), dtype=np.float32)
    if not np.isfinite(vectors).all() or not np.linalg.norm(vectors, axis=1).all():
        raise _fault(
            url, "a vector that holds NaN, infinity, null, or nothing but zeros", answer, "The server computes wrongly: try float32."
        )
    model = answer.get("model") if isinstance(answer, dict) else None
    return Vectors(vectors, model if isinstance(model, str) and model else None, _tokens(answer))


@dataclass(frozen=True, slots=True)
class Scored:
    """A reranking answer: float32 of shape (n,) as the server computed them, and the tokens it reports, if it does."""

    rows: NDArray[np.float32]
    tokens: int | None


def read_scores(answer: Any, count: int, url: str) -> Scored:
    """Scores in the order of the documents, of any reranking dialect.

    Raises:
        RemoteResponseError: it has not exactly one finite score for each of `count` documents.
    """
    scores = np.array(_ordered(_rows(answer, ("results", "data"), url), count, url, lambda row: _score(row, url)), dtype=np.float64)
    if not np.isfinite(scores).all():
        raise _fault(url, "a score that is NaN or infinite", answer, "The server computes wrongly: try float32.")
    return Scored(scores.astype(np.float32), _tokens(answer))


def _rows(answer: Any, keys: Sequence[str], url: str) -> list[Any]:
    if isinstance(answer, dict):
        answer = next((answer[key] for key in keys if key in answer), answer)
    if not isinstance(answer, list):
        raise _fault(url, f"no list {' or '.join(map(repr, keys))}", answer)
    return answer


def _ordered(rows: Sequence[Any], count: int, url: str, read: Callable[[dict[str, Any]], T]) -> list[T]:
    """What `read` makes of each row, by the rows' `index`."""
    if len(rows) != count:
        raise _fault(url, f"{len(rows)} results for {count} texts", rows)
    found: dict[int, T] = {}
    for row in rows:
        index = row.get("index") if isinstance(row, dict) else None
        if not _is_count(index) or index >= count:
            raise _fault(url, f"a result whose 'index' is {index!r}, for {count} texts", row)
        if index in found:
            raise _fault(url, f"two results for text {index}", rows)
        found[index] = read(row)
    return [found[index] for index in range(count)]


def _tokens(answer: Any) -> int | None:
    usage = answer.get("usage") if isinstance(answer, dict) else None
    tokens = usage.get("prompt_tokens") if isinstance(usage, dict) else None
    return tokens if isinstance(tokens, int) and tokens > 0 else None  # a server that does not count may say 0


def _vector(row: dict[str, Any], url: str) -> NDArray[np.float32]:
    value = row.get("embedding")
    try:
        if isinstance(value, str):
            return np.frombuffer(base64.b64decode(value, validate=True), dtype="<f4").astype(np.float32)
        vector = np.array(value)
    except ValueError as error:  # binascii.Error is one as well
        raise _fault(url, "an 'embedding' that is neither numbers nor base64 of float32", value) from error
    if vector.dtype.kind not in "fiu" or vector.ndim != 1:  # null, text or lists among the numbers give another kind
        raise _fault(url, "an 'embedding' that is no list of numbers", value)
    with np.errstate(over="ignore"):  # too large for float32 becomes infinity, which is refused
        return vector.astype(np.float32)


def _score(row: dict[str, Any], url: str) -> float:
    value = row.get("relevance_score", row.get("score"))
    if not _is_number(value):
        raise _fault(url, "a result without a number as 'relevance_score' or 'score'", row)
    return float(value)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _fault(url: str, what: str, came: Any, fix: str = _FIX) -> RemoteResponseError:
    text = repr(came)
    shown = text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
    return RemoteResponseError(f"The inference server at {url} answered with {what}; nothing of it was used. {fix} It said: {shown}")
