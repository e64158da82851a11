"""HTML as running text with the offsets of its headings. Scripts, styles, navigation and forms are left out."""

from __future__ import annotations

import re

from bs4 import BeautifulSoup, CData, Tag
from bs4.element import NavigableString, PageElement
from bs4.exceptions import ParserRejectedMarkup

from qwen3_rag.sources.readers.base import Content, RawFile, one_line
from qwen3_rag.sources.readers.writer import TextWriter
from qwen3_rag.types import Heading

_DECLARED = re.compile(rb"""<meta[^>]+charset\s*=\s*["']?\s*([-\w.:]+)""", re.IGNORECASE)
_PROLOG = re.compile(r"\s*<\?xml[^>]*\?>")
_LEFT_OUT = frozenset(
    {
        *("title", "script", "style", "nav", "noscript", "template", "svg", "canvas", "iframe", "object", "embed"),
        *("button", "select", "input", "textarea", "dialog", "audio", "video"),
    }
)
_PARAGRAPHS = frozenset(
    {
        *("p", "div", "section", "article", "main", "aside", "header", "footer", "address", "blockquote", "pre", "figure", "hr"),
        *("ul", "ol", "dl", "table", "details", "fieldset", "form", "body"),
    }
)
_LINES = frozenset({"li", "tr", "dt", "dd", "caption", "figcaption", "summary", "option", "legend"})
_CELLS = ("td", "th")
_LINK_SIGNS = frozenset({"¶", "#", "§", "🔗"})
_HEADING = re.compile(r"h[1-6]\Z")


def read_html(raw: RawFile) -> Content:
    """Text and headings of a page."""
    match = _DECLARED.search(raw.data[:4096])
    declared = match[1].decode() if match else None
    return tree_content(_parse(raw, _PROLOG.sub("", raw.text(declared), count=1)))


def tree_content(soup: Tag) -> Content:
    """Text and headings of a parsed page, or of a part of one."""
    writer = TextWriter()
    _write(soup, writer)
    headings = tuple(writer.headings)
    return Content(writer.text(), _title(soup, headings), headings=headings)


def _parse(raw: RawFile, markup: str) -> BeautifulSoup:
    if "<" not in markup:  # Beautiful Soup warns that it might be a file name
        markup = f"<pre>{markup}</pre>"
    try:
        return BeautifulSoup(markup, "html.parser")
    except ParserRejectedMarkup as error:
        raise raw.error(f"is not HTML that can be parsed: {error}") from error


def _title(soup: Tag, headings: tuple[Heading, ...]) -> str | None:
    """The only heading of level 1, which is cleaner than `<title>` with its site name; else `<title>`; else the first of level 1."""
    tops = [heading.text for heading in headings if heading.level == 1]
    if len(tops) == 1:
        return tops[0]
    element = soup.find("title")
    return (one_line(element.get_text()) if element else "") or (tops[0] if tops else None)


def _write(root: Tag, writer: TextWriter) -> None:
    """Walk the tree without recursion, since pages can be nested deeper than Python's stack."""
    stack: list[tuple[Tag | NavigableString, bool]] = [(root, True)]
    while stack:
        node, entering = stack.pop()
        if isinstance(node, Tag):
            if not entering:
                writer.end(_gap(node))
            elif node.name == "br":
                writer.gap(1)
            elif _enter(node, writer):
                stack.append((node, False))
                stack.extend((child, True) for child in reversed(node.contents) if isinstance(child, Tag | NavigableString))
        elif type(node) in (NavigableString, CData):
            if node.find_parent("pre"):
                writer.verbatim(str(node))
            else:
                writer.words(str(node))


def _enter(tag: Tag, writer: TextWriter) -> bool:
    """Write what stands before a tag's content; False when the content is not to be written."""
    if tag.name in _LEFT_OUT or tag.get("role") == "navigation" or tag.has_attr("hidden"):
        return False
    if _HEADING.match(tag.name):
        writer.heading(_heading_text(tag), int(tag.name[1]))
        return False
    writer.gap(_gap(tag))
    if tag.name == "li":
        writer.mark("- ")
    elif tag.name in _CELLS:
        if tag.find_previous_sibling(_CELLS) or _is_inside_cell(tag):
            writer.join(" | ")
        else:
            writer.mark("")
    elif tag.name == "img" and tag.get("alt"):
        writer.words(f" {tag['alt']} ")
    return True


def _heading_text(heading: Tag) -> str:
    """Its words; line breaks and blocks in it part them. Signs that link to the heading itself are no words of it."""
    parts: list[str] = []
    stack: list[PageElement | str] = [*reversed(heading.contents)]
    while stack:
        node = stack.pop()
        if not isinstance(node, Tag):
            parts.append(str(node) if type(node) in (NavigableString, CData, str) else "")
        elif node.name == "br":
            parts.append(" ")
        elif node.name not in _LEFT_OUT and not (node.name == "a" and node.get_text().strip() in _LINK_SIGNS):
            around = " " if _gap(node) else ""
            stack += [around, *reversed(node.contents), around]
    return "".join(parts)


def _is_inside_cell(cell: Tag) -> bool:
    """Whether the cell before was not closed: then the parser puts this one into it."""
    around = cell.find_parent((*_CELLS, "tr", "table"))
    return around is not None and around.name in _CELLS


def _gap(tag: Tag) -> int:
    return 2 if tag.name in _PARAGRAPHS else 1 if tag.name in _LINES else 0
