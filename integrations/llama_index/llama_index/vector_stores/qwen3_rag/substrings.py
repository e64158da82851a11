"""Finds text inside stored text whatever its case, which Qdrant cannot: it reads the field of every point that has it."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from qdrant_client import models

from qwen3_rag.passages import Passages

PAGE = 1024


def points_holding(passages: Passages, path: str, text: str) -> models.Condition:
    """The points that have, at a path of the payload, text that holds `text`; in an array, any member may."""
    folded = text.casefold()
    return models.HasIdCondition(has_id=[point for point, values in _values(passages, path) if any(folded in value for value in values)])


def _values(passages: Passages, path: str) -> Iterator[tuple[models.ExtendedPointId, Iterator[str]]]:
    """Points that have the field, with every text that it holds, in lower case."""
    client, offset = passages.client, None
    present = models.Filter(must_not=[models.IsEmptyCondition(is_empty=models.PayloadField(key=path))])
    while client.collection_exists(passages.collection):
        page, offset = client.scroll(passages.collection, present, limit=PAGE, offset=offset, with_payload=[path])
        for record in page:
            yield record.id, _texts(record.payload)
        if offset is None:
            return


def _texts(value: Any) -> Iterator[str]:
    match value:
        case str():
            yield value.casefold()
        case dict():
            for member in value.values():
                yield from _texts(member)
        case list():
            for member in value:
                yield from _texts(member)
