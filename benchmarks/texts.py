"""Real texts from `../shared/data` for the benchmarks: passages of a size, files in a folder, queries."""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import chain, zip_longest
from pathlib import Path

from benchmarks.beir import DATA, load
from benchmarks.harness import require

PASSAGE = 1500
"""Most characters of a passage."""


def long_documents() -> dict[str, str]:
    """The documents of chunk-eval by file name."""
    require(DATA / "chunk-eval")
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((DATA / "chunk-eval" / "corpora").iterdir())}


def passages(limit: int) -> list[str]:
    """Paragraphs of xquad-en and passages of the long documents, taken in turns, at most `limit` of them."""
    require(DATA / "xquad-en", DATA / "chunk-eval")
    paragraphs = [item.whole for item in load(DATA / "xquad-en").documents]
    cut = [passage for text in long_documents().values() for passage in cut_passages(text)]
    mixed = chain.from_iterable(zip_longest(paragraphs, cut))
    return [text for text in mixed if text][:limit]


def cut_passages(text: str, size: int = PASSAGE) -> list[str]:
    """Cuts at the last sentence end or line end in the last third of `size` characters, or at `size`."""
    found = []
    while len(text) > size:
        ends = [match.end() for match in re.finditer(r"[.!?\n]\s", text[:size])]
        end = ends[-1] if ends and ends[-1] > 2 * size // 3 else size
        found.append(text[:end].strip())
        text = text[end:]
    return [passage for passage in (*found, text.strip()) if passage]


def write_files(folder: Path, limit: int | None = None) -> int:
    """xquad-en paragraphs as .txt files and the documents of chunk-eval as .md files; returns how many there are."""
    files = list(_files())[:limit]
    for name, text in files:
        (folder / name).write_text(text, encoding="utf-8")
    return len(files)


def _files() -> Iterator[tuple[str, str]]:
    require(DATA / "xquad-en", DATA / "chunk-eval")
    yield from ((f"paragraph-{item.id}.txt", item.whole) for item in load(DATA / "xquad-en").documents)
    yield from long_documents().items()


def queries(count: int) -> list[str]:
    """The first `count` distinct queries of xquad-en, then of msmarco-mini."""
    require(DATA / "xquad-en", DATA / "msmarco-mini")
    both = chain.from_iterable(load(DATA / name).queries.values() for name in ("xquad-en", "msmarco-mini"))
    return list(dict.fromkeys(both))[:count]
