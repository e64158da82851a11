"""LlamaIndex `MetadataFilters` → Qdrant filters: all operators, nested to any depth. It reads no store itself.

A key is a path into the metadata (`author.name`, `tags`). Where a value is an array, `==`, `>` and their like ask whether one of its
members is such; `!=` and `nin` whether none is, and both also hold where the key is missing. `contains` and `all` ask the same of one and
of all given values, `any` and `in` of at least one. Text is found anywhere inside text. Empty is what is missing, null, `[]` or `""`.
`doc_id`, `document_id` and `ref_doc_id` are the source document, and `source`, `title` and `headings` the fields of what
others wrote, where the metadata has no such key of its own. A group without filters restricts nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llama_index.core.vector_stores.types import FilterCondition, FilterOperator, MetadataFilter, MetadataFilters
from qdrant_client import models

from qwen3_rag.errors import FilterError
from qwen3_rag.store.filters import build_filter, payload_path
from qwen3_rag.store.points import METADATA, chunk_point_id, passage_point_id

Holding = Callable[[str, str], models.Condition]
"""(payload path, text) → the condition that a value there holds the text, whatever its case. Only the store can tell."""

_OWN_FIELDS = {
    "doc_id": "document_id",
    "document_id": "document_id",
    "ref_doc_id": "document_id",
    "source": "source",
    "title": "title",
    "headings": "headings",
}
_PLAIN = {
    FilterOperator.EQ: "$eq",
    FilterOperator.CONTAINS: "$eq",
    FilterOperator.NE: "$ne",
    FilterOperator.GT: "$gt",
    FilterOperator.GTE: "$gte",
    FilterOperator.LT: "$lt",
    FilterOperator.LTE: "$lte",
    FilterOperator.IN: "$in",
    FilterOperator.ANY: "$in",
    FilterOperator.NIN: "$nin",
    FilterOperator.TEXT_MATCH: "$contains",
}
_OF_LISTS = frozenset({FilterOperator.IN, FilterOperator.NIN, FilterOperator.ANY, FilterOperator.ALL})


def build_metadata_filter(filters: MetadataFilters | None, holding: Holding) -> models.Filter | None:
    """The Qdrant filter that metadata filters mean; None restricts nothing.

    Raises:
        FilterError: naming the key, for a value that its operator cannot be asked about.
    """
    return None if filters is None or not filters.filters else _group(filters, holding)


def of_documents(document_ids: Sequence[str]) -> models.Condition:
    """What came from any of these documents."""
    return models.FieldCondition(key="document_id", match=models.MatchAny(any=list(document_ids)))


def of_nodes(node_ids: Sequence[str]) -> models.Condition:
    """The nodes of these ids."""
    points = (point for node_id in node_ids for point in (passage_point_id(node_id), chunk_point_id(node_id)) if point)
    return models.HasIdCondition(has_id=list(dict.fromkeys(points)))


def all_of(*conditions: models.Condition | None) -> models.Filter | None:
    """What meets every condition that there is; None if there is none."""
    present = [condition for condition in conditions if condition is not None]
    return models.Filter(must=present) if present else None


def _group(filters: MetadataFilters, holding: Holding) -> models.Filter:
    parts = [_group(part, holding) if isinstance(part, MetadataFilters) else _one(part, holding) for part in filters.filters]
    conditions: list[models.Condition] = list(parts)
    if not conditions:
        return models.Filter(must=[])
    match filters.condition or FilterCondition.AND:
        case FilterCondition.AND:
            return models.Filter(must=conditions)
        case FilterCondition.OR:
            return models.Filter(should=conditions)
        case FilterCondition.NOT:
            return models.Filter(must_not=conditions)


def _one(asked: MetadataFilter, holding: Holding) -> models.Condition:
    """One filter on the metadata; where they lack the key, on the passage's own field of that name, if there is one."""
    _check(asked)
    in_metadata = _on(f"{METADATA}.{asked.key}", asked, holding)
    own = _OWN_FIELDS.get(asked.key)
    if own is None:
        return in_metadata
    missing = models.IsEmptyCondition(is_empty=models.PayloadField(key=payload_path(f"{METADATA}.{asked.key}")))
    with_key = models.Filter(must=[in_metadata], must_not=[missing])
    return models.Filter(should=[with_key, models.Filter(must=[missing, _on(own, asked, holding)])])


def _check(asked: MetadataFilter) -> None:
    operator, value = asked.operator, asked.value
    if operator is FilterOperator.IS_EMPTY:
        return
    if operator in _OF_LISTS and not isinstance(value, list):
        raise FilterError(f"Filter on {asked.key!r}: {operator.value!r} takes a list of values, not {value!r}.")
    if operator not in _OF_LISTS and isinstance(value, list):
        raise FilterError(f"Filter on {asked.key!r}: {operator.value!r} takes one value; for several write 'in', 'nin', 'any' or 'all'.")


def _on(key: str, asked: MetadataFilter, holding: Holding) -> models.Condition:
    match asked.operator:
        case FilterOperator.IS_EMPTY:
            return _empty(key)
        case FilterOperator.ALL:
            values: Any = asked.value
            return _plain({"$and": [{key: {"$eq": value}} for value in values]} if values else {key: {"$exists": True}})
        case FilterOperator.TEXT_MATCH_INSENSITIVE:
            return holding(payload_path(key), _text(asked))
        case operator:
            return _plain({key: {_PLAIN[operator]: asked.value}})


def _text(asked: MetadataFilter) -> str:
    if not isinstance(asked.value, str) or not asked.value:
        raise FilterError(f"Filter on {asked.key!r}: {asked.operator.value!r} looks for text inside text, not {asked.value!r}.")
    return asked.value


def _empty(key: str) -> models.Condition:
    """Missing, null, an empty array, or text of no length; an array that holds such a text is not empty."""
    nothing = models.FieldCondition(key=payload_path(key), match=models.MatchValue(value=""))
    in_array = models.FieldCondition(key=f"{payload_path(key)}[]", match=models.MatchValue(value=""))
    return models.Filter(should=[_plain({key: None}), models.Filter(must=[nothing], must_not=[in_array])])


def _plain(filters: dict[str, Any]) -> models.Condition:
    return build_filter(filters) or models.Filter(must=[])
