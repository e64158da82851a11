"""Shows a run as it goes on. `RichProgress` draws on a terminal; `NoProgress` is quiet. The pipeline knows only `Progress`."""

from __future__ import annotations

import sys
import time
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, SpinnerColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as RichBars

from qwen3_rag.ingestion.report import Outcome


class Progress(Protocol):
    """Told what happens in a run, from the thread that runs it."""

    def start(self, documents: int | None) -> None:
        """Begin a run over so many documents; None when that is not known."""

    def embedded(self, chunks: int, tokens: int) -> None:
        """Count chunks that were just embedded."""

    def finished(self, outcome: Outcome) -> None:
        """Count a document that is done, one way or another."""

    def stop(self) -> None:
        """End the display, whatever happened."""


class NoProgress:
    """Shows nothing."""

    def start(self, documents: int | None) -> None:
        """Do nothing."""

    def embedded(self, chunks: int, tokens: int) -> None:
        """Do nothing."""

    def finished(self, outcome: Outcome) -> None:
        """Do nothing."""

    def stop(self) -> None:
        """Do nothing."""


class RichProgress:
    """A bar of documents with chunks, tokens a second and the time left."""

    def __init__(self, console: Console | None = None) -> None:
        self._bars = RichBars(
            SpinnerColumn(),
            TextColumn("ingesting"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn("documents"),
            TextColumn("[cyan]{task.fields[chunks]:,}[/] chunks"),
            TextColumn("[green]{task.fields[speed]:,.0f}[/] tokens/s"),
            TimeRemainingColumn(),
            console=console or Console(stderr=True),
            transient=True,
        )
        self._task = self._bars.add_task("ingest", total=None, chunks=0, speed=0.0)
        self._chunks = 0
        self._tokens = 0
        self._began = time.monotonic()

    def start(self, documents: int | None) -> None:
        """Show the bar."""
        self._began = time.monotonic()
        self._bars.update(self._task, total=documents)
        self._bars.start()

    def embedded(self, chunks: int, tokens: int) -> None:
        """Update chunks and speed."""
        self._chunks += chunks
        self._tokens += tokens
        speed = self._tokens / max(time.monotonic() - self._began, 1e-6)
        self._bars.update(self._task, chunks=self._chunks, speed=speed)

    def finished(self, outcome: Outcome) -> None:
        """Advance the bar by one document."""
        self._bars.advance(self._task)

    def stop(self) -> None:
        """Remove the bar."""
        self._bars.stop()


def default_progress() -> Progress:
    """A bar where standard error is a terminal, nothing elsewhere."""
    return RichProgress() if sys.stderr.isatty() else NoProgress()
