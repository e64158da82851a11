"""Puts running text together from a tree of blocks and words, and notes where its headings are."""

from __future__ import annotations

from qwen3_rag.sources.readers.base import one_line
from qwen3_rag.types import Heading


class TextWriter:
    """Collects text. White space between words is one space; blocks are parted by the largest gap asked for between them."""

    def __init__(self) -> None:
        self.headings: list[Heading] = []
        self._parts: list[str] = []
        self._length = 0
        self._gap = 0
        self._unmade = 0
        self._space = False
        self._marked = False
        self._signed = False

    def words(self, text: str) -> None:
        """Add running text, in which line ends mean nothing."""
        flat = one_line(text)
        if flat:
            self._space |= text[0].isspace()
            self.verbatim(flat)
        self._space |= text[-1:].isspace()

    def verbatim(self, text: str) -> None:
        """Add text as it is."""
        if not text:
            return
        if self._gap:
            self._put("\n" * self._gap if self._length else "")
        elif self._space and self._length and not self._signed:
            self._put(" ")
        self._gap, self._unmade, self._space, self._marked, self._signed = 0, 0, False, False, False
        self._put(text)

    def mark(self, sign: str) -> None:
        """Add a bullet, or nothing, which the next text follows without a gap even if it begins a paragraph."""
        self.verbatim(sign)
        self._unmade = self._gap
        self._marked = True
        self._signed = bool(sign)

    def join(self, sign: str) -> None:
        """Add a sign between two cells, all on one line even if the cells are paragraphs; a first cell may be empty."""
        self._gap, self._space = self._unmade, False
        self.mark(sign)

    def gap(self, lines: int) -> None:
        """Let the next text start after so many line ends: 1 for a new line, 2 for a new paragraph."""
        if not self._marked:
            self._gap = max(self._gap, lines)

    def end(self, lines: int) -> None:
        """End a block. After one that is a line, such as a list item, the next line follows even if a paragraph was in it."""
        self._marked = False
        if lines == 1:
            self._gap = max(1, self._unmade)
        self.gap(lines)

    def heading(self, text: str, level: int) -> None:
        """Add a heading as a paragraph of its own. One without text is none."""
        flat = one_line(text)
        if flat:
            self.gap(2)
            self.verbatim(flat)
            self.headings.append(Heading(flat, level, self._length - len(flat)))
            self.gap(2)

    def text(self) -> str:
        """All of it."""
        return "".join(self._parts)

    def _put(self, text: str) -> None:
        self._parts.append(text)
        self._length += len(text)
