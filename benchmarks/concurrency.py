"""Many callers of one embedder at once, with nano: beside the same queries one after another, and with half of the callers cancelled.

    python -m benchmarks.concurrency                          # 64 callers of 4 queries each, five rounds
    python -m benchmarks.concurrency --callers 8 --rounds 1   # a quick look

Every round has queries of its own, and each way of asking has an embedder of its own, so that nothing can be answered from memory. One
call embeds one query. Cancelled callers ask for other queries than those that stay, and give up after a few milliseconds.
"""

from __future__ import annotations

import argparse
import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.harness import Check, Floats, Result, finish, parameters, parser, percentile, say, versions
from benchmarks.texts import queries
from qwen3_rag import Embedder

PATIENCE = 0.005
"""Seconds until a caller is cancelled."""
WAYS = ("one after another", "all at once", "half of them", "half of them, the others cancelled")


@dataclass
class Way:
    """A way of asking: its embedder, seconds and result of each round, seconds of each call."""

    embedder: Embedder = field(default_factory=lambda: Embedder.load("nano", dtype="float32", device="cpu"))
    rounds: list[float] = field(default_factory=list)
    latencies: list[float] = field(default_factory=list)
    vectors: list[Floats] = field(default_factory=list)

    def keep(self, seconds: float, vectors: Sequence[Floats]) -> None:
        """Note one round."""
        self.rounds.append(seconds)
        self.vectors.append(np.concatenate(vectors))

    def serial(self, texts: Sequence[str]) -> None:
        """One call after another."""
        began, vectors = time.perf_counter(), []
        for text in texts:
            asked = time.perf_counter()
            vectors.append(np.asarray(self.embedder.embed_queries([text])))
            self.latencies.append(time.perf_counter() - asked)
        self.keep(time.perf_counter() - began, vectors)

    async def concurrent(self, callers: Sequence[Sequence[str]], giving_up: Sequence[Sequence[str]] = ()) -> None:
        """All `callers` at once; those `giving_up` are there too, and are cancelled."""
        began = time.perf_counter()
        asking = [asyncio.create_task(self._caller(texts)) for texts in callers]
        others = [asyncio.create_task(self._caller(texts, counted=False)) for texts in giving_up]
        if others:
            await asyncio.sleep(PATIENCE)
            for task in others:
                task.cancel()
        vectors = await asyncio.gather(*asking)
        self.keep(time.perf_counter() - began, vectors)
        await asyncio.gather(*others, return_exceptions=True)

    async def _caller(self, texts: Sequence[str], counted: bool = True) -> Floats:
        vectors = []
        for text in texts:
            asked = time.perf_counter()
            vectors.append(np.asarray(await self.embedder.aembed_queries([text])))
            if counted:
                self.latencies.append(time.perf_counter() - asked)
        return np.concatenate(vectors)


def compare(arguments: argparse.Namespace) -> Result:
    """All ways in every round, in one direction and then in the other."""
    ways = {name: Way() for name in WAYS}
    size = arguments.callers * arguments.calls
    texts = queries(size * (arguments.rounds + 1))
    for turn in range(arguments.rounds + 1):
        part = texts[turn * size : (turn + 1) * size]
        callers = [part[start : start + arguments.calls] for start in range(0, size, arguments.calls)]
        for name in WAYS[:: -1 if turn % 2 else 1]:
            ask(name, ways[name], callers)
            say(f"  round {turn}: {name} {ways[name].rounds[-1]:.3f} s")
        if turn == 0:  # the warm-up
            for way in ways.values():
                way.rounds, way.latencies, way.vectors = [], [], []
    return told(ways, size, arguments)


def ask(name: str, way: Way, callers: Sequence[Sequence[str]]) -> None:
    """One round of one way. Callers are interleaved, so that either half asks for texts of the same kind."""
    half, others = callers[::2], callers[1::2]
    match name:
        case "one after another":
            way.serial([text for texts in callers for text in texts])
        case "all at once":
            asyncio.run(way.concurrent(callers))
        case "half of them":
            asyncio.run(way.concurrent(half))
        case _:
            asyncio.run(way.concurrent(half, others))


def told(ways: dict[str, Way], size: int, arguments: argparse.Namespace) -> Result:
    """The figures."""
    title = f"{arguments.callers} concurrent callers, nano, {size} queries a round"
    result = Result("concurrency", title, parameters(arguments), versions=versions())
    result.add_rounds({name: way.rounds for name, way in ways.items()})
    serial, together, alone, disturbed = (ways[name] for name in WAYS)
    result.checks = [
        Check("throughput, times that of one after another", result.median(WAYS[0]) / result.median(WAYS[1]), at_least=3.0),
        Check("queries a second, all at once", size / result.median(WAYS[1])),
        Check("time with the other half cancelled, relative to without it", result.median(WAYS[3]) / result.median(WAYS[2])),
        Check("largest difference of the vectors, all at once − one after another", largest(serial, together), at_most=1e-5),
        Check("largest difference of the vectors, with half cancelled − without", largest(alone, disturbed), at_most=1e-5),
    ]
    for name, way in (("one after another", serial), ("all at once", together)):
        result.add_latencies(f"one call, {name}", way.latencies)
        result.checks.append(Check(f"one call, {name}, p50 (ms)", 1000 * percentile(way.latencies, 0.5)))
        result.checks.append(Check(f"one call, {name}, p95 (ms)", 1000 * percentile(way.latencies, 0.95)))
    return result


def largest(one: Way, other: Way) -> float:
    """Over all rounds."""
    return max(float(np.abs(first - second).max()) for first, second in zip(one.vectors, other.vectors, strict=True))


def main() -> None:
    command = parser(__doc__, "concurrency")
    command.set_defaults(rounds=5)
    command.add_argument("--callers", type=int, default=64)
    command.add_argument("--calls", type=int, default=4, help="queries that each caller asks for, one after another")
    arguments = command.parse_args()
    finish(compare(arguments), arguments.output)


if __name__ == "__main__":
    main()
