"""Passages to make training data of: the chunks of a knowledge base, or a file of texts; and a fair choice where there are many."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from qwen3_rag.errors import TrainingDataError
from qwen3_rag.passages import Passages
from qwen3_rag.settings import LANGUAGE_CODE
from qwen3_rag.store.language import detect
from qwen3_rag.training.pairs import check_characters, fingerprint
from qwen3_rag.types import Hit, Passage

_TEXTS = ("title", "language", "source")


def read_passages(path: str | Path) -> Iterator[Passage]:
    """Passages of a file with one JSON object a line: `text`, and where known `id` (or `_id`), `title`, `language` and `source`.

    Raises:
        TrainingDataError: naming file, line and fault.
    """
    try:
        with Path(path).open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                if line.strip():
                    yield _parsed(line, number, path)
    except (OSError, UnicodeDecodeError) as error:
        raise TrainingDataError(f"{path} cannot be read: {error}. Give a UTF-8 file with one JSON object a line.") from error


def passages_of(passages: Passages) -> Iterator[Passage]:
    """All chunks and passages of a knowledge base (`kb.passages()`), in the order of their points, with what they were embedded as."""
    return map(passage_of, passages.select())


def passage_of(hit: Hit) -> Passage:
    """What was found, as a passage."""
    return Passage(hit.id, hit.text, document_id=hit.document_id, title=hit.title, headings=hit.headings, source=hit.source)


def language_of(passage: Passage) -> str:
    """The language it says it is in, or else seems to be in, as ISO 639-1."""
    return passage.language or detect(passage.text)


def chosen(passages: Iterable[Passage], least_characters: int = 0, most: int | None = None, seed: int = 0) -> list[Passage]:
    """The passages without short and repeated ones, in order; at most `most` of them, the same for the same seed."""
    seen: set[str] = set()
    found: list[Passage] = []
    for passage in passages:
        mark = fingerprint(passage.embedding_text)
        if len(passage.text.strip()) >= least_characters and mark not in seen:
            seen.add(mark)
            found.append(passage)
    if most is None or len(found) <= most:
        return found
    drawn = sorted(range(len(found)), key=lambda index: hashlib.sha256(f"{seed}:{found[index].embedding_text}".encode()).digest())
    return [found[index] for index in sorted(drawn[:most])]


def _parsed(line: str, number: int, path: str | Path) -> Passage:
    where = f"{path}, line {number}"
    try:
        values: Any = json.loads(line)
    except json.JSONDecodeError as error:
        raise TrainingDataError(f"{where}: not JSON ({error.msg}). Each line is one object with a text.") from None
    if not isinstance(values, dict) or not isinstance(values.get("text"), str) or not values["text"].strip():
        raise TrainingDataError(f"{where}: 'text' is missing or empty. Each line is one object with a text.")
    for name in _TEXTS:
        if not isinstance(values.get(name), str | None):
            raise TrainingDataError(f"{where}: {name!r} is a text, not {type(values[name]).__name__}.")
    if values.get("language") and not LANGUAGE_CODE.fullmatch(values["language"]):
        raise TrainingDataError(f"{where}: {values['language']!r} is no code of a language, such as en or pt-BR.")
    check_characters(line, values, where)
    known: dict[str, Any] = {name: values.get(name) or None for name in _TEXTS}
    return Passage(str(values.get("id") or values.get("_id") or number), values["text"], **known)
