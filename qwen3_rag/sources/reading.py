"""Reads one file into one `Document`: size, emptiness and format are checked here, then the reader of its format does the rest.

It knows no catalog: whether a file has changed is for the caller to see, by `hash_file`, before anything is parsed.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

from qwen3_rag.errors import SourceError, SourceUnavailableError, UnsupportedFormatError
from qwen3_rag.settings import SourceSettings
from qwen3_rag.sources.discovery import SourceFile
from qwen3_rag.sources.formats import OFFICE, SNIFF_BYTES, Format, binary_kind, contradiction, format_of, too_large
from qwen3_rag.sources.readers.base import Content, RawFile
from qwen3_rag.sources.readers.html import read_html
from qwen3_rag.sources.readers.markdown import read_markdown
from qwen3_rag.sources.readers.notebook import read_notebook
from qwen3_rag.sources.readers.office import read_office, read_pdf
from qwen3_rag.sources.readers.plain import read_code, read_text
from qwen3_rag.sources.readers.records import read_json, read_json_lines, read_table
from qwen3_rag.sources.readers.rst import read_rst
from qwen3_rag.types import Document

_READERS: dict[Format, Callable[[RawFile], Content]] = {
    Format.MARKDOWN: read_markdown,
    Format.TEXT: read_text,
    Format.HTML: read_html,
    Format.RST: read_rst,
    Format.CODE: read_code,
    Format.JSON: read_json,
    Format.JSON_LINES: read_json_lines,
    Format.TABLE: read_table,
    Format.NOTEBOOK: read_notebook,
    Format.PDF: read_pdf,
    Format.DOCX: read_office,
    Format.PPTX: read_office,
    Format.XLSX: read_office,
}


def hash_file(path: str | Path) -> str:
    """SHA-256 of a file's bytes, 64 hexadecimal digits, the same as `Document.content_hash` of what is read from them.

    Raises:
        SourceUnavailableError: the file cannot be read.
    """
    try:
        with Path(path).open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise _unavailable(Path(path), error) from error


def read(file: SourceFile, settings: SourceSettings) -> Document:
    r"""Read a file. Line ends become `\n`; every offset counts characters of the document's text, not bytes of the file.

    `metadata` holds `path` (relative to the folder that was given) and `format`, and the front matter of a Markdown file; where names
    collide the first two win.

    Raises:
        SourceUnavailableError: the file cannot be read.
        UnsupportedFormatError: no reader knows it.
        SourceError: it has no bytes, is a PDF or an office document without text, too large, damaged, encrypted, not what its name
            says, or its encoding cannot be told.
        MissingExtraError: its format needs the extra `documents`.
    """
    data = _bytes(file.path, settings)
    format_ = format_of(file.path, data[:SNIFF_BYTES])
    if format_ is None:
        kind = binary_kind(data) or "binary data"
        raise UnsupportedFormatError(f"{file.path} is {kind}, which no reader knows. Leave it out with an exclude glob")
    actual = contradiction(file.path, format_, data)
    if actual:
        raise _contradicted(file.path, actual)
    content = _READERS[format_](RawFile(file.path, data, format_))
    if format_ in OFFICE and not content.text.strip():
        raise SourceError(f"{file.path} holds no text; a scan has to be read by OCR first. Leave it out with an exclude glob")
    return _document(file, format_, content, hashlib.sha256(data).hexdigest())


def _bytes(path: Path, settings: SourceSettings) -> bytes:
    try:
        size = path.stat().st_size
        if size > settings.max_bytes:
            raise SourceError(f"{path} {too_large(size, settings.max_bytes)}")
        data = path.read_bytes()
    except OSError as error:
        raise _unavailable(path, error) from error
    if not data:
        raise SourceError(f"{path} is empty. Leave it out with an exclude glob")
    return data


def _document(file: SourceFile, format_: Format, content: Content, content_hash: str) -> Document:
    return Document(
        id=file.document_id,
        text=content.text,
        title=content.title,
        metadata={**content.metadata, "path": file.relative, "format": format_.value},
        source=file.source,
        syntax=content.syntax,
        code=content.code,
        headings=content.headings,
        content_hash=content_hash,
    )


def _contradicted(path: Path, actual: str) -> SourceError:
    remedy = "Save it without a password, in the current format" if "encrypted" in actual else "Give it its right ending, or leave it out"
    return SourceError(f"{path} is not what its ending says: it is {actual}. {remedy}")


def _unavailable(path: Path, error: OSError) -> SourceUnavailableError:
    return SourceUnavailableError(f"{path} cannot be read: {error.strerror or error}. Check that it is there, and its permissions")
