"""What goes into a reader and what comes out, and the small text tools that readers share."""

from __future__ import annotations

import datetime
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qwen3_rag.errors import SourceError
from qwen3_rag.sources.decoding import UndecidableError, decode
from qwen3_rag.sources.formats import Format
from qwen3_rag.types import Heading, Syntax

_PROLOG = re.compile(rb"""\s*<\?xml[^>]+encoding\s*=\s*["']([-\w.:]+)""")
_NEWLINES = re.compile("\r\n?")
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class RawFile:
    """A file's bytes before anything is known of them but the format."""

    path: Path
    data: bytes
    format: Format

    def text(self, declared: str | None = None) -> str:
        """The decoded and cleaned text. `declared` is an encoding that the file names itself; where XML begins, the one named there is.

        Raises:
            SourceError: the encoding cannot be told, or it is no text.
        """
        try:
            return clean(decode(self.data, _of_prolog(self.data) or declared))
        except UndecidableError as error:
            raise self.error(str(error)) from error

    def error(self, reason: str) -> SourceError:
        """An error that names the file."""
        return SourceError(f"{self.path} {reason}")


@dataclass(frozen=True, slots=True)
class Content:
    """What a reader found in a file. Heading offsets count characters of `text`."""

    text: str
    title: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    syntax: Syntax = Syntax.TEXT
    code: str | None = None
    headings: tuple[Heading, ...] = ()


def _of_prolog(data: bytes) -> str | None:
    match = _PROLOG.match(data[:512])
    return match[1].decode() if match else None


def clean(text: str) -> str:
    r"""Line ends as `\n`; no byte order mark, NUL or lone surrogate, which neither databases nor tokenizers take."""
    text = _NEWLINES.sub("\n", text.removeprefix("\ufeff")).replace("\x00", "")
    if _SURROGATES.search(text):
        text = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def one_line(text: str) -> str:
    """The text with every run of white space as one space."""
    return " ".join(text.split())


def plain_json(value: Any, budget: int = 10_000) -> Any:
    """Parsed YAML or TOML as plain JSON types; dates as ISO 8601.

    Raises:
        ValueError: more than `budget` values, as self-referring or exponentially repeating YAML has.
    """
    left = budget

    def convert(item: Any, depth: int) -> Any:
        nonlocal left
        left -= 1
        if left < 0 or depth > 50:
            raise ValueError("too many or too deeply nested values")
        if isinstance(item, Mapping):
            return {clean(str(key)): convert(inner, depth + 1) for key, inner in item.items()}
        if isinstance(item, list | tuple | set):
            return [convert(inner, depth + 1) for inner in item]
        if item is None or isinstance(item, bool | int):
            return item
        if isinstance(item, float):
            return item if abs(item) < float("inf") else str(item)
        if isinstance(item, datetime.date | datetime.time):
            return item.isoformat()
        return clean(str(item))

    return convert(value, 0)
