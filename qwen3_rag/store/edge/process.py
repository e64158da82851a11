"""The engine process as its owner sees it: start, call, close, and what its errors mean.

Why a process: every call into `qdrant_edge` holds Python's global lock for its whole length, an index build for minutes; and a full disk
or a bug in the engine kills the process it runs in. Here neither happens to the user's process. A round trip costs about 0.1 ms.
"""

from __future__ import annotations

import os
import pickle
import re
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping
from contextlib import suppress
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any

from qwen3_rag.errors import CollectionError, StoreError
from qwen3_rag.store.edge import files, forks

BACKGROUND = "--background"
_CLOSE_SECONDS = 60.0
_START_HINT = "The embedded engine runs as `python -m qwen3_rag.store.edge.engine`"
_INTERNAL = re.compile(r"Service (runtime|internal) error|No space left|panic|IO error|I/O error", re.IGNORECASE)


class EngineEndedError(StoreError):
    """The engine process is gone. `retired` says that this was meant: another one serves the collection now."""

    def __init__(self, message: str, *, retired: bool = False) -> None:
        super().__init__(message)
        self.retired = retired


class EngineProcess:
    """One shard, open in a process of its own. Calls from several threads take turns.

    `lock` is a descriptor that the process keeps open (the folder's lock). `background` lowers its priority and ends it with its owner.

    Raises:
        StoreError: the process cannot be started or the shard cannot be opened.
    """

    def __init__(self, shard: Path, config: Mapping[str, Any], *, create: bool = False, lock: int = -1, background: bool = False) -> None:
        self._shard = shard
        self._turn = threading.Lock()
        self._retired = False
        self._process = _start(shard.parent, lock, background)
        forks.forget_after_fork(self)
        try:
            self.call("open", path=str(shard), config=config, create=create)
        except BaseException:
            self.kill()
            raise

    @property
    def alive(self) -> bool:
        """Whether it can still be called."""
        return not self._retired and self._process.poll() is None

    def call(self, method: str, **arguments: Any) -> Any:
        """Runs a method of `engine.shard.Shard`.

        Raises:
            CollectionError: the request does not fit the collection.
            StoreError: the engine failed.
            EngineEndedError: its process is gone.
        """
        return self.send(pack(method, **arguments))

    def send(self, message: bytes) -> Any:
        """Like `call`, for a message made by `pack`."""
        with self._turn:
            if self._retired:
                raise EngineEndedError("The collection moved to another engine process", retired=True)
            try:
                outcome, value = self._exchange(message)
            except (OSError, EOFError, struct.error, ValueError) as error:
                raise self._ended() from error
            except BaseException:  # interrupted between request and answer: the pipes are out of step from here on
                self._stop()
                raise
        if outcome == "value":
            return value
        raise self._failure(outcome, *value)

    def close(self) -> None:
        """Flushes, closes the shard and ends the process."""
        with self._turn:
            if self._retired:
                return
            self._retired = True
            try:
                self._exchange(pack("close"))
                self._process.wait(_CLOSE_SECONDS)
            except (OSError, EOFError, struct.error, ValueError, subprocess.TimeoutExpired):
                pass  # what was acknowledged is in the engine's log
            finally:
                self._stop()

    def retire(self) -> None:
        """Ends the process after the call that it is at; later calls are told to go elsewhere. Nothing is flushed."""
        with self._turn:
            self._retired = True
            self._stop()

    def kill(self) -> None:
        """Ends the process at once, also in the middle of a call."""
        self._retired = True
        self._process.kill()
        if self._turn.acquire(timeout=_CLOSE_SECONDS):
            try:
                self._stop()
            finally:
                self._turn.release()

    def abandon(self) -> None:
        """In a forked child: closes the pipes only."""
        self._retired = True
        for stream in (self._process.stdin, self._process.stdout):
            if isinstance(stream, (BufferedReader, BufferedWriter)):
                stream.raw.close()  # not `stream.close()`, which would send what the parent is about to send
        self._process.returncode = 0  # the process is the parent's, not this one's to wait for

    def _exchange(self, message: bytes) -> tuple[str, Any]:
        writer, reader = self._process.stdin, self._process.stdout
        if writer is None or reader is None:
            raise EOFError
        writer.write(struct.pack(">Q", len(message)) + message)
        writer.flush()
        size = struct.unpack(">Q", reader.read(8))[0]
        body = reader.read(size)
        if len(body) < size:
            raise EOFError
        outcome: tuple[str, Any] = pickle.loads(body)
        return outcome

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(OSError):  # unsent bytes for a process that is gone
                    stream.close()

    def _ended(self) -> StoreError:
        self._stop()
        if self._retired:
            return EngineEndedError("The collection moved to another engine process", retired=True)
        if files.free_bytes(self._shard.parent) < files.RESERVE_BYTES:
            return files.full(self._shard.parent)
        code = self._process.returncode
        how = f"by signal {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
        return EngineEndedError(
            f"The engine process of {self._shard.parent} ended {how}. What was acknowledged is kept; the next call starts it again. "
            f"See {self._shard.parent.parent.parent / LOG_FILE}. {_START_HINT}."
        )

    def _failure(self, outcome: str, kind: str, message: str) -> Exception:
        if kind == "NotImplementedError":
            return NotImplementedError(
                f"{message} is not offered by the embedded engine: use a Qdrant server (set `url` or QWEN3_RAG_URL)."
            )
        if "No space left" in message:
            return files.full(self._shard.parent)
        if outcome == "panic" or _INTERNAL.search(message):
            return StoreError(f"The embedded engine failed in {self._shard.parent}: {message}")
        return CollectionError(f"The request does not fit the collection: {message}")


LOG_FILE = "engine.log"


def pack(method: str, **arguments: Any) -> bytes:
    """A message for `EngineProcess.send`."""
    return pickle.dumps((method, arguments), protocol=5)


def _start(folder: Path, lock: int, background: bool) -> subprocess.Popen[bytes]:
    import qwen3_rag

    root = str(Path(qwen3_rag.__file__).parents[1])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([root, *filter(None, sys.path)]), "RUST_BACKTRACE": "0"}
    command = [sys.executable, "-P", "-S", "-m", "qwen3_rag.store.edge.engine", *([BACKGROUND] if background else [])]
    log = folder.parent.parent / LOG_FILE
    try:
        with log.open("ab") as errors:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                pass_fds=() if lock < 0 else (lock,),
                start_new_session=True,
            )
    except OSError as error:
        raise StoreError(f"Cannot start the engine process for {folder}: {error}. {_START_HINT}.") from error
