"""The engine process: reads requests from standard input, answers on standard output, ends when its input ends.

A message is its length (8 bytes, big-endian) and a pickle: `(method, arguments)` in, `(outcome, value)` out. The pipes are private to
the process that started this one. The first request opens the shard.
"""

from __future__ import annotations

import ctypes
import os
import pickle
import signal
import struct
import sys
from typing import Any, BinaryIO

from qwen3_rag.store.edge.engine.shard import Shard

BACKGROUND = "--background"
BACKGROUND_NICENESS = 10
PR_SET_PDEATHSIG = 1  # linux/prctl.h
_METHODS = frozenset({"update", "query", "retrieve", "scroll", "count", "facet", "info", "unindexed", "flush", "optimize", "close"})


def main() -> None:
    """Serves one shard until the pipe closes or `close` was asked for."""
    if BACKGROUND in sys.argv:
        _serve_in_background()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the process that owns this one; it will close the pipe
    requests = os.fdopen(os.dup(0), "rb")
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever the engine prints must not end up among the answers
    shard: Shard | None = None
    while (message := _receive(requests)) is not None:
        method, arguments = message
        if shard is not None and method not in _METHODS:
            _send(answers, ("error", ("NotImplementedError", method)))
            continue
        try:
            if shard is None:
                shard = Shard(**arguments)
                value: Any = None
            else:
                value = getattr(shard, method)(**arguments)
        except Exception as error:  # noqa: BLE001 - the engine raises plain Exception; the other side decides what it means
            _send(answers, ("error", (type(error).__name__, str(error))))
        except BaseException as error:  # noqa: BLE001 - a panic in the engine: its state is unknown from here on
            _send(answers, ("panic", (type(error).__name__, str(error))))
            os._exit(70)
        else:
            _send(answers, ("value", value))
        if method == "close":
            return
    if shard is not None:
        shard.close()


def _serve_in_background() -> None:
    os.nice(BACKGROUND_NICENESS)
    if sys.platform == "linux":  # deaf while it builds, so its owner's end must end it
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def _receive(stream: BinaryIO) -> Any:
    header = stream.read(8)
    if len(header) < 8:
        return None
    size = struct.unpack(">Q", header)[0]
    body = stream.read(size)
    return pickle.loads(body) if len(body) == size else None


def _send(stream: BinaryIO, message: Any) -> None:
    body = pickle.dumps(message, protocol=5)
    try:
        stream.write(struct.pack(">Q", len(body)) + body)
        stream.flush()
    except BrokenPipeError:
        sys.exit(0)


if __name__ == "__main__":
    main()
