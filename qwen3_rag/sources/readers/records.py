"""JSON, JSON Lines and tables as readable text: one `key: value` a line, an empty line between records."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator
from typing import Any

from qwen3_rag.sources.readers.base import Content, RawFile, clean, one_line
from qwen3_rag.types import Syntax

_DELIMITERS = (",", ";", "\t", "|")
_PROBED_ROWS = 20
_SEPARATOR_LINE = re.compile(r"sep=(.)\n", re.IGNORECASE)
_YEAR = re.compile(r"[12]\d{3}")

Rows = list[list[str]]


def read_json(raw: RawFile) -> Content:
    """A JSON value. Elements of a list are records; keys of nested objects are joined by dots."""
    text = raw.text()
    return _content(_records(_load(raw, text, 1)))


def read_json_lines(raw: RawFile) -> Content:
    """One JSON value a line; empty lines are passed over."""
    lines = enumerate(raw.text().split("\n"), start=1)
    return _content(record for number, line in lines if line.strip() for record in _records(_load(raw, line, number)))


def read_table(raw: RawFile) -> Content:
    """CSV or TSV. The delimiter is named by a first line `sep=;`, as spreadsheets write it, or else the one that gives the same number of
    columns most steadily; the first row of all names the columns.
    """
    text = raw.text()
    csv.field_size_limit(max(csv.field_size_limit(), len(text) + 1))
    if told := _SEPARATOR_LINE.match(text):
        text, delimiter = text[told.end() :], told[1]
    elif raw.path.suffix.lower() in (".tsv", ".tab"):
        delimiter = "\t"
    else:
        delimiter = max(_DELIMITERS, key=lambda sign: _steadiness(text, sign))
    try:
        rows = _rows(text, delimiter)
    except csv.Error as error:
        raise raw.error(f"is not a table that can be read: {error}") from error
    names = _header(rows)
    records = rows if names is None else rows[1:]
    return _content(_row(names or [], row) for row in records) if records else Content(text, syntax=Syntax.RECORDS)


def _content(records: Iterator[str]) -> Content:
    return Content(clean("\n\n".join(record for record in records if record)), syntax=Syntax.RECORDS)


def _load(raw: RawFile, text: str, line: int) -> Any:
    try:
        return json.loads(text, parse_int=str, parse_float=str)  # numbers as they are written
    except json.JSONDecodeError as error:
        where = f"line {line + error.lineno - 1}, column {error.colno}"
        raise raw.error(f"is not valid JSON: {error.msg} at {where}. Mend it, or name it .txt to have it taken as text") from error
    except RecursionError as error:
        raise raw.error("is nested too deeply to be read") from error


def _records(value: Any) -> Iterator[str]:
    if isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for item in value:
            yield "\n".join(_lines("", item))
    else:
        yield "\n".join(_lines("", value))


def _lines(path: str, value: Any) -> Iterator[str]:
    """`path: value` for each leaf; a list of plain values is one leaf; objects in a list are parted by an empty line."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from _lines(f"{path}.{key}" if path else str(key), item)
    elif isinstance(value, list) and any(isinstance(item, dict | list) for item in value):
        for number, item in enumerate(value):
            if number:
                yield ""
            yield from _lines(path, item)
    else:
        shown = ", ".join(map(_plain, value)) if isinstance(value, list) else _plain(value)
        if shown:
            yield f"{path}: {shown}" if path else shown


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value is None else str(value).strip()


def _rows(text: str, delimiter: str) -> Rows:
    """Rows that are not empty. Where a quote that is never closed would make one cell of many lines, quotes are text, unless other cells
    need theirs.

    Raises:
        csv.Error: it can be read neither way.
    """

    def read(**options: Any) -> Rows:
        return [row for row in csv.reader(io.StringIO(text), delimiter=delimiter, **options) if any(cell.strip() for cell in row)]

    try:
        return read(strict=True)
    except csv.Error:
        quoted, plain = read(), read(quoting=csv.QUOTE_NONE)
    swallowed = len(plain) > len(quoted) and len(plain[0]) > 1 and _odd(plain) <= _odd(quoted)
    return plain if swallowed else quoted


def _odd(rows: Rows) -> int:
    """Rows of another width than the first."""
    return sum(len(row) != len(rows[0]) for row in rows)


def _steadiness(text: str, delimiter: str) -> tuple[int, int]:
    """How many of the first rows have as many columns as the first, if that is more than one, and how many columns that is."""
    try:
        rows = [row for row, _ in zip(csv.reader(io.StringIO(text), delimiter=delimiter), range(_PROBED_ROWS), strict=False) if row]
    except csv.Error:
        return 0, 0
    width = len(rows[0]) if rows else 0
    return (sum(len(row) == width for row in rows), width) if width > 1 else (0, 0)


def _header(rows: Rows) -> list[str] | None:
    """The first row, if it looks like names: more rows follow, and no cell is a number, said twice or, but for the first, empty.

    The column of row labels has often no name. Numbers may be years, where what is below them is none.
    """
    if len(rows) < 2:
        return None
    names = [one_line(cell) for cell in rows[0]]
    numbers = [column for column, name in enumerate(names) if _is_number(name)]
    named = all(names[1:]) and len(set(names)) == len(names) and len(numbers) < len(names)
    return names if named and (not numbers or _are_years(rows, numbers)) else None


def _are_years(rows: Rows, columns: list[int]) -> bool:
    """Whether the first row has several years in order there, and further rows hold something else below."""
    years = [rows[0][column].strip() for column in columns]
    below = [row[column].strip() for row in rows[1:] for column in columns if column < len(row)]
    ordered = sorted(years) in (years, years[::-1])
    return len(years) > 1 and ordered and all(map(_YEAR.fullmatch, years)) and not all(map(_YEAR.fullmatch, filter(None, below)))


def _is_number(text: str) -> bool:
    try:
        float(text.replace(",", "."))
    except ValueError:
        return False
    return True


def _row(names: list[str], row: list[str]) -> str:
    cells = [(names[column] if column < len(names) else f"column {column + 1}", cell.strip()) for column, cell in enumerate(row)]
    return "\n".join(f"{name}: {cell}" if name else cell for name, cell in cells if cell)
