"""Turns what the caller gave (`docs/`, several paths, `Document` objects) into the items of a run and what has to be deleted.

Everything that can be refused is refused here, before anything is written.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from qwen3_rag.catalog import DocumentState
from qwen3_rag.errors import ConfigurationError
from qwen3_rag.ingestion.items import Item
from qwen3_rag.ingestion.report import Action, Outcome
from qwen3_rag.ingestion.sync import below, check_deletions, disappeared
from qwen3_rag.settings import SourceSettings
from qwen3_rag.sources import Skipped, SourceFile, discover
from qwen3_rag.types import Document

Sources = str | Path | Document | Iterable[str | Path | Document]
"""What can be ingested: a file, a folder, several of them, or documents."""

Lookup = Callable[[Iterable[str] | None], Mapping[str, DocumentState]]
"""What the catalog knows of the documents with these ids, or of all."""


@dataclass(frozen=True, slots=True)
class Selection:
    """The items of a run in order, how many there are (None: not known before the end), ids to delete, and files left out.

    `folders` were listed, `present` are the ids of all that was seen in them, `unlisted` the folders below that could not be. `paths` is
    what was given, for the record. `states` is what the catalog knows of the items; None: it is to be looked up as they come by.
    """

    items: Iterable[Item]
    total: int | None
    deletions: tuple[str, ...] = ()
    skipped: tuple[Outcome, ...] = ()
    folders: tuple[Path, ...] = ()
    present: frozenset[str] = frozenset()
    unlisted: tuple[Path, ...] = ()
    paths: tuple[str, ...] = ()
    states: Mapping[str, DocumentState] | None = None


def select(sources: Sources, look_up: Lookup, settings: SourceSettings, max_delete_share: float) -> Selection:
    """Find out what a run is about.

    Raises:
        SourceUnavailableError: a path does not exist.
        MassDeletionError: a folder lost suspiciously many documents.
        ConfigurationError: paths and documents are mixed, or something else was given.
    """
    if isinstance(sources, (str, Path)):
        return _select_paths([_path(sources)], look_up, settings, max_delete_share)
    if isinstance(sources, Document):
        sources = [sources]
    if not isinstance(sources, Iterable):
        raise _unexpected(sources)
    given = iter(sources)
    first = next(given, None)
    if first is None:
        return Selection((), 0)
    everything = chain([first], given)
    if isinstance(first, Document):
        return Selection(_documents(everything), len(sources) if isinstance(sources, (list, tuple)) else None)
    return _select_paths([_path(item) for item in everything], look_up, settings, max_delete_share)


def _select_paths(paths: list[Path], look_up: Lookup, settings: SourceSettings, max_delete_share: float) -> Selection:
    listed = list(discover(paths, settings))
    files = {item.document_id: item for item in listed if isinstance(item, SourceFile)}
    skipped = [item for item in listed if isinstance(item, Skipped)]
    emptied = {item.document_id for item in skipped if _is_empty(item)}
    present = (frozenset(files) | {item.document_id for item in skipped}) - emptied
    unlisted = tuple(item.path for item in skipped if item.is_folder)
    folders = tuple(path.expanduser().resolve() for path in paths if path.expanduser().is_dir())
    states = look_up(None if folders else {item.document_id for item in listed})
    known = [key for key, state in states.items() if state.root is not None]
    deletions: set[str] = set()
    for folder in folders:
        gone = [key for key in disappeared(known, folder, present, unlisted) if key in emptied or not _is_file(key)]
        check_deletions(folder, gone, len(below(known, folder)), len(below(present, folder)), max_delete_share)
        deletions.update(gone)
    return Selection(
        tuple(files.values()),
        len(files),
        deletions=tuple(sorted(deletions)),
        skipped=tuple(_skip(item, known=item.document_id in states and item.document_id not in deletions) for item in skipped),
        folders=folders,
        present=present,
        unlisted=unlisted,
        paths=tuple(str(path) for path in paths),
        states=states,
    )


def _is_file(key: str) -> bool:
    """Whether something is there, readable or not, that may be the file it was: no folder."""
    return os.path.lexists(key) and not Path(key).is_dir()


def _is_empty(item: Skipped) -> bool:
    """Whether a file was emptied, rather than being unreadable just now: then its former text must not be found any more."""
    try:
        return not item.is_folder and item.path.stat().st_size == 0
    except OSError:
        return False


def _skip(item: Skipped, *, known: bool) -> Outcome:
    reason = f"{item.reason}; the version ingested before stays" if known else item.reason
    return Outcome(item.document_id, Action.SKIPPED, stage="read", reason=reason)


def _documents(items: Iterable[str | Path | Document]) -> Iterator[Document]:
    for item in items:
        if not isinstance(item, Document):
            raise ConfigurationError(f"Documents and paths cannot be mixed in one call: {item!r}. Ingest them in two calls.")
        if not isinstance(item.id, str):
            raise ConfigurationError(f"The id of a Document is a string, not {item.id!r}. Write Document(id=str(…), …).")
        yield item


def _path(item: str | Path | Document) -> Path:
    if item == "":
        raise ConfigurationError("A path is empty. The working folder is written as '.'; perhaps a shell variable is not set.")
    if isinstance(item, (str, Path)):
        return Path(item)
    raise _unexpected(item)


def _unexpected(item: object) -> ConfigurationError:
    return ConfigurationError(f"A path or a Document was expected, or several of them, not {item!r}.")
