"""Ordinary English for counting tokens and finding principal directions: Debian package descriptions and WordNet definitions.

Both come from the Debian archive through apt, into a folder of their own: no root, and the system's own package lists stay as they are.
Nothing here knows of an evaluation set.
"""

from __future__ import annotations

import random
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

from qwen3_rag.errors import SourceUnavailableError

RELEASE = "bookworm"
MIRROR = "http://deb.debian.org/debian"
KEYRING = "/usr/share/keyrings/debian-archive-keyring.gpg"

_DESCRIPTION = re.compile(r"^Description-en: (.+(?:\n .*)*)", re.MULTILINE)


def english_texts(folder: Path, per_source: int, seed: int) -> list[str]:
    """`per_source` package descriptions, then as many definitions, drawn without repetition. Downloads land in `folder`.

    Raises:
        SourceUnavailableError: apt is not there or the archive cannot be reached.
    """
    _download(folder)
    generator = random.Random(seed)
    index = _run("/usr/lib/apt/apt-helper", "cat-file", str(_one(folder / "lists", "*Translation-en*")), folder=folder)
    wordnet = folder / "wordnet/usr/share/wordnet"
    data = "".join((wordnet / f"data.{part_of_speech}").read_text(encoding="utf-8") for part_of_speech in ("adj", "adv", "noun", "verb"))
    sources = (package_descriptions(index), definitions(data))
    return [text for source in sources for text in generator.sample(sorted(set(source)), per_source)]


def _download(folder: Path) -> None:
    for part in ("lists/partial", "cache/archives/partial"):
        (folder / part).mkdir(parents=True, exist_ok=True)
    (folder / "status").touch()
    (folder / "sources.list").write_text(f"deb [signed-by={KEYRING}] {MIRROR} {RELEASE} main\n", encoding="ascii")
    (folder / "apt.conf").write_text(
        f'Dir::State::lists "{folder}/lists/";\nDir::State::status "{folder}/status";\nDir::Cache "{folder}/cache/";\n'
        f'Dir::Etc::sourcelist "{folder}/sources.list";\nDir::Etc::sourceparts "/dev/null";\nDir::Etc::preferencesparts "/dev/null";\n'
        'Acquire::Languages "en";\nAPT::Architecture "amd64";\nAPT::Architectures { "amd64"; };\nAPT::Sandbox::User "";\n',
        encoding="utf-8",
    )
    _run("apt-get", "-c", "apt.conf", "update", folder=folder)
    _run("apt-get", "-c", "apt.conf", "download", "wordnet-base", folder=folder)
    _run("dpkg-deb", "-x", _one(folder, "wordnet-base_*.deb").name, "wordnet", folder=folder)


def package_descriptions(index: str) -> Iterator[str]:
    """Summary and long description of each package of a Translation index; lines that the archive wrapped are joined again."""
    for match in _DESCRIPTION.finditer(index):
        lines = [line.strip() for line in match[1].split("\n")]
        yield "\n\n".join(" ".join(paragraph.split("\n")) for paragraph in "\n".join(lines).split("\n.\n"))


def definitions(data: str) -> Iterator[str]:
    """`word, word: definition; "example"` of each synset of a WordNet data file. The line format is described in wndb(5WN)."""
    for line in data.splitlines():
        if line.startswith("  "):  # the licence
            continue
        fields, definition = line.split(" | ", 1)
        yield f"{', '.join(_words(fields.split()))}: {definition.strip()}"


def _words(fields: list[str]) -> list[str]:
    count = int(fields[3], 16)
    return [word.split("(")[0].replace("_", " ") for word in fields[4 : 4 + 2 * count : 2]]


def _one(folder: Path, pattern: str) -> Path:
    found = sorted(folder.glob(pattern))
    if not found:
        raise SourceUnavailableError(f"apt left no {pattern} in {folder}. Is {MIRROR} reachable?")
    return found[-1]


def _run(*command: str, folder: Path) -> str:
    try:
        done = subprocess.run(command, cwd=folder, check=True, capture_output=True, encoding="utf-8")
    except FileNotFoundError:
        raise SourceUnavailableError(f"{command[0]} is not installed: the nano checkpoint is built on Debian or a relative of it") from None
    except subprocess.CalledProcessError as error:
        raise SourceUnavailableError(f"{' '.join(command)} failed in {folder}: {error.stderr.strip()}") from error
    return done.stdout
