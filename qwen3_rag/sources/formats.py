"""The formats that can be read, how a file's format is told, and what a file that no reader knows is called.

The name decides where it says anything; the first bytes decide for the rest, and find files that are not what their name says.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from qwen3_rag.sources.decoding import is_binary

SNIFF_BYTES = 8192


class Format(StrEnum):
    """What a file is written in. The value is kept in the document's metadata as `format`."""

    MARKDOWN = "markdown"
    TEXT = "text"
    HTML = "html"
    RST = "rst"
    CODE = "code"
    JSON = "json"
    JSON_LINES = "jsonl"
    TABLE = "csv"
    NOTEBOOK = "notebook"
    PDF = "pdf"
    DOCX = "docx"
    PPTX = "pptx"
    XLSX = "xlsx"


OFFICE = frozenset({Format.PDF, Format.DOCX, Format.PPTX, Format.XLSX})


@dataclass(frozen=True, slots=True)
class FormatInfo:
    """A format, the endings and whole names it goes by, and the extra it needs, if any."""

    format: Format
    extensions: tuple[str, ...]
    names: tuple[str, ...] = ()
    extra: str | None = None


LANGUAGES: dict[str, tuple[str, ...]] = {
    "python": (".py", ".pyi", ".pyw"),
    "javascript": (".js", ".mjs", ".cjs", ".jsx"),
    "typescript": (".ts", ".mts", ".cts"),
    "tsx": (".tsx",),
    "java": (".java",),
    "go": (".go",),
    "rust": (".rs",),
    "c": (".c", ".h"),
    "cpp": (".cc", ".cpp", ".cxx", ".hh", ".hpp", ".hxx", ".ipp", ".cu", ".cuh"),
    "bash": (".sh", ".bash", ".zsh", ".ksh"),
    "ruby": (".rb", ".rake", ".gemspec"),
    "csharp": (".cs",),
    "kotlin": (".kt", ".kts"),
    "scala": (".scala",),
    "swift": (".swift",),
    "objectivec": (".m", ".mm"),
    "php": (".php",),
    "perl": (".pl", ".pm"),
    "lua": (".lua",),
    "r": (".r",),
    "julia": (".jl",),
    "dart": (".dart",),
    "elixir": (".ex", ".exs"),
    "erlang": (".erl", ".hrl"),
    "haskell": (".hs",),
    "ocaml": (".ml", ".mli"),
    "fsharp": (".fs",),
    "clojure": (".clj", ".cljs", ".edn"),
    "lisp": (".el", ".lisp", ".scm"),
    "groovy": (".groovy", ".gradle"),
    "zig": (".zig",),
    "sql": (".sql",),
    "powershell": (".ps1", ".psm1"),
    "batch": (".bat", ".cmd"),
    "protobuf": (".proto",),
    "graphql": (".graphql",),
    "terraform": (".tf", ".hcl"),
    "css": (".css", ".scss", ".sass", ".less"),
    "vue": (".vue",),
    "svelte": (".svelte",),
    "xml": (".xml", ".xsd", ".xsl"),
    "yaml": (".yaml", ".yml"),
    "toml": (".toml",),
    "ini": (".ini", ".cfg", ".conf", ".properties"),
    "make": (".mk",),
    "cmake": (".cmake",),
}
"""Programming languages and the endings of their files. A name that chunking has a grammar for is split along its syntax."""

_LANGUAGE_NAMES = {
    "makefile": "make",
    "gnumakefile": "make",
    "dockerfile": "docker",
    "containerfile": "docker",
    "cmakelists.txt": "cmake",
    "gemfile": "ruby",
    "rakefile": "ruby",
    "jenkinsfile": "groovy",
}
_INTERPRETERS = {"python": "python", "node": "javascript", "bash": "bash", "sh": "bash", "zsh": "bash", "ruby": "ruby", "perl": "perl"}
_LANGUAGE_OF = {extension: language for language, extensions in LANGUAGES.items() for extension in extensions}

_FORMATS = (
    FormatInfo(Format.MARKDOWN, (".md", ".markdown", ".mdx", ".qmd")),
    FormatInfo(Format.TEXT, (".txt", ".text", ".log", ".tex", ".adoc", ".org", ".srt", ".vtt")),
    FormatInfo(Format.HTML, (".html", ".htm", ".xhtml")),
    FormatInfo(Format.RST, (".rst", ".rest")),
    FormatInfo(Format.JSON, (".json", ".geojson")),
    FormatInfo(Format.JSON_LINES, (".jsonl", ".ndjson")),
    FormatInfo(Format.TABLE, (".csv", ".tsv", ".tab")),
    FormatInfo(Format.NOTEBOOK, (".ipynb",)),
    FormatInfo(Format.PDF, (".pdf",), extra="documents"),
    FormatInfo(Format.DOCX, (".docx",), extra="documents"),
    FormatInfo(Format.PPTX, (".pptx",), extra="documents"),
    FormatInfo(Format.XLSX, (".xlsx",), extra="documents"),
    FormatInfo(Format.CODE, tuple(_LANGUAGE_OF), tuple(_LANGUAGE_NAMES)),
)
_FORMAT_OF = {extension: info.format for info in _FORMATS for extension in info.extensions}

_MAGIC = (
    (b"\x89PNG\r\n\x1a\n", "a PNG image"),
    (b"\xff\xd8\xff", "a JPEG image"),
    (b"GIF87a", "a GIF image"),
    (b"GIF89a", "a GIF image"),
    (b"BM", "a bitmap image"),
    (b"II*\x00", "a TIFF image"),
    (b"MM\x00*", "a TIFF image"),
    (b"%PDF-", "a PDF"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"PK\x05\x06", "an empty ZIP archive"),
    (b"\x1f\x8b", "gzip-compressed data"),
    (b"BZh", "bzip2-compressed data"),
    (b"\xfd7zXZ\x00", "xz-compressed data"),
    (b"\x28\xb5\x2f\xfd", "Zstandard-compressed data"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an old or encrypted office document"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3\x00", "an SQLite database"),
    (b"OggS", "audio or video"),
    (b"ID3", "audio"),
    (b"fLaC", "audio"),
)
_SHORT_MAGIC = (b"BM", b"MZ", b"BZh", b"ID3", b"Rar!", b"OggS", b"fLaC")
_PARTS = {b"word/": Format.DOCX, b"ppt/": Format.PPTX, b"xl/": Format.XLSX}
_OFFICE = frozenset(_PARTS.values())


def supported_formats() -> tuple[FormatInfo, ...]:
    """Every format with its endings, for help texts and documentation. Text of an unknown ending is read as plain text."""
    return _FORMATS


def format_by_name(path: Path) -> Format | None:
    """The format that a file's name stands for; None when the name says nothing."""
    if path.name.lower() in _LANGUAGE_NAMES:
        return Format.CODE
    return _FORMAT_OF.get(path.suffix.lower())


def format_of(path: Path, start: bytes) -> Format | None:
    """The format of a file by its name, else by its first bytes; None when no reader knows it."""
    named = format_by_name(path)
    if named is not None:
        return named
    kind = binary_kind(start)
    if kind == "a PDF":
        return Format.PDF
    if kind is not None:
        return _office_format(start)
    if is_binary(start):
        return None
    head = start.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if head.startswith((b"<!doctype html", b"<html")):
        return Format.HTML
    return Format.CODE if language_of(path, start) else Format.TEXT


def contradiction(path: Path, format_: Format, data: bytes) -> str | None:
    """What a file really is, in words, when its bytes contradict its format; None when they agree as far as can be seen."""
    kind = binary_kind(data[:SNIFF_BYTES])
    if format_ is Format.PDF:
        return None if b"%PDF-" in data[:1024] else kind or _text_or_binary(data)
    if format_ in _OFFICE:
        if kind != "a ZIP archive or office document":
            return kind or _text_or_binary(data)
        actual = _office_format(data)
        return None if actual is format_ else f"a {actual.value.upper()} document" if actual else "a ZIP archive"
    return kind


def language_of(path: Path, start: bytes = b"") -> str | None:
    """The programming language of a file, by its ending, its name or the interpreter in its first line."""
    named = _LANGUAGE_OF.get(path.suffix.lower()) or _LANGUAGE_NAMES.get(path.name.lower())
    if named or not start.startswith(b"#!"):
        return named
    words = start.splitlines()[0].decode("ascii", "replace").replace("/", " ").split()
    return next((_INTERPRETERS[name] for word in reversed(words) if (name := word.rstrip("0123456789.")) in _INTERPRETERS), None)


def binary_kind(start: bytes) -> str | None:
    """What the first bytes of a binary file are known to begin, in words; None for text and for anything unknown."""
    for magic, kind in _MAGIC:
        if start.startswith(magic) and (magic not in _SHORT_MAGIC or is_binary(start)):
            return kind
    if start[:4] == b"RIFF":
        return "an image, audio or video"
    return "a video" if start[4:8] == b"ftyp" else None


def too_large(size: int, limit: int) -> str:
    """The reason for refusing a file of `size` bytes."""
    return f"is {_megabytes(size)}, larger than the limit of {_megabytes(limit)}; raise it with max_bytes={size} (QWEN3_RAG_MAX_BYTES)"


def _office_format(data: bytes) -> Format | None:
    """Office Open XML names its main folder in the first entries of the archive, or else in the directory at its end."""
    if not data.startswith(b"PK\x03\x04"):
        return None
    return next((format_ for part, format_ in _PARTS.items() if part in data), None)


def _text_or_binary(data: bytes) -> str:
    return "binary data" if is_binary(data[:SNIFF_BYTES]) else "text"


def _megabytes(size: int) -> str:
    return f"{size:,} bytes" if size < 1 << 20 else f"{size / (1 << 20):.1f} MiB"
