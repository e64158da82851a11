"""Packages of the Debian archive as folders of files, fetched by apt without root and without touching the system's own package lists.

It needs apt, dpkg-deb and the Debian keyring (`debian-archive-keyring`). It knows nothing of what is in a package.
"""

from __future__ import annotations

import subprocess
from functools import cached_property
from pathlib import Path
from urllib.parse import unquote

from qwen3_rag.errors import SourceUnavailableError

RELEASE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"


class DebianArchive:
    """The archive, seen from one folder. A package that is there already is not fetched again: delete the folder to get newer ones."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder.resolve()

    def descriptions(self) -> str:
        """The index of English package descriptions: paragraphs of `Package:`, `Description-md5:` and `Description-en:`."""
        return _run("/usr/lib/apt/apt-helper", "cat-file", str(_one(self._lists, "*Translation-en*")), folder=self._folder)

    def file(self, package: str) -> Path:
        """The `.deb` file of a package.

        Raises:
            SourceUnavailableError: apt is not there, the archive cannot be reached, or the release has no such package.
        """
        folder = self._folder / "packages" / package
        folder.mkdir(parents=True, exist_ok=True)
        if not any(folder.glob("*.deb")):
            _run("apt-get", "-c", str(self._lists.parent / "apt.conf"), "download", package, folder=folder)
        return _one(folder, "*.deb")

    def unpacked(self, package: str) -> Path:
        """The folder that has the files of a package under their installed paths; errors as of `file`."""
        file = self.file(package)
        _run("dpkg-deb", "-x", file.name, "files", folder=file.parent)
        return file.parent / "files"

    def version(self, package: str) -> str:
        """The version of a package, which apt writes into the name of its file."""
        return unquote(self.file(package).name.split("_")[1])

    @cached_property
    def _lists(self) -> Path:
        """Lists of packages, brought up to date once per archive object."""
        folder = self._folder
        for part in ("lists/partial", "cache/archives/partial"):
            (folder / part).mkdir(parents=True, exist_ok=True)
        (folder / "status").touch()
        (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {RELEASE} main\n", encoding="ascii")
        (folder / "apt.conf").write_text(_configuration(folder), encoding="utf-8")
        _run("apt-get", "-c", "apt.conf", "update", folder=folder)
        return folder / "lists"


def _configuration(folder: Path) -> str:
    return (
        f'Dir::State::lists "{folder}/lists/";\nDir::State::status "{folder}/status";\nDir::Cache "{folder}/cache/";\n'
        f'Dir::Etc::sourcelist "{folder}/sources.list";\nDir::Etc::sourceparts "/dev/null";\nDir::Etc::preferencesparts "/dev/null";\n'
        'Acquire::Languages "en";\nAPT::Architecture "amd64";\nAPT::Architectures { "amd64"; };\nAPT::Sandbox::User "";\n'
    )


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise SourceUnavailableError(f"apt left no {pattern} in {folder}. Is {MIRROR} reachable?")
    return found[-1]


def _run(*command: str, folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        raise SourceUnavailableError(f"{command[0]} is not installed: this runs on Debian or a relative of it") from None
    except subprocess.CalledProcessError as error:
        raise SourceUnavailableError(f"{' '.join(command)} failed in {folder}: {error.stderr.strip()}") from error
    return done.stdout
