"""Manuals as HTML: their sections under their headings, and what their lists of terms say about each term.

Pages are read by the project's own reader, after what is not prose has been taken out of the tree: navigation, tables of contents, code,
tables. Of a manual with very many pages some are drawn. It does not know what becomes of the sections.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from bs4 import BeautifulSoup, Tag

from qwen3_rag.chunking.sections import sections
from qwen3_rag.sources.readers.html import tree_content
from qwen3_rag.training.nano.prose import flat
from qwen3_rag.types import Document

MOST_PAGES = 600
LARGEST_PAGE = 1_500_000
"""Bytes; larger pages are whole manuals on one page, which are there in parts as well, or indices."""

_MAIN = "[role=main], #page-content, #DisplayArea, #apicontent, main, div.rst-content, div.body"
_TAGS = frozenset(["head", "script", "style", "nav", "form", "pre", "table", "sup", "button", "header", "footer", "svg"])
_ROLES = frozenset(("navigation", "search"))
_NAMES = frozenset(
    [
        *(
            "headerlink",
            "permalink",
            "mark",
            "navheader",
            "navfooter",
            "sphinxsidebar",
            "menu",
            "menu-title",
            "nav",
            "breadcrumbs",
            "path",
            "top",
        ),
        *("toc", "toctitle", "fancy_toc", "section-toc", "toctree-wrapper", "contents", "topic", "index", "modules"),
        *(
            "related",
            "relatedtopics",
            "footer",
            "footnote",
            "footnotes",
            "copyright",
            "header-container",
            "quickview",
            "toplang",
            "bottomlang",
        ),
        *("literalblock", "listingblock", "mediaobject", "figure", "api_metadata", "howtoget", "bug"),
        *("changelog", "versionadded", "versionchanged", "deprecated"),
    ]
)
"""Classes and ids that manuals give to what is not prose."""
_FUNCTIONS = frozenset(["py", "c", "cpp", "js", "describe", "function", "class", "method"])
_FULL_NAME = ["sig-prename", "descclassname", "sig-name", "descname"]
_NUMBER = re.compile(r"^(?:(?:Chapter|Appendix|Part|Section)\s+)?(?:\d+|[A-Z](?=\.\d))(?:\.\d+)*\.?\s+")
_BULK = re.compile(r"<(pre|script|style|svg)\b.*?</\1\s*>", re.DOTALL | re.IGNORECASE)
"""Taken out before parsing, which takes half of its time."""
_MANUAL_PAGE = re.compile(r"\(\d\w*\)(?: Manual Page)?$")
_NEWS = re.compile("(?:release|changelog|changes|whatsnew|news|history|genindex|contributors|credits|acknowledg|biblio)", re.IGNORECASE)
_SIGNS = re.compile(r"[¶§#]+\s*$")


@dataclass(frozen=True, slots=True)
class Part:
    """A piece of a page: `path` is the headings above it, outermost first, or the page's title and a term."""

    path: tuple[str, ...]
    text: str


def pages(folder: Path, patterns: tuple[str, ...], generator: random.Random) -> list[Path]:
    """The pages of a manual that match one of the patterns, in order; `MOST_PAGES` of them are drawn if there are more."""
    found = sorted({path for pattern in patterns for path in folder.glob(pattern) if path.is_file() and not path.is_symlink()})
    found = [path for path in found if path.stat().st_size <= LARGEST_PAGE and not _NEWS.match(path.name)]
    return sorted(generator.sample(found, MOST_PAGES)) if len(found) > MOST_PAGES else found


def page_parts(markup: str) -> tuple[list[Part], list[Part]]:
    """Sections and terms of a page, without what is not prose. Descriptions of functions and the like count as terms only."""
    soup = BeautifulSoup(_BULK.sub("", markup), "html.parser")
    title = _title(soup)
    main = soup.select_one(_MAIN) or soup.body or soup
    _take_out(main, lambda tag: tag.name in _TAGS or tag.get("role") in _ROLES or not _NAMES.isdisjoint(_names(tag)))
    tops = main.find_all("h1") or main.find_all("h2")
    title = _heading(tops[0].get_text()) if len(tops) == 1 or (tops and not title) else title
    terms = list(_terms(main, title))
    _take_out(main, lambda tag: tag.name == "dl" and not _FUNCTIONS.isdisjoint(_names(tag)))
    return list(_sections(main, title)), terms


def _take_out(main: Tag, is_meant: Callable[[Tag], bool]) -> None:
    for tag in main.find_all(True):
        if not tag.decomposed and is_meant(tag):
            tag.decompose()


def _names(tag: Tag) -> list[str]:
    """Classes and id. CSS selectors would say it shorter, and take three quarters of the time."""
    classes: str | list[str] = tag.get("class") or ""
    return [*(classes.split() if isinstance(classes, str) else classes), str(tag.get("id"))]


def _sections(main: Tag, title: str) -> Iterator[Part]:
    content = tree_content(main)
    document = Document(id="page", text=content.text, headings=content.headings)
    for section in sections(document):
        path = tuple(heading for heading in map(_heading, section.path) if heading)
        if path and title and path[0] != title:
            path = (title, *path)
        if path:
            yield Part(path, flat(content.text[section.body : section.end]))


def _terms(main: Tag, title: str) -> Iterator[Part]:
    """Terms that are described right after them; of terms that share a description the first."""
    for description in main.find_all("dd"):
        term = description.find_previous_sibling(["dt", "dd"])
        while isinstance(term, Tag) and term.name == "dt" and isinstance(above := term.find_previous_sibling(["dt", "dd"]), Tag):
            if above.name != "dt":
                break
            term = above
        if isinstance(term, Tag) and term.name == "dt" and (name := _term(term)):
            yield Part((title, name), _own_text(description))


def _term(term: Tag) -> str:
    """What is described: the full name of a function without its parameters, else the words."""
    names = term.find_all(class_=_FULL_NAME)
    return "".join(dict.fromkeys(name.get_text().strip() for name in names)) if names else _heading(term.get_text())


def _own_text(description: Tag) -> str:
    """The text up to a list of further terms in it."""
    parts: list[str] = []
    for child in description.children:
        if isinstance(child, Tag) and (child.name == "dl" or child.find("dl")):
            break
        parts.append(child.get_text())
    return flat(" ".join(parts))


def _title(soup: BeautifulSoup) -> str:
    """What `<title>` says of the page, without what it says of the site."""
    return _heading(re.sub(r"(?<=.) [|—–-] [^|—–]*$", "", flat(soup.title.get_text()))) if soup.title else ""


def _heading(text: str) -> str:
    return _MANUAL_PAGE.sub("", _NUMBER.sub("", _SIGNS.sub("", flat(text)))).strip(" .:—")
