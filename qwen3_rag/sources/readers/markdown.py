"""Markdown. Front matter in YAML or TOML becomes metadata and title and is no part of the text."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable
from typing import Any

import yaml

from qwen3_rag.chunking.headings import markdown_headings
from qwen3_rag.sources.readers.base import Content, RawFile, one_line, plain_json
from qwen3_rag.types import Heading, Syntax

_FRONT_LIMIT = 65_536
_FRONT = (
    (re.compile(r"---[ \t]*\n(.*?)^(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE), yaml.safe_load),
    (re.compile(r"\+\+\+[ \t]*\n(.*?)^\+\+\+[ \t]*(?:\n|\Z)", re.DOTALL | re.MULTILINE), tomllib.loads),
)


def read_markdown(raw: RawFile) -> Content:
    """The body, its headings and the front matter."""
    metadata, body = split_front_matter(raw.text())
    return markdown_content(body, metadata)


def markdown_content(text: str, metadata: dict[str, Any], title: str | None = None) -> Content:
    """Content whose title is the given one, else that of the metadata, else the first heading if it is of level 1."""
    headings = markdown_headings(text)
    named = metadata.get("title")
    title = title or (one_line(named) if isinstance(named, str) else None) or leading_title(headings)
    return Content(text, title, metadata, Syntax.MARKDOWN, headings=headings)


def leading_title(headings: tuple[Heading, ...]) -> str | None:
    """The first heading, if it is of level 1."""
    return headings[0].text or None if headings and headings[0].level == 1 else None


def split_front_matter(text: str) -> tuple[dict[str, Any], str]:
    """Metadata and body. What only looks like front matter, or is not valid, stays in the body, so nothing is lost.

    What is not valid is kept from its closing line by an empty one, since Markdown would take the line above that for a heading.
    """
    for pattern, parse in _FRONT:
        match = pattern.match(text[:_FRONT_LIMIT])
        if match:
            try:
                metadata = _parse(match[1], parse)
            except (yaml.YAMLError, ValueError, LookupError, AttributeError, RecursionError):  # tomllib's, and what YAML lets through
                return {}, f"{text[: match.end(1)]}\n{text[match.end(1) :]}"
            if metadata is not None:
                return metadata, text[match.end() :].lstrip("\n")
    return {}, text


def _parse(block: str, parse: Callable[[str], Any]) -> dict[str, Any] | None:
    """The mapping; None where it is something else."""
    values = parse(block)
    if values is None:
        return {}
    return plain_json(values) if isinstance(values, dict) else None
