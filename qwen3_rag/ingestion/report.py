"""What a run reports: per document while it goes on, and as a whole at its end. Plain data."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Action(StrEnum):
    """What became of one document in a run."""

    ADDED = "added"
    UPDATED = "updated"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    SKIPPED = "skipped"
    """Not a document; a version ingested before stays."""
    EMPTY = "empty"
    """Read, and there is no text in it: reported as skipped, and a version ingested before goes."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Outcome:
    """One document's part in a run: chunks embedded now, chunks that were there already, chunks removed; `reason` if it was not taken."""

    document_id: str
    action: Action
    embedded: int = 0
    kept: int = 0
    removed: int = 0
    tokens: int = 0
    stage: str | None = None
    reason: str | None = None


@dataclass(slots=True)
class IngestReport:
    """The whole run. Counts are of documents unless the name says otherwise; times are in seconds."""

    added: int = 0
    updated: int = 0
    unchanged: int = 0
    deleted: int = 0
    chunks_embedded: int = 0
    chunks_kept: int = 0
    chunks_removed: int = 0
    tokens: int = 0
    seconds: float = 0.0
    timing: dict[str, float] = field(default_factory=dict)
    skipped: list[Outcome] = field(default_factory=list)
    failed: list[Outcome] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether no document failed. Skipped files are no failure."""
        return not self.failed

    @property
    def documents(self) -> int:
        """Documents looked at, whatever became of them."""
        return self.added + self.updated + self.unchanged + len(self.skipped) + len(self.failed)

    def count(self, outcome: Outcome) -> None:
        """Add one document's outcome."""
        self.chunks_embedded += outcome.embedded
        self.chunks_kept += outcome.kept
        self.chunks_removed += outcome.removed
        self.tokens += outcome.tokens
        match outcome.action:
            case Action.SKIPPED | Action.EMPTY:
                self.skipped.append(outcome)
            case Action.FAILED:
                self.failed.append(outcome)
            case action:
                setattr(self, action.value, getattr(self, action.value) + 1)

    def counts(self) -> dict[str, int]:
        """The numbers alone, as they are kept with the run in the catalog."""
        return {
            "added": self.added,
            "updated": self.updated,
            "unchanged": self.unchanged,
            "deleted": self.deleted,
            "skipped": len(self.skipped),
            "failed": len(self.failed),
            "chunks_embedded": self.chunks_embedded,
            "chunks_kept": self.chunks_kept,
            "chunks_removed": self.chunks_removed,
            "tokens": self.tokens,
        }

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types: the counts, the times, and every document that was skipped or failed, with its reason."""
        return {
            **self.counts(),
            "seconds": round(self.seconds, 3),
            "timing": {name: round(seconds, 3) for name, seconds in self.timing.items()},
            "skipped_documents": [{"document_id": item.document_id, "reason": item.reason} for item in self.skipped],
            "failed_documents": [{"document_id": item.document_id, "stage": item.stage, "reason": item.reason} for item in self.failed],
        }
