"""One event loop in a thread of its own, so that the same coroutine serves threads and tasks. Knows nothing of what it runs."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from concurrent.futures import CancelledError, Future
from typing import Any, Generic, TypeVar

from qwen3_rag.errors import ConfigurationError

T = TypeVar("T")

_CLOSE_SECONDS = 5.0


class LoopThread:
    """Runs coroutines for callers of both kinds. The thread starts with the first of them and ends with `close`, or with this object."""

    def __init__(self, owner: str) -> None:
        self._owner = owner
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._closers: list[Callable[[], Awaitable[None]]] = []
        self._stop: Callable[[], object] | None = None
        self._is_closed = False

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Wait for the result in this thread; an interrupt cancels the work.

        Raises:
            ConfigurationError: it was closed, before or meanwhile.
        """
        future = self._submit(coroutine)
        try:
            return future.result()
        except CancelledError:
            if self._is_closed:
                raise self._closed() from None
            raise
        except BaseException:
            future.cancel()
            raise

    async def arun(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Await the result in the caller's own loop; cancelling the caller cancels the work. Raises as `run`."""
        try:
            return await asyncio.wrap_future(self._submit(coroutine))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._is_closed and (task is None or not task.cancelling()):
                raise self._closed() from None
            raise

    def on_close(self, closer: Callable[[], Awaitable[None]]) -> None:
        """Await `closer` in the loop before it ends."""
        self._closers.append(closer)

    def close(self) -> None:
        """Cancel what runs, call the closers, end the thread. Safe to repeat."""
        with self._lock:
            self._is_closed = True
        if self._stop is not None:
            self._stop()

    def _closed(self) -> ConfigurationError:
        return ConfigurationError(f"This {self._owner} was closed and answers no more. Make a new one.")

    def _submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        with self._lock:
            if self._is_closed:
                coroutine.close()
                raise self._closed()
            if self._loop is None:
                self._loop = self._start()
            return asyncio.run_coroutine_threadsafe(coroutine, self._loop)

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_forever, daemon=True, name=f"qwen3-rag-{self._owner}")
        thread.start()
        # The thread and the finalizer must not hold this object, or it would never be collected.
        self._stop = weakref.finalize(self, _stop, loop, thread, self._closers)
        return loop


class Once(Generic[T]):
    """The result of something done once, in one event loop. Others wait for it meanwhile; after a failure the next one tries again."""

    def __init__(self, work: Callable[[], Coroutine[Any, Any, T]]) -> None:
        self._work = work
        self._task: asyncio.Task[T] | None = None

    async def get(self) -> T:
        """The result; one who is cancelled leaves the work to the others."""
        if self._task is None or (self._task.done() and _failed(self._task)):
            self._task = asyncio.ensure_future(self._work())
            self._task.add_done_callback(_failed)  # looked at even where nobody waits any more
        return await asyncio.shield(self._task)


def _failed(task: asyncio.Task[Any]) -> bool:
    return task.cancelled() or task.exception() is not None


def _stop(loop: asyncio.AbstractEventLoop, thread: threading.Thread, closers: list[Callable[[], Awaitable[None]]]) -> None:
    if not thread.is_alive() or thread is threading.current_thread():
        return
    future = asyncio.run_coroutine_threadsafe(_wind_up(closers), loop)
    try:
        future.result(_CLOSE_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(_CLOSE_SECONDS)
        if not loop.is_running():
            loop.close()


async def _wind_up(closers: list[Callable[[], Awaitable[None]]]) -> None:
    others = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
    for task in others:
        task.cancel()
    await asyncio.gather(*others, return_exceptions=True)
    for closer in closers:
        await closer()
