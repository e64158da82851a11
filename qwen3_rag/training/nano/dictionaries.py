"""Entries of dictionaries in the dictd format (dictfmt(1)), and what is a definition in those that Debian has.

A dictionary is an index, a line of `headword TAB offset TAB length` with numbers in base 64, and a gzip file that the offsets point into.
Each dictionary writes its entries its own way: a function each turns an entry into its word and a definition on one line, or None where it
has none that could stand alone. It does not know what becomes of them.
"""

from __future__ import annotations

import gzip
import re
from collections.abc import Callable, Iterator
from pathlib import Path

from qwen3_rag.training.nano.prose import flat

_DIGITS = {digit: value for value, digit in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")}
_LINK = re.compile(r"\{([^{}]*)\}", re.DOTALL)
_ADDRESS = re.compile(r"\s*\((?:https?|ftp|mailto|news)[^)]*\)|(?:https?|ftp)://\S+")
_SYNONYMS = re.compile(r"\A(?:\S.*\n)+(?=\n)")
_LONGEST = 600

Definition = tuple[str, str]
"""A word and what it means."""


def dictionary_entries(folder: Path, name: str) -> Iterator[str]:
    """Entries of the dictionary `name`.index and `name`.dict.dz, each once, in the order of the file."""
    index = (folder / f"{name}.index").read_text(encoding="utf-8")
    with gzip.open(folder / f"{name}.dict.dz") as file:
        yield from entries(index, file.read())


def entries(index: str, data: bytes) -> Iterator[str]:
    """Texts that the lines of an index point to; what says something about the dictionary itself is left out."""
    lines = (line.split("\t")[:3] for line in index.splitlines() if line.count("\t") >= 2 and not line.startswith("00"))
    spans = sorted({(_number(offset), _number(length)) for _, offset, length in lines})
    for start, length in spans:
        yield data[start : start + length].decode("utf-8", "replace")


def _number(digits: str) -> int:
    value = 0
    for digit in digits:
        value = value * 64 + _DIGITS[digit]
    return value


def foldoc(entry: str) -> Definition | None:
    """The Free On-line Dictionary of Computing: word, synonyms, empty line, paragraphs with <fields>, {links}, [sources]."""
    word, body = _parted(entry)
    kept = []
    for paragraph in _paragraphs(_SYNONYMS.sub("", body)):
        if re.match(r"[\[(\"]|\{\(|See also\b", paragraph):  # sources, dates, addresses, titles, links
            continue
        kept.append(re.sub(r"^(\d+\.\s+)?(?:/[^/]+/\s+)?(?:<[^<>]+>\s*)+", r"\1", paragraph))
    return _definition(word, re.sub(r"__(.*?)__", r"\1", _unlinked(" ".join(kept))))


def jargon(entry: str) -> Definition | None:
    """The Jargon File: word, a line of pronunciation and grammar, indented paragraphs, tables drawn with lines."""
    word, body = _parted(entry)
    kept = [paragraph for paragraph in _paragraphs(body)[1:] if not re.search("[\u2500-\u257f]", paragraph)]
    return _definition(word, re.sub(r"^\[[^\[\]]*\]\s*", "", _unlinked(" ".join(kept)).replace("\u00ad", "")))


def elements(entry: str) -> Definition | None:
    """Jay Kominek's elements: name, three lines of numbers, text."""
    word, body = _parted(entry)
    return _definition(word, _unlinked(re.sub(r"^(?:(?:Symbol|Ato?mic number|Ato?mic weight):.*\n)*", "", body.lstrip())))


_TINY = re.compile(r"\[([A-Za-z]{1,2})\]|\[[^\[\]\s.]?([A-Za-z])[^\[\]\s.]?\]")
_BRACKETS = re.compile(r"\s*\[[^\[\]]*\]", re.DOTALL)
_ASIDE = re.compile(r"(?:^|\s)(?:Syn|Ant|Note|See|Same as|Obs|Cf)\b|\{")
_AUTHOR = re.compile(r"\s*--\s?(?:[A-Z][\w.]*\s?|&\s)+\.?(?=\s|$)")
_SENSE = re.compile(r"^(?:\d+\.|\([a-z]\))\s*")
_LABEL = re.compile(r"^(?:\([A-Z][\w.,&; ]*\)\s*)+")


def gcide(entry: str) -> Definition | None:
    """Webster of 1913, as GNU has it: word, pronunciation in backslashes, origin in brackets; senses, quotations further in, notes."""
    text = _BRACKETS.sub("", _TINY.sub(lambda found: found[1] or found[2], entry))
    head, _, body = text.partition("\n")
    word, marked, _ = head.partition(" \\")
    senses = []
    for paragraph in re.split(r"\n\s*\n", body):
        line = _LABEL.sub("", _SENSE.sub("", flat(paragraph)))
        if line and not paragraph.startswith(" " * 8) and not _ASIDE.match(line):
            senses.append(_AUTHOR.sub("", _unlinked(line)).strip())
    definition = " ".join(sense if sense.endswith((".", ";")) else f"{sense}." for sense in senses[:3])
    return _definition(word, definition) if marked and "\\" not in definition else None


def wordnet(definition: str) -> Definition | None:
    """WordNet as `qwen3_rag.models.nano.corpus.definitions` gives it: `word, word: definition; "example"`."""
    words, _, meaning = definition.partition(": ")
    return words, flat(meaning)


READERS: dict[str, Callable[[str], Definition | None]] = {
    "foldoc": foldoc,
    "jargon": jargon,
    "elements": elements,
    "gcide": gcide,
}
"""How to read the entries of a dictionary; Debian's package of it is `dict-` and its name."""


def _parted(entry: str) -> Definition:
    """The first line and the rest."""
    word, _, rest = entry.strip("\n").partition("\n")
    return word.strip(), rest


def _paragraphs(body: str) -> list[str]:
    return [flat(paragraph) for paragraph in re.split(r"\n\s*\n", body) if paragraph.strip()]


def _unlinked(text: str) -> str:
    return flat(_LINK.sub(lambda found: _ADDRESS.sub("", found[1]), _ADDRESS.sub("", text)))


def _definition(word: str, text: str) -> Definition | None:
    """The pair, the definition cut at a sentence; None where one of them is missing."""
    text = flat(text)
    if len(text) > _LONGEST:
        text = text[:_LONGEST].rpartition(". ")[0] + "."
    return (flat(word), text) if word.strip() and len(text) > 1 else None
