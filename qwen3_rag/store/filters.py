"""Plain Python filters → Qdrant filters. It knows payload keys, not collections.

A filter is a mapping from keys to what their values must be; all keys must hold.

    {"team": "search"}                              equals; where the value is an array, holds it
    {"team": ["search", "ads"]}                     any of these
    {"year": {"$gte": 2020, "$lt": 2024}}           operators, all of which must hold
    {"reviewed": None}                              absent, null or an empty array
    {"author": {"name": "Ada"}}                     nested, the same as {"author.name": "Ada"}
    {"$or": [{...}, {...}], "$not": {...}}          combinations

`document_id`, `source`, `tenant`, `title`, `language`, `headings` and `ordinal` are the passage's own fields; every other key is the user's
metadata, and `metadata.source` says so where both exist. Numbers compare as numbers (3 equals 3.0), dates and datetimes as points in
time (a date means that whole day, UTC). `$ne`, `$nin` and `$not` also hold for passages that lack the key. `$contains` looks for text
inside text, case-sensitively; whether an array holds a value is what plain equality asks.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from enum import StrEnum
from typing import Any, cast

from qdrant_client import models

from qwen3_rag.checks import lone_surrogate
from qwen3_rag.errors import FilterError
from qwen3_rag.store.points import METADATA, OWN_FIELDS

Filters = models.Filter | Mapping[str, Any] | None
"""What a search takes as its filters."""


class Operator(StrEnum):
    """What may stand in a mapping of operators."""

    EQ = "$eq"
    NE = "$ne"
    GT = "$gt"
    GTE = "$gte"
    LT = "$lt"
    LTE = "$lte"
    IN = "$in"
    NIN = "$nin"
    EXISTS = "$exists"
    CONTAINS = "$contains"


class Combinator(StrEnum):
    """What combines whole filters."""

    AND = "$and"
    OR = "$or"
    NOT = "$not"


_RANGES = {Operator.GT: "gt", Operator.GTE: "gte", Operator.LT: "lt", Operator.LTE: "lte"}
_EXACT_FLOAT = 2**53
"""Past this, a range of floats no longer tells neighbouring integers apart."""
_LARGEST_INTEGER = 2**63 - 1
"""Past this, integers are stored as floats."""

_SEGMENT = re.compile(r"""("[^"]+"|[^".\[\]]+)((?:\[\d*\])*)(?:\.|$)""")
_PLAIN_SEGMENT = re.compile(r"[A-Za-z0-9_-]+")
_OPTION = re.compile(r"(?P<key>[^=!<>]+?)\s*(?P<operator>!=|>=|<=|=|>|<)\s*(?P<value>.*)", re.DOTALL)
_OPTION_OPERATORS = {"!=": Operator.NIN, ">=": Operator.GTE, "<=": Operator.LTE, ">": Operator.GT, "<": Operator.LT}


def build_filter(filters: Filters) -> models.Filter | None:
    """The Qdrant filter that a plain filter means. A Qdrant filter passes through; None and `{}` mean no filter.

    Raises:
        FilterError: naming the key and what is known, for anything that cannot be expressed.
    """
    if filters is None or isinstance(filters, models.Filter):
        return filters
    if not isinstance(filters, Mapping):
        raise FilterError(f"A filter is a mapping such as {{'team': 'search'}} or a qdrant Filter, not {type(filters).__name__}.")
    conditions = _conditions(filters, prefix="")
    return models.Filter(must=conditions) if conditions else None


def restricts_nothing(condition: models.Condition) -> bool:
    """Whether every point meets this, since its lists came out empty, as in `{"$and": []}` and `{"team": {"$nin": []}}`: such a list asks
    for no deletion.
    """
    if not isinstance(condition, models.Filter) or condition.min_should:
        return False
    chosen = _members(condition.should)
    return (
        all(map(restricts_nothing, _members(condition.must)))
        and (not chosen or any(map(restricts_nothing, chosen)))
        and all(map(_met_by_nothing, _members(condition.must_not)))
    )


def named_points(condition: models.Condition | None) -> int:
    """How many ids a filter carries along."""
    match condition:
        case models.HasIdCondition(has_id=ids):
            return len(ids)
        case models.Filter():
            groups = (condition.must, condition.should, condition.must_not)
            return sum(named_points(member) for group in groups for member in _members(group))
        case _:
            return 0


def _met_by_nothing(condition: models.Condition) -> bool:
    """Whether no point can meet this, since its lists came out empty."""
    match condition:
        case models.HasIdCondition(has_id=ids):
            return not ids
        case models.FieldCondition(match=models.MatchAny(any=values)):
            return not values
        case models.Filter():
            chosen = _members(condition.should)
            return (
                any(map(_met_by_nothing, _members(condition.must)))
                or (bool(chosen) and all(map(_met_by_nothing, chosen)))
                or any(map(restricts_nothing, _members(condition.must_not)))
            )
        case _:
            return False


def _members(group: Sequence[models.Condition] | models.Condition | None) -> Sequence[models.Condition]:
    """A group of a Qdrant filter, which may be a list, a single condition or none."""
    if group is None:
        return []
    return group if isinstance(group, list) else [cast("models.Condition", group)]


def parse_filter_options(options: Iterable[str]) -> dict[str, Any]:
    """`["team=search", "year>=2020"]` → a plain filter. Repeating `key=` means any of the values.

    A value that reads as a number or a boolean matches both as that and as text, since a command line cannot show the difference.

    Raises:
        FilterError: for an option without a key or a comparison.
    """
    parsed: dict[str, Any] = {}
    for option in options:
        match = _OPTION.fullmatch(option.strip())
        if match is None:
            raise FilterError(f"Filter {option!r} is not understood. Write KEY=VALUE, or KEY followed by !=, >=, <=, > or < and a value.")
        operator = _OPTION_OPERATORS.get(match["operator"], Operator.IN)
        operators = parsed.setdefault(match["key"], {})
        if operator in _RANGES:
            operators[operator.value] = _literal(match["value"])
        else:
            operators.setdefault(operator.value, []).extend(_readings(match["value"]))
    return parsed


def _readings(text: str) -> list[Any]:
    value = _literal(text)
    return [text] if isinstance(value, str) else [value, text]


def _literal(text: str) -> Any:
    """A number or a boolean where the text is one, the text otherwise."""
    lowered = text.strip().lower()
    if re.fullmatch(r"true|false|-?\d+(\.\d+)?([e][+-]?\d+)?", lowered) is None:
        return text
    try:
        return json.loads(lowered)
    except json.JSONDecodeError:  # such as 007
        return text


def _conditions(filters: Mapping[str, Any], prefix: str) -> list[models.Condition]:
    conditions: list[models.Condition] = []
    for key, value in filters.items():
        if not isinstance(key, str) or not key:
            raise FilterError(f"A filter's keys are text, not {key!r}.")
        if key.startswith("$"):
            conditions.append(_combined(key, value, prefix))
        else:
            conditions.extend(_field(f"{prefix}{key}", value))
    return conditions


def _combined(name: str, value: Any, prefix: str) -> models.Condition:
    if name not in list(Combinator):
        raise _unknown(name, prefix)
    if name == Combinator.NOT:
        return models.Filter(must_not=[_part(name, value, prefix)])
    if not isinstance(value, (list, tuple)):
        raise FilterError(f"{name} takes a list of filters, not {type(value).__name__}.")
    parts: list[models.Condition] = [_part(name, part, prefix) for part in value]
    if name == Combinator.AND:
        return models.Filter(must=parts)
    return models.Filter(should=parts) if parts else _nothing()


def _part(name: str, value: Any, prefix: str) -> models.Condition:
    if isinstance(value, models.Filter):
        return value
    if not isinstance(value, Mapping):
        raise FilterError(f"{name} combines filters such as {{'team': 'search'}}, not {value!r}.")
    return models.Filter(must=_conditions(value, prefix))


def _field(key: str, value: Any) -> list[models.Condition]:
    """All conditions on one key."""
    if isinstance(value, Mapping):
        operators = [name for name in value if isinstance(name, str) and name.startswith("$")]
        if not value or len(operators) not in (0, len(value)):
            raise FilterError(f"Filter on {key!r}: give operators only or nested keys only, not {dict(value)!r}.")
        if not operators:
            return _conditions(value, prefix=f"{key}.")
        return [_OPERATORS[_operator(name, key)](payload_path(key), _operator(name, key), operand) for name, operand in value.items()]
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_any_of(payload_path(key), Operator.IN, value)]
    return [_equals(payload_path(key), value)]


def _operator(name: str, key: str) -> Operator:
    try:
        return Operator(name)
    except ValueError:
        raise _unknown(name, key) from None


def _unknown(name: str, where: str) -> FilterError:
    known = ", ".join([*Operator, *Combinator])
    return FilterError(f"Filter operator {name!r}{f' on {where!r}' if where else ''} is not known. Known: {known}.")


def payload_path(key: str) -> str:
    """Where a filter's key is in the payload, as a Qdrant JSON path: `team` → `metadata.team`, `document_id` → itself."""
    if key in OWN_FIELDS:
        return key
    segments, end = [], 0
    for match in _SEGMENT.finditer(key):
        if match.start() != end:
            break
        name, brackets = match.groups()
        segments.append((name if _PLAIN_SEGMENT.fullmatch(name) or name.startswith('"') else f'"{name}"') + brackets)
        end = match.end()
    if end != len(key) or key.endswith("."):
        raise FilterError(f'Filter key {key!r} is not a path such as author.name, tags[0] or "odd key".name.')
    return ".".join(segments if segments[0] == METADATA and len(segments) > 1 else [METADATA, *segments])


def _equals(path: str, value: Any) -> models.Condition:
    if value is None:
        return models.IsEmptyCondition(is_empty=models.PayloadField(key=path))
    if isinstance(value, str):
        value = _unicode(path, value)
    if isinstance(value, (bool, str)):
        return models.FieldCondition(key=path, match=models.MatchValue(value=value))
    if isinstance(value, int) and _EXACT_FLOAT < abs(value) <= _LARGEST_INTEGER:
        return models.FieldCondition(key=path, match=models.MatchValue(value=value))
    if isinstance(value, (int, float)):
        return _range(path, gte=_finite(path, value), lte=value)
    if isinstance(value, datetime):
        return _time(path, gte=value, lte=value)
    if isinstance(value, date):
        return _time(path, gte=_midnight(value), lt=_midnight(value + timedelta(days=1)))
    raise FilterError(f"Filter on {path!r}: cannot compare with {type(value).__name__} ({value!r}); give text, numbers, booleans or dates.")


def _any_of(path: str, operator: Operator, values: Any) -> models.Condition:
    if isinstance(values, (str, bytes, Mapping)) or not isinstance(values, Iterable):
        raise FilterError(f"Filter on {path!r}: {operator} takes a list, not {values!r}.")
    values = list(values)
    texts = [_unicode(path, value) for value in values if isinstance(value, str)]
    conditions = [_equals(path, value) for value in values if not isinstance(value, str)]
    if texts:
        conditions.append(models.FieldCondition(key=path, match=models.MatchAny(any=texts)))
    match conditions:
        case []:
            return _nothing()
        case [condition]:
            return condition
        case _:
            return models.Filter(should=conditions)


def _none_of(path: str, operator: Operator, values: Any) -> models.Condition:
    return models.Filter(must_not=[_any_of(path, operator, values)])


def _equal(path: str, operator: Operator, value: Any) -> models.Condition:
    if isinstance(value, (list, tuple, set, frozenset)):
        raise FilterError(f"Filter on {path!r}: {operator} takes one value; for any of several write $in or $nin.")
    condition = _equals(path, value)
    return condition if operator is Operator.EQ else models.Filter(must_not=[condition])


def _compare(path: str, operator: Operator, value: Any) -> models.Condition:
    bound = _RANGES[operator]
    if isinstance(value, str):
        value = _point_in_time(path, operator, value)
    if isinstance(value, datetime):
        return _time(path, **{bound: value})
    if isinstance(value, date):
        whole_day = operator in (Operator.GT, Operator.LTE)
        edge = _midnight(value + timedelta(days=1) if whole_day else value)
        return _time(path, **{"gte" if operator in (Operator.GT, Operator.GTE) else "lt": edge})
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise FilterError(f"Filter on {path!r}: {operator} compares numbers and dates, not {value!r}.")
    return _range(path, **{bound: _finite(path, value)})


def _exists(path: str, operator: Operator, value: Any) -> models.Condition:
    if not isinstance(value, bool):
        raise FilterError(f"Filter on {path!r}: {operator} takes true or false, not {value!r}.")
    empty = models.IsEmptyCondition(is_empty=models.PayloadField(key=path))
    return models.Filter(must_not=[empty]) if value else empty


def _contains(path: str, operator: Operator, value: Any) -> models.Condition:
    if not isinstance(value, str) or not value:
        raise FilterError(f"Filter on {path!r}: {operator} looks for text inside text, not {value!r}; for a member of an array write $eq.")
    return models.FieldCondition(key=path, match=models.MatchSubstring(substring=_unicode(path, value)))


_OPERATORS: dict[Operator, Callable[[str, Operator, Any], models.Condition]] = {
    Operator.EQ: _equal,
    Operator.NE: _equal,
    Operator.GT: _compare,
    Operator.GTE: _compare,
    Operator.LT: _compare,
    Operator.LTE: _compare,
    Operator.IN: _any_of,
    Operator.NIN: _none_of,
    Operator.EXISTS: _exists,
    Operator.CONTAINS: _contains,
}


def _range(path: str, **bounds: float) -> models.FieldCondition:
    return models.FieldCondition(key=path, range=models.Range(**bounds))


def _time(path: str, **bounds: datetime) -> models.FieldCondition:
    aware = {name: value if value.tzinfo else value.replace(tzinfo=UTC) for name, value in bounds.items()}
    return models.FieldCondition(key=path, range=models.DatetimeRange(**aware))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, tzinfo=UTC)


def _finite(path: str, value: float) -> float:
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an integer that no float can hold
        finite = False
    if not finite:
        raise FilterError(f"Filter on {path!r}: {value!r} is not a number that can be compared.")
    return value


def _unicode(path: str, text: str) -> str:
    if lone_surrogate(text) is not None:
        raise FilterError(f"Filter on {path!r}: {text!r} is not valid Unicode, so no stored text equals it. Decode it properly.")
    return text


def _point_in_time(path: str, operator: Operator, text: str) -> date:
    try:
        return date.fromisoformat(text) if len(text) == len("2024-01-31") else datetime.fromisoformat(text)
    except ValueError:
        raise FilterError(f"Filter on {path!r}: {operator} compares numbers and dates, and {text!r} is no ISO 8601 date.") from None


def _nothing() -> models.Condition:
    """A condition that no point meets."""
    return models.HasIdCondition(has_id=[])
