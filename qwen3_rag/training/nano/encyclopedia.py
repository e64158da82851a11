"""Passages of an encyclopedia: the hundred Wikipedia articles that the PyPI package `gensim` carries for its own tests (CC-BY-SA).

It reads that package's file and imports none of its code. Each passage comes with the title and heading that it stands under, and with
one of its own sentences where it has three.
"""

from __future__ import annotations

import bz2
import importlib.util
import random
import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

from qwen3_rag.errors import SourceUnavailableError
from qwen3_rag.training.nano.prose import cloze, flat, is_clean, is_english, passages
from qwen3_rag.training.pairs import Pair

SOURCE = "encyclopedia"
REQUIREMENTS = ("gensim==4.4.0", "mwparserfromhell==0.7.2")
SHORTEST, LONGEST = 150, 1000
"""Characters of a passage."""

_ARTICLES = "test/test_data/enwiki-latest-pages-articles1.xml-p000000010p000030302-shortened.bz2"
_APPARATUS = frozenset({"References", "External links", "See also", "Further reading", "Notes", "Bibliography", "Sources"})
_DROPPED = re.compile(r"<ref[^>/]*/>|<ref.*?</ref>|\{\|.*?\|\}|\[\[(?:File|Image|Category):(?:[^\[\]]|\[\[[^\]]*\]\])*\]\]", re.DOTALL)


def articles_file() -> Path:
    """The dump of the articles.

    Raises:
        SourceUnavailableError: the package is not installed, or is one without it.
    """
    found = importlib.util.find_spec("gensim")
    if found is None or found.origin is None or importlib.util.find_spec("mwparserfromhell") is None:
        raise SourceUnavailableError(f"The encyclopedia is not installed. Install it: pip install --no-deps {' '.join(REQUIREMENTS)}")
    file = Path(found.origin).parent / _ARTICLES
    if not file.is_file():
        raise SourceUnavailableError(f"{file} is not there. Install the version that has it: pip install --no-deps {REQUIREMENTS[0]}")
    return file


def encyclopedia_pairs(file: Path, seed: int) -> Iterator[Pair]:
    """Pairs of a bz2-compressed MediaWiki export: heading and passage, sentence and its passage."""
    generator = random.Random(seed)
    for title, wikitext in articles(file):
        for heading, text in sections(wikitext):
            for passage in _passages(text):
                sentence = cloze(passage, generator)
                if sentence:
                    yield Pair(sentence[0], passage, source=SOURCE, language="en")
                yield Pair(f"{title} {heading}".strip(), passage, source=SOURCE, language="en")


def articles(file: Path) -> Iterator[tuple[str, str]]:
    """Title and wikitext of each page that is an article and no redirect. The export may break off after a page."""
    content = bz2.decompress(file.read_bytes())
    root = ElementTree.fromstring(content[: content.rindex(b"</page>")] + b"</page></mediawiki>")
    for page in root.iterfind("{*}page"):
        title, text = page.findtext("{*}title", ""), page.findtext("{*}revision/{*}text") or ""
        if ":" not in title and not text.lower().startswith("#redirect"):
            yield title, text


def sections(wikitext: str) -> Iterator[tuple[str, str]]:
    """Heading and plain text of each section; the first has no heading. Tables, pictures and references are left out."""
    import mwparserfromhell

    for section in mwparserfromhell.parse(_DROPPED.sub("", wikitext)).get_sections(flat=True, include_lead=True):
        headings = section.filter_headings()
        heading = headings[0].title.strip_code().strip() if headings else ""
        if heading not in _APPARATUS:
            for each in headings:
                section.remove(each)
            yield heading, section.strip_code()


def _passages(text: str) -> Iterator[str]:
    for paragraph in text.split("\n"):
        pieces = passages(flat(paragraph), LONGEST) if len(paragraph) >= SHORTEST else []
        yield from (piece for piece in pieces if len(piece) >= SHORTEST and is_english(piece) and is_clean(piece))
