"""What a forked child must let go of: locks and pipes that belong to its parent.

A child that kept them would hold the folder after its parent has ended, and keep the engine process waiting.
"""

from __future__ import annotations

import os
from typing import Protocol
from weakref import WeakSet


class Forgettable(Protocol):
    """Something with descriptors to close in a forked child."""

    def abandon(self) -> None:
        """Closes them, and nothing else."""


_REGISTERED: WeakSet[Forgettable] = WeakSet()


def forget_after_fork(holder: Forgettable) -> None:
    """Has `holder.abandon()` called in every child forked from now on, while the holder lives."""
    _REGISTERED.add(holder)


def _abandon_all() -> None:
    for holder in list(_REGISTERED):
        holder.abandon()
    _REGISTERED.clear()


os.register_at_fork(after_in_child=_abandon_all)
