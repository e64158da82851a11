"""Decides which known documents of an ingested folder have disappeared, and refuses to delete suspiciously many.

It knows paths and document ids only, not the database or the store.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from pathlib import Path

from qwen3_rag.errors import MassDeletionError

SMALL = 10
"""Below so many disappeared documents only a folder left with none at all is suspicious, unless no share may be deleted."""


def disappeared(known: Iterable[str], folder: Path, found: Collection[str], unlisted: Iterable[Path] = ()) -> list[str]:
    """Ids of known documents below `folder` that were not found there, leaving out what lies below folders that could not be listed.

    Document ids of files are absolute POSIX paths.
    """
    hidden = tuple(_prefix(path) for path in unlisted)
    return sorted(key for key in below(known, folder) if key not in found and not key.startswith(hidden))


def below(ids: Iterable[str], folder: Path) -> list[str]:
    """The ids that are paths below `folder`."""
    prefix = _prefix(folder)
    return [key for key in ids if key.startswith(prefix)]


def check_deletions(folder: Path, gone: Collection[str], known_below: int, found: int, max_share: float) -> None:
    """Refuse a sync that looks as if the folder were unreachable rather than emptied.

    Raises:
        MassDeletionError: nothing is left in the folder, or more than `max_share` of the known documents, `SMALL` at least, are gone. With
            a share of 0, any is too many.
    """
    if not gone or max_share >= 1:
        return
    emptied = found == 0
    if emptied or (len(gone) > max_share * known_below and (len(gone) >= SMALL or max_share == 0)):
        raise MassDeletionError(
            f"{len(gone)} of {known_below} documents of {folder} are gone{', and nothing else is there' if emptied else ''}."
            " Nothing was changed. If the folder is a mount or a checkout, see that it is complete. "
            "If the documents are to go, say so: --max-delete-share 1 (Python: Settings(max_delete_share=1))."
        )


def _prefix(folder: Path) -> str:
    return folder.as_posix().rstrip("/") + "/"
