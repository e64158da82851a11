"""One search under way: what was asked, what is known of it so far, and what is handed out in the end. It asks no store and no model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from qdrant_client import models

from qwen3_rag.retrieval.options import SearchOptions
from qwen3_rag.retrieval.tracing import Recorder
from qwen3_rag.types import Hit, Hits, Mode, Trace


@dataclass(slots=True)
class Search:
    """One search under way: what was asked, and what the stages think of each point so far."""

    query: str
    options: SearchOptions
    instruction: str | None
    conditions: models.Filter | None
    vector: Sequence[float] | None
    explain: bool
    recorder: Recorder = field(default_factory=Recorder)
    language: str | None = None
    deadline_reached: bool = False


def finished(search: Search, hits: Sequence[Hit]) -> Hits:
    """The best hits, as many as were asked for, and the trace where that was."""
    with search.recorder.step("trim", len(hits)) as step:
        hits = hits[: search.options.top_k]
        step.returned, step.note = len(hits), f"top_k {search.options.top_k}"
    return Hits(hits, _trace(search) if search.explain else None)


def _trace(search: Search) -> Trace:
    return Trace(
        query=search.query,
        mode=search.options.mode,
        fusion=search.options.fusion if search.options.mode is Mode.HYBRID else None,
        instruction=search.instruction,
        language=search.language,
        steps=tuple(search.recorder.steps),
        deadline_reached=search.deadline_reached,
    )
