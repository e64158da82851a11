"""Fits a chunk's title and heading path into their share of the budget, so that the text is never crowded out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from qwen3_rag.chunking.counting import Encodings
from qwen3_rag.types import context_line

_ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Context:
    """What stands before a chunk's text, and the tokens it takes with its line end."""

    title: str | None = None
    headings: tuple[str, ...] = ()
    tokens: int = 0


class ContextFitter:
    """Shortens title and heading path until they fit `share` tokens. For one document, since it remembers what it has fitted."""

    def __init__(self, encodings: Encodings, title: str | None, share: int) -> None:
        self._encodings = encodings
        self._title = _flat(title) if title else None
        self._share = share
        self._fitted: dict[tuple[str, ...], Context] = {}

    def fit(self, path: tuple[str, ...]) -> Context:
        """Drop headings from the outermost inwards, then the title, then the end of what is left; the innermost heading goes last."""
        if path not in self._fitted:
            headings = tuple(text for heading in path if (text := _flat(heading)) and text != self._title)
            whole = next(self._within(self._shorter(headings)), None)
            self._fitted[path] = whole or next(self._within(self._clipped(headings)), Context())
        return self._fitted[path]

    def _shorter(self, headings: tuple[str, ...]) -> Iterator[tuple[str | None, tuple[str, ...]]]:
        for first in range(max(1, len(headings))):
            yield self._title, headings[first:]
        if headings:
            yield None, headings[-1:]

    def _clipped(self, headings: tuple[str, ...]) -> Iterator[tuple[str | None, tuple[str, ...]]]:
        """The innermost heading, or else the title, cut after fewer and fewer tokens."""
        text = headings[-1] if headings else self._title or ""
        ends = [end for _, end in self._encodings.tokenizer.encode(text[: self._share * 64], add_special_tokens=False).offsets]
        for kept in range(min(self._share, len(ends)), 0, -1):
            clipped = text[: ends[kept - 1]].rstrip() + _ELLIPSIS
            yield (None, (clipped,)) if headings else (clipped, ())

    def _within(self, candidates: Iterator[tuple[str | None, tuple[str, ...]]]) -> Iterator[Context]:
        for title, headings in candidates:
            line = context_line(title, headings)
            tokens = self._encodings.count([f"{line}\n"])[0] if line else 0
            if tokens <= self._share:
                yield Context(title, headings, tokens)


def _flat(text: str) -> str:
    return " ".join(text.split())
