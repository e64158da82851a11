"""Training pairs: a query, a passage that answers it, passages that do not; one JSON object a line.

    {"query": "how are keys rotated?", "positive": "Keys are rotated every 90 days.", "negatives": ["Lunch is at noon."]}

`instruction`, `task`, `language` and `source` may stand beside them; other keys are kept in `extra`, a teacher's `scores` among them. Files
are read line by line, so they may be larger than the memory. Splits go by document and are the same on every machine. This module knows no
model.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

from qwen3_rag.checks import lone_surrogate
from qwen3_rag.errors import ConfigurationError, TrainingDataError

SCORES = "scores"
"""The key of a line that holds a teacher's logits: the positive's, then those of all its negatives."""


class Task(StrEnum):
    """What kind of likeness a pair teaches (section 3.3 of the paper)."""

    RETRIEVAL = "retrieval"
    BITEXT = "bitext"
    SIMILARITY = "similarity"
    CLASSIFICATION = "classification"


@dataclass(frozen=True, slots=True)
class Pair:
    """One example. `instruction` is what a query of this task is embedded with, None the default; `language` is ISO 639-1."""

    query: str
    positive: str
    negatives: tuple[str, ...] = ()
    instruction: str | None = None
    task: Task = Task.RETRIEVAL
    language: str | None = None
    source: str | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    @property
    def document(self) -> str:
        """What tells the positive's document from others: a hash of its text without case and spacing."""
        return fingerprint(self.positive)

    def to_line(self) -> str:
        """As a line of the file, without its end; what is empty is left out."""
        known = {name: value for name, value in asdict(self).items() if name != "extra" and value}
        return json.dumps({**self.extra, **known}, ensure_ascii=False)


_FIELDS = frozenset(item.name for item in fields(Pair)) - {"extra"}
_TEXTS = ("instruction", "language", "source")


def read_pairs(*paths: str | Path) -> Iterator[Pair]:
    """Pairs of one file or several, in order; empty lines are passed over.

    Raises:
        TrainingDataError: naming file, line and fault.
    """
    for path in map(Path, paths):
        try:
            with path.open(encoding="utf-8") as lines:
                for number, line in enumerate(lines, start=1):
                    if line.strip():
                        yield _parsed(line, f"{path}, line {number}")
        except OSError as error:
            raise TrainingDataError(
                f"{path} cannot be read: {error.strerror or error}. Give a file with one JSON object a line."
            ) from error
        except UnicodeDecodeError as error:
            raise TrainingDataError(f"{path} is not UTF-8 text: {error}. Convert it first.") from error


def check_output(path: str | Path) -> None:
    """Make the folder of a file that is to be written, before anything is done for it.

    Raises:
        ConfigurationError: the file cannot be written there.
    """
    target = Path(path)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        reason = "it is a folder" if target.is_dir() else "" if os.access(target.parent, os.W_OK) else "its folder cannot be written to"
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise ConfigurationError(f"{target.absolute()} cannot be written: {reason}. Name another file.")


def write_pairs(path: str | Path, pairs: Iterable[Pair]) -> int:
    """Write pairs into a file, whole or not at all; returns how many.

    Raises:
        ConfigurationError: there is no place for the file.
    """
    target = Path(path)
    check_output(target)
    partial = target.with_name(f"{target.name}.partial")
    count = 0
    with partial.open("w", encoding="utf-8") as file:
        for pair in pairs:
            file.write(pair.to_line() + "\n")
            count += 1
        file.flush()
        os.fsync(file.fileno())
    partial.replace(target)
    return count


def held_back(share: float, seed: int = 0) -> Callable[[Pair], bool]:
    """Tells which pairs belong to the part that is kept for judging: about `share` of the documents, with all of their queries."""

    def is_held_back(pair: Pair) -> bool:
        digest = hashlib.sha256(f"{seed}:{pair.document}".encode()).digest()
        return int.from_bytes(digest[:8], "big") < share * 2**64

    return is_held_back


def deduplicated(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """The first of each query and positive that differ in more than case and spacing; negatives that are the positive are dropped."""
    seen: set[tuple[str, str]] = set()
    for pair in pairs:
        key = fingerprint(pair.query), pair.document
        if key not in seen:
            seen.add(key)
            yield _without_itself(pair)


def fingerprint(text: str) -> str:
    """32 hexadecimal digits, the same for texts that differ in case and white space only."""
    return hashlib.sha256(" ".join(text.casefold().split()).encode("utf-8", "surrogatepass")).hexdigest()[:32]


def teacher_scores(pair: Pair) -> tuple[float, ...] | None:
    """A teacher's logits of the positive and of every negative, None where the pair has none.

    Raises:
        TrainingDataError: they are not one finite number each.
    """
    scores = pair.extra.get(SCORES)
    if scores is None:
        return None
    wanted = 1 + len(pair.negatives)
    if not isinstance(scores, list) or len(scores) != wanted or not all(map(_is_number, scores)):
        raise TrainingDataError(
            f"{SCORES!r} of the pair with query {pair.query!r} is not a list of {wanted} numbers: one for the positive, then one for each "
            "negative. Correct the line, or take the key out of it."
        )
    return tuple(map(float, scores))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _without_itself(pair: Pair) -> Pair:
    first: dict[str, int] = {}
    for place, text in enumerate(pair.negatives):
        first.setdefault(text, place)
    places = [place for text, place in first.items() if fingerprint(text) != pair.document]
    if len(places) == len(pair.negatives):
        return pair
    return replace(pair, negatives=tuple(pair.negatives[place] for place in places), extra=_with_scores_of(pair, places))


def _with_scores_of(pair: Pair, places: list[int]) -> Mapping[str, Any]:
    """`extra` with the scores of the negatives at these places; what is no list of scores stays as it is."""
    scores = pair.extra.get(SCORES)
    if not isinstance(scores, list) or len(scores) != 1 + len(pair.negatives):
        return pair.extra
    return {**pair.extra, SCORES: [scores[0], *(scores[1 + place] for place in places)]}


def _parsed(line: str, where: str) -> Pair:
    try:
        values = json.loads(line)
    except json.JSONDecodeError as error:
        raise TrainingDataError(f"{where}: not JSON ({error.msg} at character {error.pos}). Each line is one object.") from None
    check_characters(line, values, where)
    if not isinstance(values, dict):
        raise TrainingDataError(f"{where}: a pair is a JSON object with at least query and positive, not {type(values).__name__}.")
    for name in ("query", "positive"):
        if not isinstance(values.get(name), str) or not values[name].strip():
            raise TrainingDataError(f"{where}: {name!r} is missing or empty. A pair has a query and the positive passage that answers it.")
    return Pair(
        query=values["query"],
        positive=values["positive"],
        negatives=_negatives(values.get("negatives"), where),
        task=_task(values.get("task"), where),
        extra={name: value for name, value in values.items() if name not in _FIELDS},
        **{name: _text(values.get(name), name, where) for name in _TEXTS},
    )


def check_characters(line: str, values: Any, where: str) -> None:
    """Refuse half of a character, which JSON can escape and no file or tokenizer takes.

    Raises:
        TrainingDataError: naming `where`, and the escape.
    """
    if "\\ud" not in line.lower():  # the only way for it into a file that is UTF-8
        return
    text = json.dumps(values, ensure_ascii=False)
    if (place := lone_surrogate(text)) is not None:
        raise TrainingDataError(
            f"{where}: \\u{ord(text[place]):04x} is half of a character, as is left where a text is cut in the middle of one. "
            "Take it out, or write the text again from where it came from."
        )


def _negatives(value: Any, where: str) -> tuple[str, ...]:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(text, str) and text.strip() for text in value):
        raise TrainingDataError(f"{where}: 'negatives' is a list of texts, none of them empty.")
    return tuple(value)


def _task(value: Any, where: str) -> Task:
    try:
        return Task(value) if value is not None else Task.RETRIEVAL
    except ValueError:
        raise TrainingDataError(f"{where}: there is no task {value!r}. Known: {', '.join(Task)}.") from None


def _text(value: Any, name: str, where: str) -> str | None:
    if value is not None and not isinstance(value, str):
        raise TrainingDataError(f"{where}: {name!r} is a text, not {type(value).__name__}.")
    return value or None
