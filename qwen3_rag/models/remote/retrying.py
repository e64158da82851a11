"""Which failures of a request pass by themselves, and how long to wait for that. Knows HTTP, but no model."""

from __future__ import annotations

import time
from collections.abc import Callable
from email.utils import parsedate_to_datetime

import httpx

from qwen3_rag.models.remote.config import Retries

TRANSIENT_STATUS = frozenset({408, 429, 500, 502, 503, 504})
"""Timeout, too many requests, and what servers say while they start, are overloaded or restarted behind a proxy."""


def backoff(retries: Retries) -> Callable[[Exception], bool | float]:
    """For stamina: False is to give up, True to wait exponentially, a number to wait so many seconds, as the server asked."""

    def hook(error: Exception) -> bool | float:
        if isinstance(error, httpx.HTTPStatusError):
            if error.response.status_code not in TRANSIENT_STATUS:
                return False
            asked = retry_after(error.response)
            return True if asked is None else min(asked, retries.longest_wait)
        return isinstance(error, httpx.TransportError) and not isinstance(error, httpx.UnsupportedProtocol | httpx.LocalProtocolError)

    return hook


def retry_after(response: httpx.Response) -> float | None:
    """Seconds that `Retry-After` asks for, given as a number or as a date; None where it is absent or unreadable (RFC 9110, 10.2.3)."""
    value = response.headers.get("retry-after", "").strip()
    if value.isdecimal():
        return float(value)
    try:
        return max(0.0, parsedate_to_datetime(value).timestamp() - time.time())
    except ValueError:
        return None
