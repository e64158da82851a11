"""What several rooms ask of what a user hands in."""

from __future__ import annotations

from collections.abc import Iterable

from qwen3_rag.errors import ConfigurationError


def listed(ids: str | Iterable[str]) -> list[str]:
    """Ids in a list. A string is one id: its letters may be ids, too.

    Raises:
        ConfigurationError: something else than strings.
    """
    found = list(ids) if isinstance(ids, Iterable) and not isinstance(ids, str) else [ids]
    for each in found:
        if not isinstance(each, str):
            raise ConfigurationError(f"Ids are strings, and {each!r} is none. Give one, or several in a list.")
    return found


def lone_surrogate(text: str) -> int | None:
    """Where a text is not valid Unicode, so that no tokenizer, database or engine takes it; None where it is."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        return error.start
    return None
