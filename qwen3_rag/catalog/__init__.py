"""The truth about what was ingested: documents, versions, chunks, runs, failures and embedding spaces, in SQLite or PostgreSQL."""

from qwen3_rag.catalog.catalog import Catalog
from qwen3_rag.catalog.index_records import IndexRecords
from qwen3_rag.catalog.migrate import database_versions, upgrade_database
from qwen3_rag.catalog.records import (
    ChunkRecord,
    CollectionRecord,
    Counts,
    Deletion,
    DocumentRecord,
    DocumentState,
    DocumentStatus,
    FailureRecord,
    FailureStage,
    RunRecord,
    RunStatus,
    Unfinished,
    Write,
)
from qwen3_rag.catalog.runs import failure_id

__all__ = [
    "Catalog",
    "ChunkRecord",
    "CollectionRecord",
    "Counts",
    "Deletion",
    "DocumentRecord",
    "DocumentState",
    "DocumentStatus",
    "FailureRecord",
    "FailureStage",
    "IndexRecords",
    "RunRecord",
    "RunStatus",
    "Unfinished",
    "Write",
    "database_versions",
    "failure_id",
    "upgrade_database",
]
