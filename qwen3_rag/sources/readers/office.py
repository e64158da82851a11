"""PDF, Word, PowerPoint and Excel files through markitdown and openpyxl, which the extra `documents` installs.

markitdown's converters are called one by one: the format is known already, and its own detection loads a neural network. Its converter
for Excel is not used: it guesses the type of every column, which rewrites what the cells hold.
"""

from __future__ import annotations

import datetime
import io
import re
import zipfile
from contextlib import closing
from dataclasses import replace
from typing import Any
from xml.etree import ElementTree

from qwen3_rag.errors import MissingExtraError, SourceError
from qwen3_rag.sources.formats import Format
from qwen3_rag.sources.readers.base import Content, RawFile, clean, one_line
from qwen3_rag.sources.readers.markdown import markdown_content

_TITLE = "{http://purl.org/dc/elements/1.1/}title"
_TEMPLATE_TITLES = frozenset({"", "powerpoint presentation", "word document", "untitled", "document", "presentation"})
_EMBEDDED_IMAGE = re.compile(r"!\[[^\]]*\]\(data:[^)]*\)")
_SLIDE = re.compile(r"<!-- Slide number: (\d+) -->")
_HEADING = re.compile("^# ", re.MULTILINE)
_MOST_UNPACKED = 1 << 30
_EXACT_WHOLE = 1 << 53
_SHEET_VIEW = re.compile(rb"<(?:\w+:)?sheetView\s[^>]*>")
_PASSWORD_ERRORS = frozenset({"PDFPasswordIncorrect", "PDFEncryptionError", "FileNotDecryptedError"})


def read_pdf(raw: RawFile) -> Content:
    """The text of a PDF. It has no headings: what looks like Markdown in it is chance.

    Raises:
        SourceError: it needs a password, is damaged, or holds pictures of text only.
        MissingExtraError: markitdown is not installed.
    """
    if not raw.data.rstrip(b"\x00\r\n\t ").endswith(b"%%EOF") and b"startxref" not in raw.data[-4096:]:
        raise raw.error("is a damaged or incomplete PDF: it has no end. Get it again")
    text = clean(_convert(raw)).replace("\x0c", "\n\n")
    if not text.strip():
        raise raw.error("is a PDF without text, perhaps scanned pages. Run OCR over it (for example: ocrmypdf in.pdf out.pdf)")
    return Content(text)


def read_office(raw: RawFile) -> Content:
    """A Word, PowerPoint or Excel file as Markdown, titled by its properties or its first heading.

    Each sheet of a workbook is a heading and a table of its values: text as it is but on one line, numbers with Excel's 15 digits, dates
    in ISO 8601, formulas as the results saved with them. Empty rows, and empty columns at the end, are left out.

    Raises:
        SourceError: it is damaged, or unpacks to more than 1 GiB.
        MissingExtraError: the extra `documents` is not installed.
    """
    title = _open(raw)
    text = _EMBEDDED_IMAGE.sub("", clean(_convert(raw)))
    if raw.format is Format.PPTX:
        title = title or markdown_content(_SLIDE.sub("", text).strip("\n"), {}).title
        return replace(markdown_content(_with_headings(text).strip("\n"), {}), title=title)  # which is no slide's number
    return markdown_content(text.strip("\n"), {}, title)


def _with_headings(slides: str) -> str:
    """Markdown of slides in which one without a title is headed by its number, so that it does not stand under the title before it."""
    before, *rest = _SLIDE.split(slides)
    numbered = zip(rest[::2], rest[1::2], strict=True)
    headed = (f"\n# Slide {number}\n{text}" if text.strip() and not _HEADING.search(text) else text for number, text in numbered)
    return "".join((before, *headed))


def _open(raw: RawFile) -> str | None:
    """Check the archive and take the title from its properties."""
    try:
        with zipfile.ZipFile(io.BytesIO(raw.data)) as archive:
            if sum(item.file_size for item in archive.infolist()) > _MOST_UNPACKED:
                raise raw.error("unpacks to more than 1 GiB and was not opened. Split it, or leave it out")
            properties = archive.read("docProps/core.xml") if "docProps/core.xml" in archive.namelist() else b""
        title = ElementTree.fromstring(properties).findtext(_TITLE) if properties else None
    except (zipfile.BadZipFile, ElementTree.ParseError, NotImplementedError, RuntimeError, OSError, EOFError) as error:
        raise raw.error(f"is a damaged {raw.format.value.upper()} file: {error}. Open it in its program and save it again") from error
    title = one_line(clean(title or ""))
    return None if title.lower() in _TEMPLATE_TITLES else title


def _convert(raw: RawFile) -> str:
    try:
        return _workbook(raw) if raw.format is Format.XLSX else _markdown(raw)
    except (MissingExtraError, SourceError):
        raise
    except Exception as error:  # parsers of damaged files raise anything
        raise raw.error(_reason(raw.format, error)) from error


def _markdown(raw: RawFile) -> str:
    converter, stream_info, missing = _converter(raw.format)
    try:
        return str(converter.convert(io.BytesIO(raw.data), stream_info, escape_underscores=False, escape_asterisks=False).markdown)
    except missing as error:
        raise MissingExtraError(f"Reading {raw.path.name}", "documents") from error


def _converter(format_: Format) -> tuple[Any, Any, type[Exception]]:
    try:
        from markitdown import MissingDependencyException, StreamInfo, converters  # an extra, and slow to import
    except ImportError as error:
        raise MissingExtraError(f"Reading {format_.value.upper()} files", "documents") from error
    classes: dict[Format, Any] = {
        Format.PDF: converters.PdfConverter,
        Format.DOCX: converters.DocxConverter,
        Format.PPTX: converters.PptxConverter,
    }
    return classes[format_](), StreamInfo(extension=f".{format_.value}"), MissingDependencyException


def _workbook(raw: RawFile) -> str:
    try:
        from openpyxl import load_workbook  # an extra, and slow to import
    except ImportError as error:
        raise MissingExtraError(f"Reading {raw.path.name}", "documents") from error

    def sheets(data: bytes) -> str:
        with closing(load_workbook(io.BytesIO(data), read_only=True, data_only=True, keep_links=False)) as book:
            return "\n\n".join(f"## {one_line(sheet.title)}\n{_table(sheet)}".strip() for sheet in book.worksheets)

    try:
        return sheets(raw.data)
    except TypeError as error:
        if "showZeroes" not in str(error):
            raise
        return sheets(_respelt(raw.data))


def _respelt(data: bytes) -> bytes:
    """The workbook with `showZeros` spelt right, which some programs do not; openpyxl refuses that."""
    target = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as source, zipfile.ZipFile(target, "w") as copy:
        for name in source.namelist():
            right = _SHEET_VIEW.sub(lambda tag: tag[0].replace(b"showZeroes", b"showZeros"), source.read(name))
            copy.writestr(name, right)
    return target.getvalue()


def _table(sheet: Any) -> str:
    """The cells of a sheet as a Markdown table whose head is the first row that holds anything."""
    sheet.reset_dimensions()  # some programs state them wrong
    rows = [row for cells in sheet.iter_rows() if any(row := [_cell(cell) for cell in cells])]
    width = max((column for row in rows for column, text in enumerate(row, start=1) if text), default=0)
    lines = [f"| {' | '.join((row + [''] * width)[:width])} |" for row in rows]
    return "\n".join([*lines[:1], f"| {' | '.join(['---'] * width)} |", *lines[1:]]) if lines else ""


def _cell(cell: Any) -> str:
    """A cell's value on one line; nothing for a failed formula."""
    value = cell.value
    if value is None or cell.data_type == "e":
        return ""
    if isinstance(value, bool):
        return str(value).upper()
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < _EXACT_WHOLE else f"{value:.15g}"
    if isinstance(value, datetime.datetime) and value.time() == datetime.time():
        value = value.date()
    if isinstance(value, datetime.date | datetime.time):
        return value.isoformat()
    return " ".join(str(value).splitlines()).strip().replace("|", r"\|")


def _reason(format_: Format, error: BaseException) -> str:
    seen: list[object] = [error, *error.args]
    while error.__cause__ or error.__context__:
        error = error.__cause__ or error.__context__ or error
        seen += [error, *error.args]
    if any(type(item).__name__ in _PASSWORD_ERRORS for item in seen):
        return "is encrypted and needs a password. Save it without one, or leave it out"
    said = next((str(item) for item in reversed(seen) if str(item)), type(error).__name__)
    return f"is a {format_.value.upper()} file that cannot be read: {one_line(said)[:200]}. Open it in its program and save it again"
