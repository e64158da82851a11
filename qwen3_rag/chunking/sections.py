"""Divides a document into sections along its headings, and joins those too small to stand alone with their next of kin.

It compares sizes that it is given and does not know how they were counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from qwen3_rag.chunking.headings import markdown_headings
from qwen3_rag.types import Document, Heading, Syntax

_ATX = re.compile(r" {0,3}#")
_UNDERLINE = re.compile(r"^ {0,3}(?:=+|-+)[ \t]*$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Section:
    """`text[start:end]`; its heading, and those of sections around it that have no text of their own, end at `body`.

    `path` is the headings that the text at `body` stands under, outermost first; `lineage` is where they start, which tells
    apart headings of the same words.
    """

    start: int
    body: int
    end: int
    path: tuple[str, ...] = ()
    lineage: tuple[int, ...] = ()

    def is_kin(self, following: Section) -> bool:
        """Whether a section after this one is inside it or has the same parent."""
        inside = following.lineage[: len(self.lineage)] == self.lineage
        sibling = following.lineage[:-1] == self.lineage[:-1]
        return bool(self.lineage) and (inside or sibling)


def sections(document: Document) -> list[Section]:
    """The sections in order; together they are the whole text but white space. Headings are the given ones, else those of Markdown."""
    headings: Sequence[Heading] = document.headings
    if not headings and document.syntax is Syntax.MARKDOWN:
        headings = markdown_headings(document.text)
    inside = {heading.start: heading for heading in headings if 0 <= heading.start < len(document.text)}
    return _with_lead_in(document.text, _cut(document, [inside[start] for start in sorted(inside)]))


def join_small(found: Sequence[Section], sizes: Sequence[int], least: int, most: int) -> list[Section]:
    """Join neighbours of the same family while one of them is smaller than `least` and both together are at most `most`.

    The joined section keeps the path of its first part.
    """
    joined: list[Section] = []
    size = 0
    for section, own in zip(found, sizes, strict=True):
        small = min(size, own) < least and size + own <= most
        if joined and small and joined[-1].is_kin(section):
            joined[-1] = replace(joined[-1], end=section.end)
            size += own
        else:
            joined.append(section)
            size = own
    return joined


def _cut(document: Document, headings: Sequence[Heading]) -> list[Section]:
    text = document.text
    first = headings[0].start if headings else len(text)
    found = [Section(0, 0, first)] if text[:first].strip() else []
    above: list[Heading] = []
    for number, heading in enumerate(headings):
        above = [*(outer for outer in above if outer.level < heading.level), heading]
        end = headings[number + 1].start if number + 1 < len(headings) else len(text)
        path, lineage = tuple(outer.text for outer in above), tuple(outer.start for outer in above)
        found.append(Section(heading.start, _body(document, heading.start, end), end, path, lineage))
    return found


def _with_lead_in(text: str, found: Sequence[Section]) -> list[Section]:
    """Give headings without text to the section right below them: alone they would be chunks that say nothing."""
    kept: list[Section] = []
    for section in found:
        before = kept[-1] if kept else None
        bare = before is not None and not text[before.body : before.end].strip()
        if before is not None and bare and before.lineage == section.lineage[: len(before.lineage)]:
            kept[-1] = replace(section, start=before.start)
        else:
            kept.append(section)
    return kept


def _body(document: Document, start: int, end: int) -> int:
    """Where the heading that starts at `start` ends: with its line, or with its underline in Markdown."""
    text = document.text
    if document.syntax is Syntax.MARKDOWN and not _ATX.match(text, start):
        underline = _UNDERLINE.search(text, start, end)
        if underline:
            return min(underline.end() + 1, end)
    line = text.find("\n", start, end)
    return end if line < 0 else line + 1
