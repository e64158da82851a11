"""reStructuredText as running text with the offsets of its headings.

docutils parses only: no file is inserted, no raw markup taken, no configuration file read, and no transform run. What it does not know
(Sphinx's directives and roles) is written out in its place instead of being lost.
"""

from __future__ import annotations

import io
import re
import textwrap
import threading
from typing import Any

from docutils import nodes
from docutils.frontend import get_default_settings
from docutils.parsers.rst import Parser
from docutils.utils import new_document

from qwen3_rag.sources.readers.base import Content, RawFile, clean
from qwen3_rag.sources.readers.writer import TextWriter

_DIRECTIVE = re.compile(r"\.\. +(?P<name>[\w:.+-]+)::[ \t]*(?P<argument>[^\n]*)\n?(?P<body>.*)", re.DOTALL)
_OPTION = re.compile(r"\s*:[\w-]+:")
_ROLE = re.compile(r":[\w:+.-]+:`(?:([^`<]*\S)\s*<[^`>]*>|~?([^`]*))`")
_LEFT_OUT = (nodes.comment, nodes.substitution_definition, nodes.target, nodes.colspec, nodes.pending)
_SHORT_LINE = re.compile(r"Title (?:under|over)line too short")
_DISABLED = frozenset({"include", "raw", "toctree"})
_PARAGRAPHS = (
    *(nodes.paragraph, nodes.literal_block, nodes.doctest_block, nodes.line_block, nodes.block_quote, nodes.table, nodes.math_block),
    *(nodes.bullet_list, nodes.enumerated_list, nodes.definition_list, nodes.field_list, nodes.option_list, nodes.Admonition, nodes.topic),
    *(nodes.title, nodes.caption),
)
_LINES = (nodes.line, nodes.list_item, nodes.term, nodes.definition, nodes.field, nodes.option_list_item, nodes.row, nodes.footnote)
_ONE_PARSER = threading.Lock()
"""docutils keeps roles in module variables."""


def read_rst(raw: RawFile) -> Content:
    """Text, headings and, from a first heading that stands above everything, the title.

    Raises:
        SourceError: the markup is nested too deeply.
    """
    try:
        document = _parse(raw.text())
        writer = TextWriter()
        _Walker(document, writer).walk(document, 0)
    except RecursionError as error:
        raise raw.error("is nested too deeply to be read") from error
    headings = tuple(writer.headings)
    title = headings[0].text if headings and headings[0].level == 1 else None
    return Content(clean(writer.text()), title, headings=headings)


def _parse(text: str) -> nodes.document:
    settings: Any = get_default_settings(Parser)
    settings.file_insertion_enabled = False
    settings.raw_enabled = False
    settings.report_level = settings.halt_level = 5
    settings.warning_stream = io.StringIO()
    document = new_document("text", settings)
    with _ONE_PARSER:
        Parser().parse(text, document)
    return document


class _Walker:
    def __init__(self, document: nodes.document, writer: TextWriter) -> None:
        self._substitutions = {name: node.astext() for name, node in document.substitution_defs.items()}
        self._writer = writer

    def walk(self, node: nodes.Node, level: int) -> None:
        """Write a node and what is in it; `level` counts the sections around it."""
        if isinstance(node, nodes.Text):
            self._writer.words(node.astext())
        elif isinstance(node, nodes.system_message):
            self._unknown(node)
        elif isinstance(node, nodes.title) and isinstance(node.parent, nodes.section):
            self._writer.heading(node.astext(), level)
        elif not isinstance(node, _LEFT_OUT):
            gap = 2 if isinstance(node, _PARAGRAPHS) else 1 if isinstance(node, _LINES) else 0
            self._writer.gap(gap)
            self._inside(node, level + isinstance(node, nodes.section))
            self._writer.end(gap)

    def _inside(self, node: nodes.Node, level: int) -> None:
        match node:
            case nodes.literal_block() | nodes.doctest_block():
                self._writer.verbatim(node.astext())
            case nodes.literal() | nodes.math() | nodes.math_block():
                self._writer.verbatim(node.astext())
            case nodes.option_group():
                self._writer.verbatim(node.astext())
            case nodes.problematic():
                self._writer.verbatim(_plain_roles(node.astext()))
            case nodes.substitution_reference():
                self._writer.words(self._substitutions.get(node.astext(), node.astext()))
            case nodes.image():
                self._writer.words(str(node.get("alt", "")))
            case _:
                self._children(node, level)

    def _children(self, node: nodes.Node, level: int) -> None:
        if isinstance(node, nodes.list_item):
            self._writer.mark("- ")
        for number, child in enumerate(node.children):
            if isinstance(node, nodes.row):
                if number:
                    self._writer.join(" | ")
                else:
                    self._writer.mark("")
            elif number and isinstance(node, nodes.field | nodes.option_list_item):
                self._writer.join(": ")
            self.walk(child, level)

    def _unknown(self, message: nodes.system_message) -> None:
        """Write the source of a construct that docutils does not know; its complaint itself is no part of the text.

        A title whose line is too short is known all the same, and is written where it stands.
        """
        if _SHORT_LINE.match(message.children[0].astext() if message.children else ""):
            return
        for block in message.findall(nodes.literal_block):
            source = block.astext()
            match = _DIRECTIVE.match(source)
            if match is None:
                text = source
            elif match["name"] in _DISABLED:
                continue
            else:
                text = _directive_text(match["argument"], match["body"])
            self._writer.gap(2)
            self._writer.verbatim(_plain_roles(text.strip()))
            self._writer.gap(2)


def _directive_text(argument: str, body: str) -> str:
    """Argument and body of a directive without its options."""
    lines = textwrap.dedent(body).split("\n")
    while lines and (_OPTION.match(lines[0]) or not lines[0].strip()):
        lines.pop(0)
    return "\n".join([argument, *lines])


def _plain_roles(text: str) -> str:
    return _ROLE.sub(lambda match: match[1] or match[2], text)
