"""The embedded engine beside qdrant-client's local mode: insertion, search, filtered search, recall, and the longest pause while indexing.

    python -m benchmarks.store                      # 20,000 × 1024, a few minutes
    python -m benchmarks.store --points 5000        # a quick look

Both keep their data on disk (local mode with `path=`; its numbers in memory are shown too) and are used through the same
`qdrant_client.QdrantClient`, with the project's own collection settings: cosine, int8 scalar quantization, HNSW, rescoring.

Data: a mixture of Gaussians, one centre per 100 points, in 48 dimensions, mapped linearly into the full space, plus a little noise in
every dimension: neighbours exist, and the intrinsic dimension is far below the nominal one, as with embeddings of text. Queries are
drawn from the same mixture and are not in the collection. The filter keeps one point in ten (a keyword). Rounds of the backends
alternate. Recall is against exact search with NumPy.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from qdrant_client import QdrantClient, models

from benchmarks.harness import processor, usable_cores
from qwen3_rag.settings import StoreSettings
from qwen3_rag.store import open_client
from qwen3_rag.store.points import DENSE
from qwen3_rag.store.schema import dense_params

COLLECTION = "benchmark"
LATENT_DIM = 48
TENANTS = 10
BATCH = 256
TOP = 10
RESULTS = Path(__file__).parent / "results" / "store.json"
TARGETS = {"insert": 10.0, "query": 50.0, "filtered": 100.0}
RECALL_TARGET = 0.99
TENANT_3 = models.Filter(must=[models.FieldCondition(key="tenant", match=models.MatchValue(value="tenant-3"))])

Floats = np.ndarray[Any, np.dtype[np.float32]]


@dataclass
class Data:
    """Unit vectors of points and queries."""

    points: Floats
    queries: Floats

    @classmethod
    def make(cls, count: int, dim: int, queries: int, seed: int = 0) -> Data:
        """Draws points and queries as the module says."""
        rng = np.random.default_rng(seed)
        mapping = rng.normal(size=(LATENT_DIM, dim)) / np.sqrt(LATENT_DIM)
        centres = rng.normal(size=(max(2, count // 100), LATENT_DIM))

        def draw(number: int) -> Floats:
            latent = centres[rng.integers(0, len(centres), number)] + 0.5 * rng.normal(size=(number, LATENT_DIM))
            full = latent @ mapping + 0.1 * rng.normal(size=(number, dim))
            unit: Floats = (full / np.linalg.norm(full, axis=1, keepdims=True)).astype(np.float32)
            return unit

        return cls(draw(count), draw(queries))

    def nearest(self, only: np.ndarray[Any, Any] | None = None) -> list[set[int]]:
        """For each query the ids of the `TOP` nearest points, among `only` when it is given."""
        scores = self.queries @ self.points.T
        if only is not None:
            scores[:, ~only] = -2.0
        return [set(row) for row in np.argpartition(-scores, TOP, axis=1)[:, :TOP].tolist()]


@dataclass
class Measured:
    """One backend's numbers; times in seconds, one entry per insertion or query."""

    insert: float = 0.0
    query: list[float] = field(default_factory=list)
    filtered: list[float] = field(default_factory=list)
    recall: float = 0.0
    filtered_recall: float = 0.0
    extra: dict[str, float] = field(default_factory=dict)


def tenant(number: int) -> str:
    return f"tenant-{number % TENANTS}"


def point(number: int, vector: Floats) -> models.PointStruct:
    payload = {"tenant": tenant(number), "ordinal": number, "text": f"passage {number} " + "lorem ipsum dolor " * 25}
    return models.PointStruct(id=number, vector={DENSE: vector.tolist()}, payload=payload)


def insert(client: QdrantClient, data: Data) -> float:
    """Creates and fills the collection; seconds inside of `upsert`."""
    client.create_collection(COLLECTION, vectors_config={DENSE: dense_params(data.points.shape[1], StoreSettings())})
    client.create_payload_index(COLLECTION, "tenant", field_schema=models.PayloadSchemaType.KEYWORD)
    seconds = 0.0
    for start in range(0, len(data.points), BATCH):
        rows = data.points[start : start + BATCH]
        batch = [point(start + row, vector) for row, vector in enumerate(rows)]
        began = time.perf_counter()
        client.upsert(COLLECTION, batch, wait=True)
        seconds += time.perf_counter() - began
    return seconds


def ask(client: QdrantClient, queries: Floats, query_filter: models.Filter | None) -> tuple[list[float], list[set[int]]]:
    """Seconds of each query and the ids that it found."""
    times, found = [], []
    for query in queries:
        vector = query.tolist()
        began = time.perf_counter()
        response = client.query_points(COLLECTION, query=vector, using=DENSE, query_filter=query_filter, limit=TOP)
        times.append(time.perf_counter() - began)
        found.append({int(one.id) for one in response.points})
    return times, found


def recall(found: Sequence[set[int]], truth: Sequence[set[int]]) -> float:
    return statistics.mean(len(one & best) / TOP for one, best in zip(found, truth, strict=False))


@contextmanager
def heartbeat() -> Iterator[list[float]]:
    """The time between ticks of a thread that wants to run every 2 ms: what the whole process was held up."""
    gaps: list[float] = []
    stop = threading.Event()

    def beat() -> None:
        last = time.perf_counter()
        while not stop.is_set():
            time.sleep(0.002)
            now = time.perf_counter()
            gaps.append(now - last)
            last = now

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        yield gaps
    finally:
        stop.set()
        thread.join()


def wait_until_indexed(client: QdrantClient, queries: Floats) -> dict[str, float]:
    """Searches while the index is built; seconds until it was there, the longest search and the longest pause meanwhile."""
    began, slowest = time.perf_counter(), 0.0
    with heartbeat() as gaps:
        while client.get_collection(COLLECTION).status != models.CollectionStatus.GREEN:
            times, _ = ask(client, queries[:20], None)
            slowest = max(slowest, *times)
            time.sleep(0.01)
    return {"index_seconds": time.perf_counter() - began, "slowest_search_meanwhile": slowest, "longest_pause_meanwhile": max(gaps)}


def compare(data: Data, rounds: int, local_queries: int) -> dict[str, Measured]:
    measured = {"embedded": Measured(), "local (on disk)": Measured(), "local (memory)": Measured()}
    with tempfile.TemporaryDirectory() as folder:
        clients = {
            "embedded": open_client(StoreSettings(path=f"{folder}/embedded")),
            "local (on disk)": QdrantClient(path=f"{folder}/local"),
            "local (memory)": QdrantClient(location=":memory:"),
        }
        for name, client in clients.items():
            measured[name].insert = insert(client, data)
            say(f"{name}: {len(data.points):,} points in {measured[name].insert:.2f} s")
            if name == "embedded":
                measured[name].extra = wait_until_indexed(client, data.queries)
        in_tenant = np.array([tenant(number) == "tenant-3" for number in range(len(data.points))])
        truth, filtered_truth = data.nearest(), data.nearest(in_tenant)
        for _ in range(rounds):
            for name, client in clients.items():
                queries = data.queries if name == "embedded" else data.queries[:local_queries]
                measure_queries(client, measured[name], queries, truth, filtered_truth)
        for client in clients.values():
            client.close()
    return measured


def measure_queries(client: QdrantClient, into: Measured, queries: Floats, truth: list[set[int]], filtered_truth: list[set[int]]) -> None:
    times, found = ask(client, queries, None)
    into.query += times
    into.recall = recall(found, truth)
    times, found = ask(client, queries, TENANT_3)
    into.filtered += times
    into.filtered_recall = recall(found, filtered_truth)


def summary(values: Sequence[float]) -> dict[str, float]:
    ordered = sorted(values)
    return {
        "median": statistics.median(ordered),
        "p05": ordered[int(0.05 * (len(ordered) - 1))],
        "p95": ordered[int(0.95 * (len(ordered) - 1))],
        "count": len(ordered),
    }


def report(measured: dict[str, Measured], arguments: argparse.Namespace) -> dict[str, Any]:
    ours, theirs = measured["embedded"], measured["local (on disk)"]
    ratios = {
        "insert": theirs.insert / ours.insert,
        "query": statistics.median(theirs.query) / statistics.median(ours.query),
        "filtered": statistics.median(theirs.filtered) / statistics.median(ours.filtered),
    }
    backends = {
        name: {
            "insert_seconds": one.insert,
            "query_seconds": summary(one.query),
            "filtered_seconds": summary(one.filtered),
            "recall_at_10": one.recall,
            "filtered_recall_at_10": one.filtered_recall,
            **one.extra,
        }
        for name, one in measured.items()
    }
    return {
        "machine": {"processor": processor(), "cores": usable_cores(), "system": platform.platform(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("qdrant-client", "qdrant-edge-py", "numpy")},
        "points": arguments.points,
        "dim": arguments.dim,
        "batch": BATCH,
        "rounds": arguments.rounds,
        "backends": backends,
        "ratios": ratios,
        "verdicts": {
            **{name: "pass" if ratios[name] >= target else "short" for name, target in TARGETS.items()},
            "recall_at_10": "pass" if ours.recall >= RECALL_TARGET else "short",
        },
    }


def show(result: dict[str, Any]) -> None:
    say(f"\n{'':18}{'insert s':>10}{'query ms':>22}{'filtered ms':>24}{'recall@10':>11}{'filtered':>10}")
    for name, one in result["backends"].items():
        query, filtered = spread(one["query_seconds"]), spread(one["filtered_seconds"])
        say(
            f"{name:18}{one['insert_seconds']:>10.2f}{query:>22}{filtered:>24}{one['recall_at_10']:>11.3f}{one['filtered_recall_at_10']:>10.3f}"
        )
    say("")
    for name, target in TARGETS.items():
        say(f"{name:10} {result['ratios'][name]:8.1f} × faster than local mode on disk (target {target:.0f}): {result['verdicts'][name]}")
    ours = result["backends"]["embedded"]
    say(f"{'recall@10':10} {ours['recall_at_10']:8.3f} (target {RECALL_TARGET}): {result['verdicts']['recall_at_10']}")
    slowest, pause = (1000 * ours[f"{what}_meanwhile"] for what in ("slowest_search", "longest_pause"))
    say(f"index there {ours['index_seconds']:.1f} s after the last insertion; meanwhile the slowest search took {slowest:.0f} ms")
    say(f"and the process was held up for {pause:.0f} ms at most")


def spread(values: dict[str, float]) -> str:
    return f"{1000 * values['median']:.2f} ({1000 * values['p05']:.2f}–{1000 * values['p95']:.2f})"


def say(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--points", type=int, default=20_000)
    parser.add_argument("--dim", type=int, default=1024)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--queries", type=int, default=200, help="per round on the embedded engine")
    parser.add_argument("--local-queries", type=int, default=15, help="per round on local mode, which is slow")
    parser.add_argument("--output", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")  # local mode on its size and its missing indexes
    data = Data.make(arguments.points, arguments.dim, arguments.queries)
    result = report(compare(data, arguments.rounds, arguments.local_queries), arguments)
    show(result)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
