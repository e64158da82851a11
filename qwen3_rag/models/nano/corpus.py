"""Ordinary English for counting tokens and finding principal directions: Debian package descriptions and WordNet definitions.

Both come from the Debian archive. Nothing here knows of an evaluation set.
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path

from qwen3_rag.models.nano.debian import DebianArchive

_DESCRIPTION = re.compile(r"^Description-en: (.+(?:\n .*)*)", re.MULTILINE)


def english_texts(folder: Path, per_source: int, seed: int) -> list[str]:
    """`per_source` package descriptions, then as many definitions, drawn without repetition. Downloads land in `folder`.

    Raises:
        SourceUnavailableError: apt is not there or the archive cannot be reached.
    """
    archive = DebianArchive(folder)
    generator = random.Random(seed)
    sources = (package_descriptions(archive.descriptions()), definitions(wordnet_data(archive)))
    return [text for source in sources for text in generator.sample(sorted(set(source)), per_source)]


def wordnet_data(archive: DebianArchive) -> str:
    """The lines of WordNet's four data files; errors as of `english_texts`."""
    folder = archive.unpacked("wordnet-base") / "usr/share/wordnet"
    return "".join((folder / f"data.{part_of_speech}").read_text(encoding="utf-8") for part_of_speech in ("adj", "adv", "noun", "verb"))


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
