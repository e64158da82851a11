"""Jupyter notebooks as Markdown: text cells as they are, code cells fenced, the text of outputs cut to a few lines."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from qwen3_rag.sources.readers.base import Content, RawFile, clean
from qwen3_rag.sources.readers.markdown import markdown_content

_OUTPUT_LINES = 20
_OUTPUT_CHARACTERS = 2000
_ATTACHMENT = re.compile(r"!\[[^\]]*\]\((?:attachment:|data:)[^)]*\)")
_ESCAPES = re.compile("\x1b\\[[0-9;]*[A-Za-z]")


def read_notebook(raw: RawFile) -> Content:
    """A notebook of format 4, or 3 with its worksheets.

    Raises:
        SourceError: it is no notebook.
    """
    try:
        notebook = json.loads(raw.text())
        cells = notebook["cells"] if "cells" in notebook else [cell for sheet in notebook["worksheets"] for cell in sheet["cells"]]
        language = _language(notebook)
        text = clean("\n\n".join(part for cell in cells for part in _cell(cell, language)))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise raw.error("is not a Jupyter notebook that can be read. Open it in Jupyter and save it again, or leave it out") from error
    return markdown_content(text, {})


def _language(notebook: dict[str, Any]) -> str:
    info = (notebook.get("metadata") or {}).get("language_info") or {}
    return str(info.get("name") or "python")


def _cell(cell: dict[str, Any], language: str) -> Iterator[str]:
    source = _joined(cell.get("source", cell.get("input", "")))
    match cell["cell_type"]:
        case "code":
            if source.strip():
                yield _fenced(source.strip("\n"), language)
            for output in cell.get("outputs", []):
                shown = _cut(_output(output))
                if shown:
                    yield _fenced(shown, "text")
        case "heading":
            yield f"{'#' * int(cell.get('level', 1))} {source.strip()}"
        case _:
            yield _ATTACHMENT.sub("", source).strip("\n")


def _output(output: dict[str, Any]) -> str:
    """The text of an output; pictures and HTML have none."""
    if output.get("output_type") in ("error", "pyerr"):
        return f"{output.get('ename', 'Error')}: {output.get('evalue', '')}"
    data = output.get("data", {})
    return _joined(output.get("text") or data.get("text/markdown") or data.get("text/plain", ""))


def _cut(text: str) -> str:
    text = _ESCAPES.sub("", text).strip("\n")
    kept = "\n".join(text.split("\n")[:_OUTPUT_LINES])[:_OUTPUT_CHARACTERS]
    return kept if len(kept) == len(text) else f"{kept}\n…"


def _fenced(text: str, language: str) -> str:
    longest = max((len(run) for run in re.findall("`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"


def _joined(source: Any) -> str:
    return source if isinstance(source, str) else "".join(source)
