"""What a run works on, one at a time: a file that is yet to be read, or a `Document`."""

from __future__ import annotations

from qwen3_rag.sources import SourceFile
from qwen3_rag.types import Document

Item = SourceFile | Document


def id_of(item: Item) -> str:
    """The id that it has in the catalog."""
    return item.id if isinstance(item, Document) else item.document_id


def size(item: Item) -> int:
    """About how much there is of it: bytes of a file, characters of a text."""
    if isinstance(item, SourceFile):
        return item.size
    return len(item.text) if isinstance(item.text, str) else 0  # it was not checked yet
