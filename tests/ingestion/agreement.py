"""Checks that catalog and store say the same, and that what is served is whole."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from qdrant_client import QdrantClient

from qwen3_rag.catalog import Catalog
from qwen3_rag.chunking import Chunker
from qwen3_rag.settings import ChunkingSettings, Settings
from qwen3_rag.types import Document
from tests.fakes import word_tokenizer

COLLECTION = "documents"


def stored(client: QdrantClient) -> dict[str, dict[int, str]]:
    """document id → ordinal → text of every point in the store; fails where two points claim one place."""
    texts: dict[str, dict[int, str]] = defaultdict(dict)
    for payload in payloads(client):
        assert payload["ordinal"] not in texts[payload["document_id"]], f"two points for {payload['document_id']} #{payload['ordinal']}"
        texts[payload["document_id"]][payload["ordinal"]] = payload["text"]
    return dict(texts)


def payloads(client: QdrantClient) -> list[dict[str, object]]:
    records, offset = [], None
    while True:
        page, offset = client.scroll(COLLECTION, limit=1000, offset=offset, with_payload=True)
        records += [{**(record.payload or {}), "point_id": str(record.id)} for record in page]
        if offset is None:
            return records


def check_agreement(
    catalog: Catalog, client: QdrantClient, expected: Mapping[str, Document], chunking: ChunkingSettings | None = None
) -> None:
    """Catalog and store hold exactly the chunks of `expected`: nothing lost, nothing twice, nothing else, nothing unfinished."""
    chunker = Chunker(word_tokenizer(), chunking or Settings.load().chunking)
    chunks = {(key, chunk.ordinal): chunk for key, document in expected.items() for chunk in chunker.chunk(document)}
    found = payloads(client)
    assert catalog.unfinished(COLLECTION) == []
    assert sorted(catalog.point_ids(COLLECTION)) == sorted(str(payload["point_id"]) for payload in found)
    assert {(payload["document_id"], payload["ordinal"]): (payload["text"], payload["start"], payload["end"]) for payload in found} == {
        key: (chunk.text, chunk.start, chunk.end) for key, chunk in chunks.items()
    }
    assert len(found) == len(chunks)
    assert catalog.counts(COLLECTION).documents == len({key for key, _ in chunks})
