"""Small files replaced atomically, copies of shard folders, and how much room a disk has. Knows nothing of Qdrant's data."""

from __future__ import annotations

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from qwen3_rag.errors import StoreError, StoreFullError

RESERVE_BYTES = 64 * 1024 * 1024
"""Free space that no write may touch.

The engine writes through memory-mapped sparse files. On a full disk such a write is not refused: the process that makes it is killed
by SIGBUS, and so is every process that opens the shard later. So a write is refused while there is still room for what the engine does
on its own (flushes, its log).
"""

_IMMUTABLE = ("matrix.dat", "quantized.data", "graph.bin", "links.bin", "links_compressed.bin")
"""Files of an indexed segment that the engine writes once; a copy of a shard can share them."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


@contextmanager
def explained(folder: Path, doing: str) -> Iterator[None]:
    """Turns an `OSError` into a `StoreError` that names the folder and what could not be done there.

    Raises:
        StoreFullError: the disk or the quota is full.
        StoreError: anything else that the operating system refused.
    """
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise full(folder) from error
        raise StoreError(
            f"Cannot {doing} the store in {folder}: {error.strerror or error}. "
            "Check that the folder exists, is readable and writable, and that `kb` (or QWEN3_RAG_KB) names the right place."
        ) from error


def full(folder: Path) -> StoreFullError:
    """The error for a disk without room; it says how much there is and what to do."""
    return StoreFullError(
        f"The disk that holds {folder} is full ({free_bytes(folder) >> 20} MiB free; writes stop below {RESERVE_BYTES >> 20} MiB). "
        "Nothing was written and nothing is lost: free some space and try again."
    )


def free_bytes(folder: Path) -> int:
    """Bytes that an ordinary user can still write on the folder's disk."""
    return shutil.disk_usage(folder).free


def require_space(folder: Path, planned: int) -> None:
    """Refuses a write of `planned` bytes that would eat into the reserve.

    Raises:
        StoreFullError: there is not enough room.
    """
    if free_bytes(folder) < RESERVE_BYTES + planned:
        raise full(folder)


def write_json(path: Path, content: Any) -> None:
    """Replaces the file in one step: after a crash it holds either the old content or the new one."""
    temporary = path.with_name(path.name + ".new")
    with temporary.open("w", encoding="utf-8") as file:
        json.dump(content, file, ensure_ascii=False, indent=1)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    sync_folder(path.parent)


def read_json(path: Path) -> Any:
    """The content of a file written by `write_json`.

    Raises:
        StoreError: it cannot be understood.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise StoreError(
            f"{path} is damaged ({error}). Restore it from a backup, or remove the store's folder and ingest again."
        ) from error


def sync_folder(folder: Path) -> None:
    """Makes names created in or removed from a folder durable."""
    _sync(folder)


def sync_tree(folder: Path) -> None:
    """Makes a folder durable with everything in it and its own name. Files that go away meanwhile need not be."""
    for parent, _, names in os.walk(folder):
        for name in names:
            with suppress(FileNotFoundError):
                _sync(Path(parent) / name)
        sync_folder(Path(parent))
    sync_folder(folder.parent)


def copy_shard(source: Path, target: Path) -> None:
    """Copies a flushed shard that nobody writes to. Write-once files are shared by hard links, holes of sparse files stay holes."""
    for folder, _, names in os.walk(source):
        destination = target / Path(folder).relative_to(source)
        destination.mkdir(parents=True, exist_ok=True)
        for name in names:
            original = Path(folder) / name
            if name in _IMMUTABLE:
                _link_or_copy(original, destination / name)
            else:
                _copy_sparse(original, destination / name)


def shard_bytes(folder: Path) -> int:
    """Bytes on disk of a folder; holes do not count."""
    return sum(file.lstat().st_blocks * 512 for file in folder.rglob("*") if file.is_file())


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        target.hardlink_to(source)
    except OSError:  # a file system without hard links
        _copy_sparse(source, target)


def _copy_sparse(source: Path, target: Path) -> None:
    size = source.stat().st_size
    with source.open("rb") as reader, target.open("wb") as writer:
        os.truncate(writer.fileno(), size)
        for start, end in _data_ranges(reader.fileno(), size):
            reader.seek(start)
            writer.seek(start)
            remaining = end - start
            while remaining and (block := reader.read(min(remaining, 1 << 20))):
                writer.write(block)
                remaining -= len(block)


def _data_ranges(descriptor: int, size: int) -> Iterator[tuple[int, int]]:
    """Where a sparse file holds data."""
    end = 0
    while end < size:
        try:
            start = os.lseek(descriptor, end, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:  # only a hole is left
                return
            raise
        end = os.lseek(descriptor, start, os.SEEK_HOLE)
        yield start, end
