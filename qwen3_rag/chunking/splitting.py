"""Cuts a stretch of text into spans that fit a budget, at the best boundaries that its syntax offers. It knows no headings or documents."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any, NamedTuple

from semantic_text_splitter import CodeSplitter, MarkdownSplitter, TextSplitter

from qwen3_rag.types import Syntax

_GRAMMARS = {
    "python": ("tree_sitter_python", "language"),
    "javascript": ("tree_sitter_javascript", "language"),
    "typescript": ("tree_sitter_typescript", "language_typescript"),
    "tsx": ("tree_sitter_typescript", "language_tsx"),
    "java": ("tree_sitter_java", "language"),
    "go": ("tree_sitter_go", "language"),
    "rust": ("tree_sitter_rust", "language"),
    "c": ("tree_sitter_c", "language"),
    "cpp": ("tree_sitter_cpp", "language"),
    "bash": ("tree_sitter_bash", "language"),
    "ruby": ("tree_sitter_ruby", "language"),
}
"""Programming languages that are split along their syntax tree; others are split as text, at empty lines and line ends first."""

_BLOCK_CHARACTERS_PER_TOKEN = 32
_LEAST_BLOCK = 4096

Sizer = Callable[[str], int]


class Span(NamedTuple):
    """`[start, end)` in characters (Unicode code points, as Python counts them)."""

    start: int
    end: int


def split(text: str, span: Span, syntax: Syntax, code: str | None, size: Sizer, capacity: int, overlap: int = 0) -> list[Span]:
    """Spans of at most `capacity` by `size`, in order, that cover all of `text[span]` but white space.

    The splitter's work grows with the square of a stretch without boundaries, so it gets the text in blocks. The last span of a block
    is thrown away and begins the next one: no boundary is drawn because a block ended there.
    """
    splitter = _splitter(syntax, code, size, capacity, min(overlap, capacity // 2))
    block = max(_LEAST_BLOCK, capacity * _BLOCK_CHARACTERS_PER_TOKEN)
    spans: list[Span] = []
    start = span.start
    while start < span.end:
        end = min(start + block, span.end)
        found = list(_spans(splitter, text[start:end], start))
        if end == span.end:
            return spans + found
        if len(found) > 1:
            found, start = found[:-1], found[-1].start
        else:
            start = end
        spans += found
    return spans


def _spans(splitter: Any, text: str, offset: int) -> Iterator[Span]:
    for start, chunk in splitter.chunk_indices(text):
        if not chunk.isspace():
            yield Span(offset + start, offset + start + len(chunk))


def _splitter(syntax: Syntax, code: str | None, size: Sizer, capacity: int, overlap: int) -> Any:
    if syntax is Syntax.MARKDOWN:
        return MarkdownSplitter.from_callback(size, capacity, overlap)
    if syntax is Syntax.CODE and code in _GRAMMARS:
        return CodeSplitter.from_callback(_grammar(code), size, capacity, overlap)
    return TextSplitter.from_callback(size, capacity, overlap)


@cache
def _grammar(code: str) -> object:
    module, function = _GRAMMARS[code]
    return getattr(importlib.import_module(module), function)()
