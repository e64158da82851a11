"""Filters as LangChain users write them → filters of the core, which knows the operators; here is only what LangChain means otherwise.

A filter's keys are those of the documents' metadata. A chunk that the core ingested shows its own fields there too (`source`, `title`, …),
so these keys look into its fields, and into the metadata of what was added through a vector store. `passage_id` is the id that this
was added under, unless its metadata has a key of that name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from qdrant_client import models

from qwen3_rag.errors import FilterError
from qwen3_rag.store.filters import Filters, build_filter
from qwen3_rag.store.points import METADATA, OWN_FIELDS, PASSAGE_ID

_SHARED = OWN_FIELDS - {PASSAGE_ID}
"""Keys that mean a field of a chunk, and metadata of a passage."""


def to_filter(filter: Filters) -> models.Filter | None:
    """The Qdrant filter of a plain mapping, a mapping with `$` operators, or a Qdrant filter.

    Operators are those of the core, which are `$eq`, `$ne`, `$gt`, `$gte`, `$lt`, `$lte`, `$in`, `$nin`, `$exists`, `$contains`, `$and`,
    `$or` and `$not`, and `$between`.

    Raises:
        FilterError: naming what cannot be expressed.
    """
    if callable(filter):
        raise FilterError("A function cannot filter in the store. Write a mapping such as {'team': 'search'}, or a qdrant Filter.")
    return build_filter(_translated(filter) if isinstance(filter, Mapping) else filter)


def _translated(filters: Mapping[str, Any]) -> dict[str, Any]:
    return {"$and": [_part(key, value) for key, value in filters.items()]} if filters else {}


def _part(key: Any, value: Any) -> dict[Any, Any]:
    if not isinstance(key, str):
        return {key: value}
    if key.startswith("$"):
        return {key: [_inner(part) for part in value] if isinstance(value, list | tuple) else _inner(value)}
    condition = _without_between(key, value)
    nested = isinstance(value, Mapping) and not any(str(name).startswith("$") for name in value)
    if key == PASSAGE_ID and not nested:
        return _unless_in_metadata(key, condition)
    return {key: condition} if key not in _SHARED or nested else _either(key, condition)


def _inner(value: Any) -> Any:
    return _translated(value) if isinstance(value, Mapping) else value


def _either(key: str, condition: Any) -> dict[str, Any]:
    chunk = {"$and": [{PASSAGE_ID: {"$exists": False}}, {key: condition}]}
    passage = {"$and": [{PASSAGE_ID: {"$exists": True}}, {f"{METADATA}.{key}": condition}]}
    return {"$or": [chunk, passage]}


def _unless_in_metadata(key: str, condition: Any) -> dict[str, Any]:
    metadata = f"{METADATA}.{key}"
    given = {"$and": [{metadata: {"$exists": True}}, {metadata: condition}]}
    own = {"$and": [{metadata: {"$exists": False}}, {key: condition}]}
    return {"$or": [given, own]}


def _without_between(key: str, value: Any) -> Any:
    if not isinstance(value, Mapping) or "$between" not in value:
        return value
    bounds = value["$between"]
    if not isinstance(bounds, list | tuple) or len(bounds) != 2:
        raise FilterError(f"Filter on {key!r}: $between takes a lower and an upper bound, both included, not {bounds!r}.")
    clash = {"$gte", "$lte"} & set(value)
    if clash:
        raise FilterError(f"Filter on {key!r}: $between and {', '.join(sorted(clash))} together say the same bound twice.")
    return {name: operand for name, operand in value.items() if name != "$between"} | {"$gte": bounds[0], "$lte": bounds[1]}
