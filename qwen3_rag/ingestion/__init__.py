"""From documents to points and rows: selection → preparation → embedding → the write order, and its repair."""

from qwen3_rag.ingestion.progress import NoProgress, Progress, RichProgress, default_progress
from qwen3_rag.ingestion.repair import repair
from qwen3_rag.ingestion.report import Action, IngestReport, Outcome
from qwen3_rag.ingestion.run import Ingestion, IngestionConfig
from qwen3_rag.ingestion.selection import Sources
from qwen3_rag.ingestion.visibility import Visibility

__all__ = [
    "Action",
    "IngestReport",
    "Ingestion",
    "IngestionConfig",
    "NoProgress",
    "Outcome",
    "Progress",
    "RichProgress",
    "Sources",
    "Visibility",
    "default_progress",
    "repair",
]
