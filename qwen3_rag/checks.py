"""What several rooms ask of what a user hands in."""

from __future__ import annotations

from collections.abc import Iterable


def listed(ids: str | Iterable[str]) -> list[str]:
    """Ids in a list. A string is one id: its letters may be ids, too."""
    return [ids] if isinstance(ids, str) else list(ids)


def lone_surrogate(text: str) -> int | None:
    """Where a text is not valid Unicode, so that no tokenizer, database or engine takes it; None where it is."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None
