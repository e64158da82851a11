"""Texts of a small network divided among threads of one core each, in place of threads that share every matrix product.

A product of a small network is over in a millisecond. Threads that share it wait for each other at its end, for the slowest: one that
other work kept from its core holds up all. With texts of their own they wait for each other once a batch. Large products gain nothing.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import Future, wait
from queue import SimpleQueue
from typing import Any, TypeVar

import torch
from transformers import Qwen3Config

from qwen3_rag.models.packing import Item

MOST = 8
"""Threads wait for Python too, which runs in one of them at a time."""
_SMALL = 4_000_000
"""Weights of a layer that is small; nano's has 0.9 million and gains a sixth, that of the 0.6B pair has 15.7 million and gains nothing."""
_LEAST_TOKENS = 512
"""On an idle machine so many are even, twice as many gain a seventh, and half as many lose half to waiting for Python."""
_UNEVEN = 1.25
"""How far above the mean the fullest lane may be: others are idle while it computes."""

Result = TypeVar("Result")
Tasks = SimpleQueue[tuple["Future[Any]", Callable[[], Any]] | None]


def count_lanes(config: Qwen3Config, device: torch.device) -> int:
    """How many lanes a network has on `device`: one for each thread that torch computes with; 1 where none are of use."""
    attention = 2 * (config.num_attention_heads + (config.num_key_value_heads or config.num_attention_heads)) * config.head_dim
    weights = config.hidden_size * (attention + 3 * config.intermediate_size)
    return min(torch.get_num_threads(), MOST) if device.type == "cpu" and weights < _SMALL else 1


def divide(items: Sequence[Item], lanes: int) -> list[list[int]] | None:
    """The items of each lane, by number, with about as many tokens in each; None where one row for all is better."""
    tokens = [len(item.ids) for item in items]
    if lanes < 2 or sum(tokens) < lanes * _LEAST_TOKENS:
        return None
    parts: list[list[int]] = [[] for _ in range(lanes)]
    loads = [0] * lanes
    for index in sorted(range(len(items)), key=lambda index: -tokens[index]):
        emptiest = loads.index(min(loads))
        parts[emptiest].append(index)
        loads[emptiest] += tokens[index]
    return parts if min(loads) and max(loads) * lanes <= _UNEVEN * sum(loads) else None


class Lanes:
    """Threads that begin with the first call and end when this is freed. One thread calls.

    No executor: those of the standard library take no more work once the main thread has ended, while other threads may still go on.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self._tasks: Tasks | None = None
        self._process = os.getpid()

    def run(self, calls: Sequence[Callable[[], Result]]) -> list[Result]:
        """What each of the calls returns, computed with one core each. When all have ended, the error of the first that raised is."""
        if self._process != os.getpid():  # a forked child has none of its parent's threads
            self._tasks, self._process = None, os.getpid()
        tasks = self._tasks = self._tasks or self._start()
        futures: list[Future[Result]] = [Future() for _ in calls]
        for future, call in zip(futures, calls, strict=True):
            tasks.put((future, call))
        wait(futures)
        return [future.result() for future in futures]

    def _start(self) -> Tasks:
        tasks: Tasks = SimpleQueue()
        ready = threading.Barrier(self.count + 1)
        threads = torch.get_num_threads()  # asked first, or a caller that is new to torch would begin with what the lanes set
        for number in range(self.count):
            threading.Thread(target=_work, args=(tasks, ready), name=f"qwen3-rag-lane-{number}", daemon=True).start()
        ready.wait()
        torch.set_num_threads(threads)  # so that other threads that are new to torch do not begin with it either
        weakref.finalize(self, _end, tasks, self.count)
        return tasks


def _work(tasks: Tasks, ready: threading.Barrier) -> None:
    torch.get_num_threads()  # a thread that is new to torch takes the common number at first use, whatever was set for it before
    torch.set_num_threads(1)
    ready.wait()
    while (task := tasks.get()) is not None:
        future, call = task
        try:
            future.set_result(call())
        except BaseException as error:  # noqa: BLE001 - raised again where the result is asked for
            future.set_exception(error)
        del task, future, call  # or the last batch would be kept until the next one


def _end(tasks: Tasks, count: int) -> None:
    for _ in range(count):
        tasks.put(None)
