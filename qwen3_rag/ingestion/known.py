"""Finds out what the catalog knows of items that come by one at a time, with one question for many of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

from qwen3_rag.catalog import DocumentState
from qwen3_rag.ingestion.items import Item, id_of, size

ITEMS_PER_QUESTION = 256
SIZE_PER_QUESTION = 1_000_000
"""Long documents are not gathered for the sake of one question."""


def learn(
    items: Iterable[Item], states: dict[str, DocumentState], look_up: Callable[[list[str]], Mapping[str, DocumentState]]
) -> Iterator[Item]:
    """Pass on `items`, each when `states` has what is known of it."""
    for batch in _batches(items):
        states.update(look_up([id_of(item) for item in batch]))
        yield from batch


def _batches(items: Iterable[Item]) -> Iterator[list[Item]]:
    batch: list[Item] = []
    gathered = 0
    for item in items:
        batch.append(item)
        gathered += size(item)
        if len(batch) >= ITEMS_PER_QUESTION or gathered >= SIZE_PER_QUESTION:
            yield batch
            batch, gathered = [], 0
    if batch:
        yield batch
