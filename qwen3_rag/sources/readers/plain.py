"""Plain text and source code: the text as it is."""

from __future__ import annotations

import re

from qwen3_rag.sources.formats import language_of
from qwen3_rag.sources.readers.base import Content, RawFile
from qwen3_rag.types import Syntax

_CODING = re.compile(rb"^[ \t\f]*#.*?coding[:=][ \t]*([-\w.]+)")


def read_text(raw: RawFile) -> Content:
    """Text without markup. A file's name is not taken for a title: it says little and would be embedded with every chunk."""
    return Content(raw.text())


def read_code(raw: RawFile) -> Content:
    """Source code. An encoding named in the first two lines (PEP 263) is believed if it fits."""
    declared = next((match[1].decode() for line in raw.data[:512].splitlines()[:2] if (match := _CODING.match(line))), None)
    return Content(raw.text(declared), syntax=Syntax.CODE, code=language_of(raw.path, raw.data[:512]))
