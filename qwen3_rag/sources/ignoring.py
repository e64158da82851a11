"""Decides which paths of a folder are candidates: `.gitignore` files and include/exclude globs, all with git's own matching rules.

It matches names only and never looks into a file that is not a `.gitignore`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec
from pathspec.patterns.gitignore import GitIgnorePatternError

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.settings import SourceSettings

ALWAYS_LEFT_OUT = frozenset({"__pycache__", "node_modules"})
"""Folders of generated or foreign files. Hidden files and folders are left out too."""


@dataclass(frozen=True, slots=True)
class _Rules:
    """The patterns of one `.gitignore`, which speak of paths below its folder."""

    folder: Path
    spec: GitIgnoreSpec

    def verdict(self, path: Path, is_folder: bool) -> bool | None:
        """True to ignore, False to keep although an outer file ignores, None when no pattern speaks of the path."""
        name = path.relative_to(self.folder).as_posix()
        return self.spec.check_file(f"{name}/" if is_folder else name).include


class IgnoreRules:
    """The `.gitignore` files that hold for one folder, outermost first."""

    def __init__(self, rules: tuple[_Rules, ...] = ()) -> None:
        self._rules = rules

    @classmethod
    def above(cls, root: Path) -> IgnoreRules:
        """The rules that the repository around `root`, if there is one, has for it.

        A root that is itself ignored was asked for by name, so the rules above it are not applied.
        """
        repository = next((folder for folder in root.parents if (folder / ".git").exists()), None)
        if repository is None or (root / ".git").exists():
            return cls()
        rules = cls()
        for folder in reversed([folder for folder in root.parents if folder.is_relative_to(repository)]):
            rules = rules.entering(folder)
        on_the_way = [path for path in (root, *root.parents) if path.is_relative_to(repository) and path != repository]
        return cls() if any(rules.ignores(path, is_folder=True) for path in on_the_way) else rules

    def entering(self, folder: Path) -> IgnoreRules:
        """These rules and those of `folder/.gitignore`, if it has one that can be read."""
        try:
            lines = (folder / ".gitignore").read_text(encoding="utf-8-sig", errors="replace").splitlines()
        except OSError:
            return self
        return IgnoreRules((*self._rules, _Rules(folder, _lenient_spec(lines))))

    def ignores(self, path: Path, *, is_folder: bool) -> bool:
        """Whether the innermost `.gitignore` that speaks of `path` says to ignore it."""
        for rules in reversed(self._rules):
            if path.is_relative_to(rules.folder) and path != rules.folder:
                verdict = rules.verdict(path, is_folder)
                if verdict is not None:
                    return verdict
        return False


class Globs:
    """The include and exclude globs of the settings, relative to the folder that was given."""

    def __init__(self, settings: SourceSettings) -> None:
        self._include = _strict_spec("include", settings.include)
        self._exclude = _strict_spec("exclude", settings.exclude)
        self._include_all = not settings.include

    def wants(self, relative: str) -> bool:
        """Whether a file with this relative POSIX path is included and not excluded."""
        return (self._include_all or self._include.match_file(relative)) and not self._exclude.match_file(relative)

    def prunes(self, relative: str) -> bool:
        """Whether a whole folder is excluded."""
        return self._exclude.check_file(f"{relative}/").include is True


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is left out before any rule is asked."""
    return name.startswith(".") or name in ALWAYS_LEFT_OUT


def _lenient_spec(lines: Iterable[str]) -> GitIgnoreSpec:
    """Like git, pass over lines that are no valid pattern."""
    valid = []
    for line in lines:
        try:
            GitIgnoreSpec.from_lines([line])
        except GitIgnorePatternError:
            continue
        valid.append(line)
    return GitIgnoreSpec.from_lines(valid)


def _strict_spec(setting: str, globs: tuple[str, ...]) -> GitIgnoreSpec:
    try:
        return GitIgnoreSpec.from_lines(globs)
    except GitIgnorePatternError as error:
        raise ConfigurationError(
            f"{setting}: not a valid glob: {error}. Globs are written as in .gitignore, for example '*.md'."
        ) from error
