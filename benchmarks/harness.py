"""What every benchmark shares: alternating rounds, medians and spread, targets with verdicts, facts of the machine, the result file.

A benchmark fills a `Result`; `finish` prints it and writes it as JSON. Verdicts are "pass" and "short" and are never asserted: a shared
machine is no judge. Nothing here knows a model.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

ROOT = Path(__file__).resolve().parents[1]
RESULTS = Path(__file__).parent / "results"
PACKAGES = ("torch", "transformers", "numpy", "qdrant-client", "qdrant-edge-py")


@dataclass(frozen=True)
class Measured:
    """One quantity that was measured several times."""

    median: float
    least: float
    most: float
    count: int
    unit: str = "s"

    @classmethod
    def of(cls, values: Sequence[float], unit: str = "s") -> Measured:
        """Median and range of `values`."""
        return cls(statistics.median(values), min(values), max(values), len(values), unit)

    def __str__(self) -> str:
        return f"{number(self.median)} {self.unit} ({number(self.least)}–{number(self.most)}, n = {self.count})"


@dataclass(frozen=True)
class Check:
    """A figure and the bound that was set for it; without a bound it is only told."""

    name: str
    value: float
    at_least: float | None = None
    at_most: float | None = None

    @property
    def verdict(self) -> str:
        """`pass`, `short`, or nothing where there is no bound."""
        if self.at_least is None and self.at_most is None:
            return ""
        above = self.at_least is None or self.value >= self.at_least
        below = self.at_most is None or self.value <= self.at_most
        return "pass" if above and below else "short"

    @property
    def target(self) -> str:
        """The bound in words."""
        low = "" if self.at_least is None else f"≥ {self.at_least:g}"
        high = "" if self.at_most is None else f"≤ {self.at_most:g}"
        return " and ".join(part for part in (low, high) if part)


@dataclass
class Result:
    """What one benchmark found."""

    name: str
    title: str
    parameters: dict[str, Any]
    measured: dict[str, Measured] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    machine: dict[str, Any] = field(default_factory=lambda: machine())
    versions: dict[str, str] = field(default_factory=dict)

    def add_rounds(self, rounds: Mapping[str, Sequence[float]], unit: str = "s") -> None:
        """Note what `alternate` gave."""
        self.measured |= {name: Measured.of(values, unit) for name, values in rounds.items()}

    def add_latencies(self, name: str, seconds: Sequence[float]) -> None:
        """Note how long single calls took, in milliseconds."""
        self.measured[name] = Measured.of([1000 * value for value in seconds], "ms")

    def median(self, name: str) -> float:
        """The median of what was measured under this name."""
        return self.measured[name].median

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        checks = [{**asdict(check), "target": check.target, "verdict": check.verdict} for check in self.checks]
        return {**asdict(self), "checks": checks, "machine": {**self.machine, "load_after": load()}}


def alternate(calls: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round. The calls take turns, and every other round goes backwards, so that drift hits all alike."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds):
        for name in list(calls)[:: -1 if turn % 2 else 1]:
            seconds[name].append(timed(calls[name]))
            say(f"  round {turn + 1}: {name} {seconds[name][-1]:.2f} s")
    return seconds


def timed(call: Callable[[], object]) -> float:
    """Seconds of one call."""
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def best_of(candidates: Sequence[int], seconds: Callable[[int], float]) -> int:
    """The candidate with the fewest seconds; each is tried once, after the first was tried twice to warm up."""
    seconds(candidates[0])
    tried = {candidate: seconds(candidate) for candidate in candidates}
    say("  tried " + ", ".join(f"{candidate}: {took:.2f} s" for candidate, took in tried.items()))
    return min(tried, key=lambda candidate: tried[candidate])


def cosines(one: Floats, other: Floats) -> Floats:
    """Cosine of each row with the same row of the other."""
    found: Floats = (one * other).sum(axis=1) / np.linalg.norm(one, axis=1) / np.linalg.norm(other, axis=1)
    return found


def percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie, without interpolation."""
    ordered = sorted(values)
    return ordered[int(share * (len(ordered) - 1))]


def machine() -> dict[str, Any]:
    """What it was measured on, and how busy that was."""
    return {
        "processor": processor(),
        "cores": usable_cores(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "load_before": load(),
    }


def processor() -> str:
    """The processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), platform.processor())


def usable_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load() -> float | None:
    """Processes that wanted a core during the last minute."""
    return round(os.getloadavg()[0], 2) if hasattr(os, "getloadavg") else None


def versions(*more: str) -> dict[str, str]:
    """Installed versions of what is always used and of `more`."""
    found = {}
    for name in (*PACKAGES, *more):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def parser(doc: str | None, name: str) -> argparse.ArgumentParser:
    """A command line with `--rounds` and `--output`."""
    made = argparse.ArgumentParser(description=doc, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--output", type=Path, default=RESULTS / f"{name}.json")
    return made


def parameters(arguments: argparse.Namespace) -> dict[str, Any]:
    """The arguments that decide what is measured."""
    return {name: value for name, value in vars(arguments).items() if name != "output"}


def require(*paths: Path) -> None:
    """Ends the run with a plain sentence where data is absent. That is no failure: those that need none go on after it."""
    for path in paths:
        if not path.exists():
            say(f"skipped: {path} is absent, and without it there is nothing to measure")
            raise SystemExit(0)


def finish(result: Result, output: Path) -> None:
    """Print and write."""
    note_load(result)
    say(f"\n{result.title}")
    for name, one in result.measured.items():
        say(f"  {name}: {one}")
    for check in result.checks:
        target = f" (target {check.target}): {check.verdict}" if check.verdict else ""
        say(f"  {check.name}: {number(check.value)}{target}")
    for note in result.notes:
        say(f"  {note}")
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(result.to_dict(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def note_load(result: Result) -> None:
    """Say so where others wanted the cores: threads that wait for each other then stand still, and ratios change too."""
    before, cores = result.machine["load_before"], result.machine["cores"]
    if before is not None and before > cores / 2:
        result.notes.append(
            f"Load {before} on {cores} cores before the run: others were measured along with it. Repeat on an idle machine."
        )


def number(value: float) -> str:
    """Three or four digits that matter."""
    if value == 0 or 1e-3 <= abs(value) < 10:
        return f"{value:.4g}"
    return f"{value:.2e}" if abs(value) < 1e-3 else f"{value:,.1f}"


def say(line: str) -> None:
    """Print at once."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()
