"""Cuts many texts into requests that a server takes, sends them side by side, and learns when it takes less. Knows no HTTP."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, TypeVar

from qwen3_rag.errors import RemoteResponseError
from qwen3_rag.models.remote.config import Limits

T = TypeVar("T")


class TooLargeError(RemoteResponseError):
    """The server found the request too large; with fewer texts it may not."""


class Batcher:
    """Batches of one server. Used in one event loop only."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._most = limits.texts
        self._slots = asyncio.Semaphore(limits.concurrency)

    async def run(
        self, sizes: Sequence[int], send: Callable[[Sequence[int]], Awaitable[T]], seconds: float | None = None
    ) -> list[tuple[Sequence[int], T]]:
        """`send` batches of indices into `sizes` (tokens of each text) and return what came for each, in no certain order.

        What is not there after `seconds` is cancelled and left out. The first error cancels the rest and is raised.
        """
        done: list[tuple[Sequence[int], T]] = []
        await finished([self._send(batch, send, done) for batch in self._split(range(len(sizes)), sizes)], seconds)
        return done

    def _split(self, indices: Sequence[int], sizes: Sequence[int]) -> list[Sequence[int]]:
        """Consecutive runs of at most so many texts and tokens; a text that is larger than that goes alone."""
        runs: list[list[int]] = []
        tokens = 0
        for index in indices:
            tokens += sizes[index]
            if not runs or len(runs[-1]) >= self._most or tokens > self._limits.tokens:
                runs.append([])
                tokens = sizes[index]
            runs[-1].append(index)
        return list(runs)

    async def _send(self, batch: Sequence[int], send: Callable[[Sequence[int]], Awaitable[T]], done: list[tuple[Sequence[int], T]]) -> None:
        """Add the batch, or the parts that it had to be cut into, to `done` as they come: what is there at a deadline counts."""
        try:
            async with self._slots:
                if len(batch) <= self._most:  # else it was cut before the server was known to take less
                    done.append((batch, await send(batch)))
                    return
        except TooLargeError:
            if len(batch) == 1:
                raise
            await self._send_parts(batch, len(batch) // 2, send, done)
        else:
            await self._send_parts(batch, self._most, send, done)

    async def _send_parts(
        self, batch: Sequence[int], most: int, send: Callable[[Sequence[int]], Awaitable[T]], done: list[tuple[Sequence[int], T]]
    ) -> None:
        parts = [batch[start : start + most] for start in range(0, len(batch), most)]
        await finished([self._send(part, send, done) for part in parts])
        # Learned only now: where a single text is too large for the server, the number of texts was not what it minded.
        self._most = min(self._most, most)


async def finished(coroutines: Sequence[Coroutine[Any, Any, T]], seconds: float | None = None) -> list[T]:
    """Results of those that end within `seconds`, in order; the others are cancelled. The first error cancels all and is raised."""
    if not coroutines:
        return []
    tasks = [asyncio.ensure_future(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        ended = [task for task in tasks if task.done()]
        failures = [error for task in ended if (error := task.exception()) is not None]
        if failures:
            raise failures[0]
        return [task.result() for task in ended]
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
