"""Which points a search must leave out while a batch is being written, so that it meets each document's old or new version, never both."""

from __future__ import annotations

from collections.abc import Iterable


class Visibility:
    """Points in the store that the catalog does not serve: new ones before their version is current, old ones after.

    The writer replaces the whole set at once; searches in other threads of this process read it. Other processes do not see it: on a
    server, their searches may meet both versions for as long as one batch takes.
    """

    def __init__(self) -> None:
        self.hidden: frozenset[str] = frozenset()

    def hide(self, point_ids: Iterable[str]) -> None:
        """Hide exactly these points."""
        self.hidden = frozenset(point_ids)
