"""The stopwatch behind `Trace`: one step a stage, with what went in, what came out and why the rest did not."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from qwen3_rag.types import TraceStep


@dataclass(slots=True)
class Step:
    """A step that is running; the stage fills it in."""

    received: int
    returned: int = 0
    note: str = ""


@dataclass(slots=True)
class Recorder:
    """The steps of one search, in order."""

    steps: list[TraceStep] = field(default_factory=list)

    @contextmanager
    def step(self, name: str, received: int) -> Iterator[Step]:
        """Time one stage."""
        step, started = Step(received), time.perf_counter()
        yield step
        self.steps.append(TraceStep(name, time.perf_counter() - started, step.received, step.returned, step.note))
