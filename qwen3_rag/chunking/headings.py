"""Finds the headings of a Markdown text, by CommonMark's own rules, with the character offsets of their sections."""

from __future__ import annotations

import re
from functools import cache
from itertools import accumulate, pairwise

from markdown_it import MarkdownIt
from markdown_it.token import Token

from qwen3_rag.types import Heading

_LINE = re.compile("[^\r\n]*(?:\r\n|\r|\n|\\Z)")
_ANCHOR = re.compile(r"\s*\{[#.:][^{}]*\}\s*\Z")
_MARK = re.compile(r"(?:\A|[\r\n]) {0,3}(?:#{1,6}(?:\s|\Z)|(?:=+|-+)[ \t]*(?:[\r\n]|\Z))")
"""What every ATX heading begins with and what underlines every setext heading. A text without it needs no parser."""


def markdown_headings(text: str) -> tuple[Heading, ...]:
    """Top-level headings, in order. A `#` in a code block is none, nor is a heading inside a list or a quotation.

    The text of a heading is without markup and without a trailing `{#anchor}`; `start` is where its first line begins.
    """
    if not _MARK.search(text):
        return ()
    starts = [0, *accumulate(len(line) for line in _LINE.findall(text))]
    tokens = _blocks().parse(text)
    return tuple(
        Heading(_plain(inline.content), int(opening.tag[1]), starts[opening.map[0]])
        for opening, inline in pairwise(tokens)
        if opening.type == "heading_open" and opening.level == 0 and opening.map
    )


@cache
def _blocks() -> MarkdownIt:
    """A parser of blocks only: what is inside a paragraph takes most of the time and holds no heading."""
    return _ready(MarkdownIt("commonmark").disable("inline"))


@cache
def _inlines() -> MarkdownIt:
    return _ready(MarkdownIt("commonmark"))


def _ready(parser: MarkdownIt) -> MarkdownIt:
    """The parser, with the rules compiled that it compiles when first used: in that moment another thread would find it without rules."""
    parser.parse("# a *b*")
    return parser


def _plain(markup: str) -> str:
    text = "".join(_spoken(token) for root in _inlines().parseInline(_ANCHOR.sub("", markup)) for token in root.children or ())
    return " ".join(text.split())


def _spoken(token: Token) -> str:
    return " " if token.type in ("softbreak", "hardbreak") else "" if token.type == "html_inline" else token.content
