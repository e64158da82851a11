"""What survives: `kill -9`, a crash between two files, a full disk, a second process, a fork."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
from qdrant_client import models

from qwen3_rag.errors import CollectionError, StoreError, StoreFullError, StoreLockedError
from qwen3_rag.store import EdgeClient
from qwen3_rag.store.edge import files
from qwen3_rag.store.edge.collection import Collection
from qwen3_rag.store.edge.store import Store

PARAMS = models.VectorParams(size=4, distance=models.Distance.DOT)

WRITER = """
    import os, sys
    from qdrant_client import models
    from qwen3_rag.store import EdgeClient
    edge = EdgeClient(sys.argv[1])
    if not edge.collection_exists("c"):
        edge.create_collection("c", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
    start = edge.count("c").count
    for number in range(start, start + 100_000):
        edge.upsert("c", [models.PointStruct(id=number, vector=[1.0, number, 0.0, 0.0], payload={"n": number})])
        print(number, flush=True)
"""


def start(code: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def point(number: int) -> models.PointStruct:
    return models.PointStruct(id=number, vector=[1.0, float(number), 0.0, 0.0], payload={"n": number})


def test_acknowledged_writes_survive_kill_9_and_the_folder_is_free_at_once(tmp_path: Path) -> None:
    acknowledged = -1
    for _ in range(3):
        with start(WRITER, tmp_path) as writer:
            assert writer.stdout is not None
            for _ in range(40):
                acknowledged = int(writer.stdout.readline())
            os.kill(writer.pid, signal.SIGKILL)
        edge = EdgeClient(tmp_path)
        numbers = [record.id for record in edge.scroll("c", limit=100_000)[0]]
        assert numbers == list(range(len(numbers)))  # no gaps
        assert len(numbers) > acknowledged
        assert edge.retrieve("c", [acknowledged])[0].payload == {"n": acknowledged}
        edge.close()


def test_the_engine_process_can_die_without_taking_anything_along(edge: EdgeClient) -> None:
    edge.create_collection("c", vectors_config=PARAMS)
    edge.upsert("c", [point(1)])
    engine = edge._store.get("c")._running()
    os.kill(engine._process.pid, signal.SIGKILL)
    assert edge.count("c").count == 1
    edge.upsert("c", [point(2)])
    assert edge.count("c").count == 2


def test_an_engine_process_that_died_unnoticed_leaves_no_pipes_open(edge: EdgeClient) -> None:
    edge.create_collection("c", vectors_config=PARAMS)
    process = edge._store.get("c")._running()._process
    process.kill()
    process.wait()
    assert edge.count("c").count == 0
    assert process.stdin is not None
    assert process.stdout is not None
    assert (process.stdin.closed, process.stdout.closed) == (True, True)


def test_a_second_process_is_told_who_has_the_folder(edge: EdgeClient) -> None:
    code = """
        import sys
        from qwen3_rag.errors import StoreLockedError
        from qwen3_rag.store import EdgeClient
        try:
            EdgeClient(sys.argv[1])
        except StoreLockedError as error:
            print(error.pid, "process" in str(error), "url" in str(error))
    """
    with start(code, edge.path) as other:
        output, _ = other.communicate()
    assert output.split() == [str(os.getpid()), "True", "True"]


def test_a_folder_is_shared_within_a_process(tmp_path: Path) -> None:
    first, second = EdgeClient(tmp_path), EdgeClient(tmp_path / "." / "")
    first.create_collection("c", vectors_config=PARAMS)
    assert second.collection_exists("c")
    first.close()
    first.close()
    second.upsert("c", [point(1)])
    with pytest.raises(StoreError, match="closed"):
        first.count("c")
    second.close()
    third = EdgeClient(tmp_path)
    assert third.count("c").count == 1
    third.close()


def test_a_client_that_was_dropped_gives_the_folder_back(tmp_path: Path) -> None:
    EdgeClient(tmp_path).create_collection("c", vectors_config=PARAMS)
    code = "import sys; from qwen3_rag.store import EdgeClient; print(EdgeClient(sys.argv[1]).collection_exists('c'))"
    with start(code, tmp_path) as other:
        assert other.communicate()[0].strip() == "True"


def test_a_forked_child_is_told_to_open_the_store_itself_and_holds_nothing(tmp_path: Path) -> None:
    code = """
        import os, sys, time, warnings
        from qdrant_client import models
        from qwen3_rag.store import EdgeClient
        from qwen3_rag.errors import StoreError
        warnings.simplefilter("ignore")
        edge = EdgeClient(sys.argv[1])
        edge.create_collection("c", vectors_config=models.VectorParams(size=4, distance=models.Distance.DOT))
        child = os.fork()
        if child == 0:
            try:
                edge.count("c")
            except StoreError as error:
                print("fork" in str(error), flush=True)
            os.close(1)
            time.sleep(30)
            os._exit(0)
        time.sleep(0.5)
        print(edge.count("c").count, child, flush=True)
        os.kill(os.getpid(), 9)
    """
    with start(code, tmp_path) as parent:
        output, _ = parent.communicate()
    told, count, child = output.split()
    try:
        assert (told, count) == ("True", "0")
        edge = EdgeClient(tmp_path)  # though the child lives on
        assert edge.count("c").count == 0
        edge.close()
    finally:
        os.kill(int(child), signal.SIGKILL)


def test_what_a_crash_left_of_a_creation_is_removed(tmp_path: Path) -> None:
    edge = EdgeClient(tmp_path)
    edge.create_collection("c", vectors_config=PARAMS)
    edge.upsert("c", [point(1)])
    folder = edge._store.get("c").folder
    edge.close()
    shutil.copytree(folder, folder.parent / ("0" * 32))  # made, but not listed yet
    (folder.parent / ("1" * 32)).mkdir()
    (folder / "shard-unfinished").mkdir()  # an index build that did not finish
    edge = EdgeClient(tmp_path)
    assert [collection.name for collection in edge.get_collections().collections] == ["c"]
    assert edge.count("c").count == 1
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]
    assert not (folder / "shard-unfinished").exists()
    edge.close()


def test_a_refused_creation_leaves_nothing(edge: EdgeClient) -> None:
    bad = models.ScalarQuantization(scalar=models.ScalarQuantizationConfig(type=models.ScalarType.INT8, quantile=0.99))
    with pytest.raises((CollectionError, StoreError)):
        edge.create_collection("../c", vectors_config=PARAMS, quantization_config=bad)
    with pytest.raises(CollectionError):
        edge.create_collection("c", vectors_config=models.VectorParams(size=0, distance=models.Distance.DOT))
    assert edge.get_collections().collections == []
    assert list((edge.path / "collections").iterdir()) == []


def test_a_damaged_or_missing_manifest_is_not_overwritten(tmp_path: Path) -> None:
    edge = EdgeClient(tmp_path)
    edge.create_collection("c", vectors_config=PARAMS)
    edge.close()
    manifest = tmp_path / "store.json"
    content = manifest.read_text()
    manifest.write_text(content[:20])
    with pytest.raises(StoreError, match="damaged"):
        EdgeClient(tmp_path)
    manifest.unlink()
    with pytest.raises(StoreError, match="missing"):
        EdgeClient(tmp_path)
    manifest.write_text(json.dumps({**json.loads(content), "format": 99}))
    with pytest.raises(StoreError, match="Upgrade"):
        EdgeClient(tmp_path)
    manifest.write_text(content)
    edge = EdgeClient(tmp_path)
    assert edge.collection_exists("c")
    edge.close()


def test_an_unusable_folder_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(StoreError, match=str(tmp_path / "file")):
        EdgeClient(tmp_path / "file" / "store")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_read_only_folder_is_named(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    with pytest.raises(StoreError, match=str(tmp_path)):
        EdgeClient(tmp_path / "store")


def test_writes_stop_before_the_disk_is_full(edge: EdgeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    edge.create_collection("c", vectors_config=PARAMS)
    edge.upsert("c", [point(1)])
    monkeypatch.setattr(files, "free_bytes", lambda folder: files.RESERVE_BYTES // 2)
    for write in (
        lambda: edge.upsert("c", [point(2)]),
        lambda: edge.delete("c", [1]),
        lambda: edge.create_collection("d", vectors_config=PARAMS),
    ):
        with pytest.raises(StoreFullError, match="free some space"):
            write()
    assert edge.count("c").count == 1
    assert not edge.collection_exists("d")
    monkeypatch.undo()
    edge.upsert("c", [point(2)])
    assert edge.count("c").count == 2


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=100m", "tmpfs", str(folder)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here; that needs root")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_really_full_disk_loses_nothing(small_disk: Path) -> None:
    edge = EdgeClient(small_disk / "store")
    edge.create_collection("c", vectors_config=models.VectorParams(size=1024, distance=models.Distance.DOT))
    written = 0

    def write_on() -> None:
        nonlocal written
        while True:
            edge.upsert("c", [models.PointStruct(id=written + row, vector=[1.0] * 1024, payload={}) for row in range(100)])
            written += 100

    with pytest.raises(StoreFullError):
        write_on()
    assert edge.count("c").count == written > 500
    (small_disk / "ballast").write_bytes(b"x" * (files.free_bytes(small_disk) - 4096))  # somebody else takes the rest
    assert edge.count("c").count == written
    edge.close()
    (small_disk / "ballast").unlink()
    edge = EdgeClient(small_disk / "store")
    assert edge.count("c").count == written
    assert edge.retrieve("c", [written - 1])
    edge.close()


def test_interrupting_a_call_leaves_a_usable_store(edge: EdgeClient) -> None:
    edge.create_collection("c", vectors_config=PARAMS)
    engine = edge._store.get("c")._running()

    def interrupted(message: bytes) -> None:
        engine._process.stdin.write(message[:3])  # type: ignore[union-attr]
        raise KeyboardInterrupt

    original, engine._exchange = engine._exchange, interrupted  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyboardInterrupt):
        edge.upsert("c", [point(1)])
    engine._exchange = original  # type: ignore[method-assign]
    edge.upsert("c", [point(1)])
    assert edge.count("c").count == 1


def test_no_engine_process_is_left_behind(tmp_path: Path) -> None:
    edge = EdgeClient(tmp_path)
    edge.create_collection("c", vectors_config=PARAMS)
    pid = edge._store.get("c")._running()._process.pid
    edge.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and Path(f"/proc/{pid}").exists():
        time.sleep(0.02)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_the_lock_error_is_a_store_error() -> None:
    assert issubclass(StoreLockedError, StoreError)


def test_a_new_collection_is_on_the_disk_before_the_store_lists_it(edge: EdgeClient, monkeypatch: pytest.MonkeyPatch) -> None:
    done: set[int] = set()
    unsafe: list[str] = []
    fsync, save = os.fsync, Store._save

    def recorded(descriptor: int) -> None:
        fsync(descriptor)
        done.add(os.fstat(descriptor).st_ino)

    def checked(self: Store, collections: Mapping[str, Collection], aliases: Mapping[str, str]) -> None:
        folder = collections["c"].folder
        unsafe.extend(str(path) for path in (folder.parent, folder, *folder.rglob("*")) if path.stat().st_ino not in done)
        save(self, collections, aliases)

    monkeypatch.setattr(os, "fsync", recorded)
    monkeypatch.setattr(Store, "_save", checked)
    edge.create_collection("c", vectors_config=PARAMS)
    assert unsafe == []


def test_what_was_synced_survives_though_only_the_log_reached_the_disk(tmp_path: Path) -> None:
    edge = EdgeClient(tmp_path / "kb")
    edge.create_collection("c", vectors_config=PARAMS)
    edge.upsert("c", [point(number) for number in range(10)])
    edge._store.get("c").flush()
    shutil.copytree(tmp_path / "kb", tmp_path / "cut", ignore=shutil.ignore_patterns("wal"))  # the segments as they were on the disk
    edge.upsert("c", [point(10), point(1)])
    edge.delete("c", [2])
    edge.set_payload("c", {"n": 33}, points=[3])
    edge.sync("c")
    log = edge._store.get("c").shard / "wal"
    cut = tmp_path / "cut" / log.relative_to(tmp_path / "kb")
    shutil.copytree(log, cut, ignore=shutil.ignore_patterns("tmp-*"))  # the engine lays out its next file under such a name
    edge.close()
    edge = EdgeClient(tmp_path / "cut")
    assert [record.id for record in edge.scroll("c", limit=100)[0]] == [0, 1, *range(3, 11)]
    assert edge.retrieve("c", [3])[0].payload == {"n": 33}
    edge.close()


def test_syncing_makes_the_log_durable(edge: EdgeClient, synced: set[int]) -> None:
    edge.create_collection("c", vectors_config=PARAMS)
    edge.upsert("c", [point(1)])
    synced.clear()
    edge.sync("c")
    log = edge._store.get("c").shard / "wal"
    assert {path.stat().st_ino for path in (log, *log.iterdir())} <= synced
