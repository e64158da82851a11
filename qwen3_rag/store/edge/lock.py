"""One process at a time per folder.

The lock is `flock` on a file: the kernel gives it back when the process ends, however it ends. The file holds the process id, for the
error that a second process gets. Engine processes inherit the lock, so that a folder is free only when the last of them has ended.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from qwen3_rag.errors import StoreLockedError
from qwen3_rag.store.edge import forks

LOCK_FILE = "LOCK"
_LEFTOVER_SECONDS = 10.0
"""How long to wait for the engine processes of a process that is gone; they end as soon as they notice."""
_POLL_SECONDS = 0.02


class FolderLock:
    """Holds a folder for this process until `release`.

    Raises:
        StoreLockedError: another process holds it; `pid` says which.
        OSError: the lock file cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / LOCK_FILE
        self.descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._acquire(folder)
            os.ftruncate(self.descriptor, 0)
            os.pwrite(self.descriptor, str(os.getpid()).encode(), 0)
        except BaseException:
            os.close(self.descriptor)
            raise
        forks.forget_after_fork(self)

    def release(self) -> None:
        """Gives the folder back."""
        if self.descriptor >= 0:
            os.ftruncate(self.descriptor, 0)
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            self.abandon()

    def abandon(self) -> None:
        """Closes the descriptor only: in a forked child the lock remains the parent's."""
        descriptor, self.descriptor = self.descriptor, -1
        os.close(descriptor)

    def _acquire(self, folder: Path) -> None:
        deadline = time.monotonic() + _LEFTOVER_SECONDS
        while True:
            try:
                fcntl.flock(self.descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = self._holder()
                if (holder is not None and _is_alive(holder)) or time.monotonic() > deadline:
                    raise _locked(folder, holder) from None
                time.sleep(_POLL_SECONDS)
            else:
                return

    def _holder(self) -> int | None:
        text = os.pread(self.descriptor, 32, 0).decode(errors="replace").strip()
        return int(text) if text.isdigit() else None


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _locked(folder: Path, pid: int | None) -> StoreLockedError:
    holder = f"process {pid}" if pid is not None else "another process"
    return StoreLockedError(
        f"The store in {folder} is in use by {holder}. The embedded engine serves one process at a time: end that process, "
        "or run a Qdrant server and set `url` (QWEN3_RAG_URL) to share the data.",
        pid=pid,
    )
