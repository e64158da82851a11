"""Lists the files of the given paths that are documents, in a fixed order, and says what was left out and why.

It looks at names, sizes and, where the name says nothing, at the first bytes. It parses nothing and knows no catalog.

What is left out without a word: hidden files and folders, `__pycache__`, `node_modules`, what a `.gitignore` ignores, and what the include
and exclude globs rule out. A file that is given by itself is taken whatever its name and whatever ignores it.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from qwen3_rag.errors import SourceUnavailableError
from qwen3_rag.settings import SourceSettings
from qwen3_rag.sources.formats import SNIFF_BYTES, binary_kind, format_by_name, format_of, too_large
from qwen3_rag.sources.ignoring import Globs, IgnoreRules, is_hidden


@dataclass(frozen=True, slots=True)
class SourceFile:
    """A file to ingest. `root` is the folder it was found in, None for a file given by itself; `size` is in bytes.

    `path` is absolute: the resolved folder that was given, then the names below it. A link inside a folder keeps its own name, so
    that it comes and goes with that folder.
    """

    path: Path
    root: Path | None
    size: int

    @property
    def document_id(self) -> str:
        """Absolute POSIX path."""
        return self.path.as_posix()

    @property
    def source(self) -> str:
        """Where people find it: the path again."""
        return self.document_id

    @property
    def relative(self) -> str:
        """POSIX path below `root`, or the bare name."""
        return self.path.relative_to(self.root).as_posix() if self.root else self.path.name


@dataclass(frozen=True, slots=True)
class Skipped:
    """A path that was not taken, and why. With `is_folder` the folder could not be listed, so nothing is known about what is in it."""

    path: Path
    reason: str
    is_folder: bool = False

    @property
    def document_id(self) -> str:
        r"""Absolute POSIX path, bytes that are no UTF-8 written as `\xNN`."""
        return os.fsencode(self.path.as_posix()).decode("utf-8", "backslashreplace")


def discover(paths: str | Path | Iterable[str | Path], settings: SourceSettings) -> Iterator[SourceFile | Skipped]:
    """Find the documents of files and folders, each once, sorted within each path.

    `.gitignore` files are respected inside a folder and above it up to the root of its repository, nested ones included. Links to
    files and folders are followed; a link to something that is listed under its own name anyway is not listed again.

    Raises:
        SourceUnavailableError: a given path does not exist or cannot be listed. It is raised by the call itself, before anything is found.
        ConfigurationError: an include or exclude glob is not valid.
    """
    given = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    resolved = [_reach(path) for path in given]
    return _discover(resolved, settings, Globs(settings))


def _discover(paths: list[Path], settings: SourceSettings, globs: Globs) -> Iterator[SourceFile | Skipped]:
    seen: set[Path] = set()
    for path in paths:
        found = _Walk(path, globs).run() if path.is_dir() else [_Entry(path, None)]
        for entry in found:
            if entry.path not in seen:
                seen.add(entry.path)
                yield _inspect(entry, settings)


def _reach(path: Path) -> Path:
    """Resolve a path that the user gave: a folder fully, of a file its folder, so that a link keeps its name."""
    try:
        absolute = path.expanduser().absolute()
        if absolute.is_dir():
            folder = absolute.resolve(strict=True)
            with os.scandir(folder):
                return folder
        absolute.stat()
        return absolute.parent.resolve(strict=True) / absolute.name
    except (OSError, RuntimeError, ValueError) as error:
        raise SourceUnavailableError(
            f"{path} cannot be reached: {_why(error)}. Nothing was changed. Check the path, that the drive is mounted, and its permissions."
        ) from error


@dataclass(frozen=True, slots=True)
class _Entry:
    path: Path
    root: Path | None
    trouble: str | None = None
    is_folder: bool = False


@dataclass
class _Walk:
    """One folder. Links wait until everything with a name of its own is listed, so that the outcome does not depend on the order."""

    root: Path
    globs: Globs
    entries: list[_Entry] = field(default_factory=list)
    linked_files: list[Path] = field(default_factory=list)
    linked_folders: list[tuple[Path, IgnoreRules]] = field(default_factory=list)
    known: set[tuple[int, int]] = field(default_factory=set)

    def run(self) -> list[_Entry]:
        """Everything found, sorted by path."""
        self.known.update(_identity(folder) for folder in self.root.parents)
        self._folders([(self.root, IgnoreRules.above(self.root))])
        while self.linked_folders:
            waiting, self.linked_folders = sorted(self.linked_folders, key=lambda item: item[0]), []
            for folder in waiting:
                self._folders([folder])
        for path in sorted(self.linked_files):
            self._linked_file(path)
        return sorted(self.entries, key=lambda entry: entry.path)

    def _folders(self, stack: list[tuple[Path, IgnoreRules]]) -> None:
        """List folders depth first; a folder already listed, by whatever name, is passed over, which also ends every link loop."""
        while stack:
            folder, rules = stack.pop()
            try:
                identity = _identity(folder)
                if identity in self.known:
                    continue
                self.known.add(identity)
                with os.scandir(folder) as listing:
                    items = sorted(listing, key=lambda item: item.name)
            except OSError as error:
                self._trouble(folder, f"this folder cannot be listed: {_why(error)}; check its permissions", is_folder=True)
                continue
            inner = rules.entering(folder)
            for item in items:
                self._item(item, inner, stack)

    def _item(self, item: os.DirEntry[str], rules: IgnoreRules, stack: list[tuple[Path, IgnoreRules]]) -> None:
        path = Path(item.path)
        relative = path.relative_to(self.root).as_posix()
        try:
            is_folder, is_link = item.is_dir(), item.is_symlink()
        except OSError as error:
            self._trouble(path, f"cannot be reached: {_why(error)}", is_folder=True)
            return
        if is_hidden(item.name) or rules.ignores(path, is_folder=is_folder):
            return
        if is_folder:
            if not self.globs.prunes(relative):
                (self.linked_folders if is_link else stack).append((path, rules))
        elif self.globs.wants(relative):
            if is_link:
                self.linked_files.append(path)
            else:
                self._file(path)

    def _linked_file(self, path: Path) -> None:
        try:
            if _identity(path) not in self.known:
                self._file(path)
        except OSError as error:
            self._trouble(path, f"this link leads nowhere: {_why(error)}")

    def _file(self, path: Path) -> None:
        """Add a file. Hard links share an identity and are different documents all the same, so only links ask for it."""
        try:
            self.known.add(_identity(path))
        except OSError as error:
            self._trouble(path, f"cannot be reached: {_why(error)}")
        else:
            self.entries.append(_Entry(path, self.root))

    def _trouble(self, path: Path, reason: str, *, is_folder: bool = False) -> None:
        self.entries.append(_Entry(path, self.root, reason, is_folder))


def _inspect(entry: _Entry, settings: SourceSettings) -> SourceFile | Skipped:
    """Tell a document from a file that cannot be one, by name, size and, if need be, its first bytes."""
    reason = entry.trouble
    size = 0
    if reason is None:
        try:
            status = entry.path.stat()
            size = status.st_size
            reason = _refusal(entry.path, status, settings)
        except OSError as error:
            reason = f"cannot be read: {_why(error)}; check its permissions"
    if reason is not None:
        return Skipped(entry.path, reason, entry.is_folder)
    return SourceFile(entry.path, entry.root, size)


def _refusal(path: Path, status: os.stat_result, settings: SourceSettings) -> str | None:
    if not _is_utf8(path):
        return "its name is not valid UTF-8; rename it"
    if not stat.S_ISREG(status.st_mode):
        return "is not a regular file"
    if status.st_size == 0:
        return "is empty"
    if status.st_size > settings.max_bytes:
        return too_large(status.st_size, settings.max_bytes)
    if format_by_name(path) is not None:
        return None
    with path.open("rb") as stream:
        start = stream.read(SNIFF_BYTES)
    return None if format_of(path, start) else f"is {binary_kind(start) or 'binary data'}, which no reader knows"


def _is_utf8(path: Path) -> bool:
    try:
        path.as_posix().encode()
    except UnicodeEncodeError:
        return False
    return True


def _identity(path: Path) -> tuple[int, int]:
    status = path.stat()
    return status.st_dev, status.st_ino


def _why(error: BaseException) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__
