"""Two-stage retrieval with Qwen3 embeddings and reranking on Qdrant: documents in, the right passages out.

Importing this package imports neither torch nor a framework; names are loaded when they are used.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qwen3_rag.errors import Qwen3RagError
    from qwen3_rag.ingestion.report import IngestReport
    from qwen3_rag.knowledge_base import KnowledgeBase
    from qwen3_rag.models.embedder import Embedder
    from qwen3_rag.models.remote import RemoteEmbedder, RemoteReranker
    from qwen3_rag.models.reranker import Reranker
    from qwen3_rag.passages import Passages
    from qwen3_rag.settings import Settings
    from qwen3_rag.status import Status
    from qwen3_rag.types import Chunk, Document, Hit, Hits, Passage, Trace

_HOMES = {
    "Chunk": "types",
    "Document": "types",
    "Embedder": "models.embedder",
    "Hit": "types",
    "Hits": "types",
    "IngestReport": "ingestion.report",
    "KnowledgeBase": "knowledge_base",
    "Passage": "types",
    "Passages": "passages",
    "Qwen3RagError": "errors",
    "RemoteEmbedder": "models.remote",
    "RemoteReranker": "models.remote",
    "Reranker": "models.reranker",
    "Settings": "settings",
    "Status": "status",
    "Trace": "types",
}

__all__ = [
    "Chunk",
    "Document",
    "Embedder",
    "Hit",
    "Hits",
    "IngestReport",
    "KnowledgeBase",
    "Passage",
    "Passages",
    "Qwen3RagError",
    "RemoteEmbedder",
    "RemoteReranker",
    "Reranker",
    "Settings",
    "Status",
    "Trace",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
