"""Indexing beside the work: nothing stops for it, nothing is lost by it, and what is found is the same."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from qdrant_client import models

from qwen3_rag.errors import StoreError
from qwen3_rag.store import EdgeClient
from qwen3_rag.store.edge import UpkeepPolicy, collection

DIM = 64
EAGER = UpkeepPolicy(flush_seconds=0.2, quiet_seconds=0.1, poll_seconds=0.02, retry_seconds=0.1)
SMALL_THRESHOLD = models.OptimizersConfigDiff(indexing_threshold=100)  # kilobytes: 400 points of 64 numbers
INT8 = models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8))


def vectors(count: int, seed: int = 0) -> np.ndarray:
    """Points around 20 centres in 10 dimensions, mapped into `DIM`."""
    rng = np.random.default_rng(seed)
    plane = np.random.default_rng(99).normal(size=(10, DIM))
    centres = np.random.default_rng(98).normal(size=(20, 10))
    return ((centres[rng.integers(0, 20, count)] + 0.4 * rng.normal(size=(count, 10))) @ plane).astype(np.float32)


def points(rows: np.ndarray, first: int = 0) -> list[models.PointStruct]:
    return [models.PointStruct(id=first + row, vector={"dense": vector.tolist()}, payload={"n": row}) for row, vector in enumerate(rows)]


def make(edge: EdgeClient, quantization: models.QuantizationConfig | None = INT8) -> None:
    edge.create_collection(
        "c",
        vectors_config={"dense": models.VectorParams(size=DIM, distance=models.Distance.COSINE)},
        sparse_vectors_config={"words": models.SparseVectorParams()},
        optimizers_config=SMALL_THRESHOLD,
        hnsw_config=models.HnswConfigDiff(full_scan_threshold=10),
        quantization_config=quantization,
    )


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def is_indexed(edge: EdgeClient) -> bool:
    info = edge.get_collection("c")
    return info.status == models.CollectionStatus.GREEN and bool(info.indexed_vectors_count)


@pytest.fixture
def eager(tmp_path: Path) -> EdgeClient:
    edge = EdgeClient(tmp_path, EAGER)
    yield edge
    edge.close()


@pytest.mark.parametrize(
    "quantization",
    [None, INT8, models.BinaryQuantization(binary=models.BinaryQuantizationConfig(always_ram=True))],
    ids=["none", "int8", "binary"],
)
def test_an_index_appears_and_finds_what_exact_search_finds(eager: EdgeClient, quantization: models.QuantizationConfig | None) -> None:
    make(eager, quantization)
    rows, queries = vectors(1500), vectors(20, seed=1)
    eager.upsert("c", points(rows))
    truth = np.argsort(-(queries @ (rows / np.linalg.norm(rows, axis=1, keepdims=True)).T), axis=1)[:, :10]
    before = [search(eager, query) for query in queries]
    if not isinstance(quantization, models.BinaryQuantization):  # the engine makes binary codes at once, and searches by them
        assert [set(one) for one in before] == [set(one) for one in truth.tolist()]  # exact right after the writes
    wait_for(lambda: is_indexed(eager))
    shared = [len(set(search(eager, query)) & set(best)) for query, best in zip(queries, truth.tolist(), strict=True)]
    assert sum(shared) / 200 > (0.8 if isinstance(quantization, models.BinaryQuantization) else 0.98)


def search(edge: EdgeClient, query: np.ndarray) -> list[int]:
    return [point.id for point in edge.query_points("c", query=query.tolist(), using="dense", limit=10).points]


def test_writes_of_every_kind_during_a_build_are_kept(eager: EdgeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    make(eager)
    copied, go_on = threading.Event(), threading.Event()
    begin_copy = collection.Collection.begin_copy

    def slow_copy(self: collection.Collection, target: Path) -> None:
        begin_copy(self, target)
        copied.set()
        go_on.wait(30)

    monkeypatch.setattr(collection.Collection, "begin_copy", slow_copy)
    eager.upsert("c", points(vectors(600)))
    assert copied.wait(30)
    shard = eager._store.get("c").shard
    assert eager.get_collection("c").status == models.CollectionStatus.YELLOW
    eager.upsert("c", points(vectors(50, seed=2), first=1000))
    eager.delete("c", [0, 1])
    eager.delete("c", models.Filter(must=[models.FieldCondition(key="n", range=models.Range(gte=590))]))
    eager.set_payload("c", {"mark": True}, points=[5])
    with pytest.raises(StoreError):
        eager.set_payload("c", {"mark": True}, points=[123456])  # fails, and fails again when replayed
    eager.create_payload_index("c", "n", models.PayloadSchemaType.INTEGER)
    eager.update_vectors("c", [models.PointVectors(id=7, vector={"words": models.SparseVector(indices=[3], values=[1.0])})])
    go_on.set()
    wait_for(lambda: eager._store.get("c").shard != shard)
    wait_for(lambda: is_indexed(eager))
    assert eager.count("c").count == 600 + 50 - 2 - 10
    assert eager.retrieve("c", [5])[0].payload == {"n": 5, "mark": True}
    assert "n" in eager.get_collection("c").payload_schema
    sparse = eager.query_points("c", query=models.SparseVector(indices=[3], values=[1.0]), using="words").points
    assert [point.id for point in sparse] == [7]
    folder = eager._store.get("c").folder
    assert sorted(path.name for path in folder.iterdir()) == sorted(["collection.json", eager._store.get("c").shard.name])


def test_constant_writes_do_not_put_indexing_off_for_ever(tmp_path: Path) -> None:
    edge = EdgeClient(tmp_path, UpkeepPolicy(quiet_seconds=1000, patience_seconds=0.2, poll_seconds=0.02))
    make(edge)
    edge.upsert("c", points(vectors(600)))
    wait_for(lambda: is_indexed(edge))
    edge.close()


def test_what_was_indexed_is_there_after_reopening(tmp_path: Path) -> None:
    edge = EdgeClient(tmp_path, EAGER)
    make(edge)
    edge.upsert("c", points(vectors(600)))
    wait_for(lambda: is_indexed(edge))
    edge.close()
    edge = EdgeClient(tmp_path, EAGER)
    info = edge.get_collection("c")
    assert (info.points_count, info.status) == (600, models.CollectionStatus.GREEN)
    assert info.indexed_vectors_count == 600
    edge.close()


def test_unindexed_points_are_noticed_at_opening(tmp_path: Path) -> None:
    edge = EdgeClient(tmp_path, UpkeepPolicy(quiet_seconds=1000))
    make(edge)
    edge.upsert("c", points(vectors(600)))
    edge.close()
    edge = EdgeClient(tmp_path, EAGER)
    assert edge.count("c").count == 600
    wait_for(lambda: is_indexed(edge))
    edge.close()


def test_a_build_that_dies_is_made_again(eager: EdgeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    make(eager)
    victims: list[int] = []
    start = collection.Collection.start

    def start_and_kill(self: collection.Collection, shard: Path, *, background: bool = False) -> object:
        engine = start(self, shard, background=background)
        if background and not victims:
            victims.append(engine._process.pid)
            os.kill(engine._process.pid, signal.SIGKILL)
        return engine

    monkeypatch.setattr(collection.Collection, "start", start_and_kill)
    eager.upsert("c", points(vectors(600)))
    wait_for(lambda: is_indexed(eager))
    assert victims
    assert eager.count("c").count == 600


def test_too_many_writes_during_a_build_give_it_up_and_lose_nothing(eager: EdgeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    make(eager)
    monkeypatch.setattr(collection, "_PENDING_LIMIT_BYTES", 10_000)
    copied, go_on = threading.Event(), threading.Event()
    begin_copy = collection.Collection.begin_copy

    def slow_copy(self: collection.Collection, target: Path) -> None:
        begin_copy(self, target)
        copied.set()
        go_on.wait(30)

    monkeypatch.setattr(collection.Collection, "begin_copy", slow_copy)
    eager.upsert("c", points(vectors(600)))
    assert copied.wait(30)
    eager.upsert("c", points(vectors(300, seed=2), first=1000))
    monkeypatch.setattr(collection, "_PENDING_LIMIT_BYTES", 10**9)
    go_on.set()
    wait_for(lambda: is_indexed(eager))
    assert eager.count("c").count == 900


def test_a_collection_can_be_deleted_and_a_store_closed_during_a_build(tmp_path: Path) -> None:
    edge = EdgeClient(tmp_path, EAGER)
    make(edge)
    edge.upsert("c", points(vectors(1500)))
    wait_for(lambda: edge._store.upkeep._building is not None)
    edge.delete_collection("c")
    make(edge)
    edge.upsert("c", points(vectors(1500)))
    wait_for(lambda: edge._store.upkeep._building is not None)
    edge.close()
    edge = EdgeClient(tmp_path, EAGER)
    assert edge.count("c").count == 1500
    edge.close()


def test_changed_settings_are_worked_by(eager: EdgeClient) -> None:
    make(eager, None)
    eager.upsert("c", points(vectors(600)))
    wait_for(lambda: is_indexed(eager))
    eager.update_collection("c", quantization_config=INT8, hnsw_config=models.HnswConfigDiff(m=24))
    info = eager.get_collection("c")
    assert info.config.hnsw_config.m == 24
    assert info.config.quantization_config == INT8
    wait_for(lambda: is_indexed(eager))
    assert eager.count("c").count == 600


def test_vector_names_come_and_go(eager: EdgeClient) -> None:
    make(eager)
    config = models.DenseVectorNameConfig(dense=models.DenseVectorConfig(size=2, distance=models.Distance.DOT))
    eager.create_vector_name("c", "coarse", config)
    eager.upsert("c", [models.PointStruct(id=1, vector={"coarse": [1.0, 2.0]})])
    found = eager.query_points("c", query=[1.0, 1.0], using="coarse").points
    assert [(point.id, point.score) for point in found] == [(1, 3.0)]
    eager._store.get("c")._running().close()  # the next call starts the engine anew, with the stored configuration
    assert eager.query_points("c", query=[1.0, 1.0], using="coarse").points[0].id == 1
    eager.delete_vector_name("c", "coarse")
    with pytest.raises(ValueError, match="coarse"):
        eager.query_points("c", query=[1.0, 1.0], using="coarse")


def test_many_threads_at_once_while_indexes_are_built(eager: EdgeClient) -> None:
    make(eager)
    rows = vectors(3200)

    def write(part: int) -> None:
        for start in range(part * 400, (part + 1) * 400, 50):
            eager.upsert("c", points(rows[start : start + 50], first=start))
            eager.delete("c", [start])

    def read(part: int) -> None:
        for query in vectors(60, seed=part):
            found = eager.query_points("c", query=query.tolist(), using="dense", limit=5).points
            assert [point.score for point in found] == sorted((point.score for point in found), reverse=True)
            assert eager.count("c").count <= 3200

    with ThreadPoolExecutor(16) as pool:
        jobs = [pool.submit(task, part) for part in range(8) for task in (write, read)]
    assert [job.exception() for job in jobs] == [None] * 16
    assert eager.count("c").count == 3200 - 64
    wait_for(lambda: is_indexed(eager))
    assert eager.count("c").count == 3200 - 64


def test_closing_while_threads_work_raises_nothing_else(tmp_path: Path) -> None:
    edge = EdgeClient(tmp_path, EAGER)
    make(edge)
    edge.upsert("c", points(vectors(100)))
    started = threading.Barrier(9)

    def work(part: int) -> str:
        started.wait()
        for number in range(10_000):
            try:
                if part % 2:
                    edge.upsert("c", points(vectors(1), first=1000 * part + number))
                else:
                    edge.count("c")
            except StoreError as error:
                return str(error)
        return "never closed"

    with ThreadPoolExecutor(8) as pool:
        jobs = [pool.submit(work, part) for part in range(8)]
        started.wait()
        time.sleep(0.2)
        edge.close()
        assert all("closed" in job.result() for job in jobs)


def test_the_interpreter_stays_awake_while_an_index_is_built(eager: EdgeClient) -> None:
    make(eager)
    ticks: list[float] = []
    stop = threading.Event()

    def tick() -> None:
        while not stop.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.005)

    heart = threading.Thread(target=tick)
    heart.start()
    eager.upsert("c", points(vectors(6000)))
    wait_for(lambda: is_indexed(eager))
    stop.set()
    heart.join()
    assert max(np.diff(ticks)) < 1.0  # 0.05 s on an idle machine; `optimize` in this process takes all of its time


def test_an_indexed_shard_is_on_the_disk_before_the_collection_points_to_it(
    eager: EdgeClient, synced: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    make(eager)
    adoptions: list[list[str]] = []
    save = collection.Collection._save

    def checked(self: collection.Collection, config: dict[str, object], shard: str) -> None:
        if shard != self.shard.name:
            paths = [self.folder, self.folder / shard, *(self.folder / shard).rglob("*")]
            adoptions.append([str(path) for path in paths if path.stat().st_ino not in synced])
            assert self.shard.exists()
        save(self, config, shard)

    monkeypatch.setattr(collection.Collection, "_save", checked)
    eager.upsert("c", points(vectors(600)))
    wait_for(lambda: is_indexed(eager))
    assert adoptions == [[]]
