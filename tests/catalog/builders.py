"""Small records for the tests."""

from qwen3_rag.catalog import Catalog, ChunkRecord, DocumentRecord
from qwen3_rag.types import EmbeddingSpace

SPACE = EmbeddingSpace(model="nano", revision="r1", dim=64, template="1")


def chunk(ordinal: int, point_id: str, payload: str = "p") -> ChunkRecord:
    return ChunkRecord(
        ordinal=ordinal,
        point_id=point_id,
        content_hash=f"content of {point_id}",
        start=ordinal * 10,
        end=ordinal * 10 + 10,
        tokens=3,
        headings=("Über", "Ключ"),
        payload_hash=payload,
    )


def document(document_id: str, content: str = "1", **fields: object) -> DocumentRecord:
    return DocumentRecord(document_id=document_id, content_hash=content, settings_hash="s", **fields)


def write_all(catalog: Catalog, *items: tuple[DocumentRecord, list[ChunkRecord]]) -> None:
    """The whole write order, with a store that does as it is told."""
    writes = catalog.begin_writes("docs", list(items))
    catalog.commit_writes(writes)
    catalog.finish_writes(writes)
