"""What a knowledge base says of itself. Numbers only: who counts them is the facade's matter."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from qwen3_rag.catalog import RunRecord


@dataclass(frozen=True, slots=True)
class Status:
    """What a knowledge base holds.

    `chunks` is the catalog's count and `points` the store's, of the same; they agree when nothing is amiss. `passages` came through
    `KnowledgeBase.passages` or a framework's vector store, which the catalog does not count.
    """

    collection: str
    documents: int
    chunks: int
    points: int
    passages: int
    failures: int
    embedder: str
    dim: int | None
    reranker: str | None
    fingerprint: str | None
    languages: Mapping[str, int]
    store: str
    catalog: str
    last_run: RunRecord | None

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        run = self.last_run
        return {
            "collection": self.collection,
            "documents": self.documents,
            "chunks": self.chunks,
            "points": self.points,
            "passages": self.passages,
            "failures": self.failures,
            "embedder": self.embedder,
            "dim": self.dim,
            "reranker": self.reranker,
            "fingerprint": self.fingerprint,
            "languages": dict(self.languages),
            "store": self.store,
            "catalog": self.catalog,
            "last_run": None if run is None else {"started": run.started_at.isoformat(), "status": run.status, "counts": dict(run.counts)},
        }
