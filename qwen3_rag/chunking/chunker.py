"""Makes the chunks of a document: sections first, then spans within them, each fitted with its context line into the token budget.

It knows no files, models or stores; of the embedder it has only the tokenizer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace

from tokenizers import Tokenizer

from qwen3_rag.checks import lone_surrogate
from qwen3_rag.chunking.context import Context, ContextFitter
from qwen3_rag.chunking.counting import Encodings, PrefixCounter
from qwen3_rag.chunking.sections import Section, join_small, sections
from qwen3_rag.chunking.splitting import Sizer, Span, split
from qwen3_rag.errors import ConfigurationError, SourceError
from qwen3_rag.settings import ChunkingSettings
from qwen3_rag.types import Chunk, Document, EncodedText

_VERSION = 2
"""Raised when the same settings would give other chunks, so that knowledge bases chunk again."""

_SMALL_SHARE = 8
_CONTEXT_SHARE = 4
_HEADING_SHARE = 4
"""One part in so many of the budget: a smaller section is joined with its kin; the context line and the heading lines may grow up to it."""


class Chunker:
    r"""Cuts documents into chunks of at most `settings.tokens` tokens, context line included.

    Example:
        ```python
        chunker = Chunker(embedder.tokenizer, ChunkingSettings(tokens=512))
        for chunk in chunker.chunk(Document(id="a", text="# Keys\n\nKeys are rotated every ninety days.", syntax=Syntax.MARKDOWN)):
            print(chunk.headings, chunk.text)
        ```
    """

    def __init__(self, tokenizer: Tokenizer, settings: ChunkingSettings) -> None:
        check_chunking(settings)
        self._tokenizer = _unlimited(tokenizer)
        self._settings = settings

    @property
    def fingerprint(self) -> str:
        """Of the settings and of how chunks are made: when it changes, documents must be chunked again."""
        facts = {"version": _VERSION, "tokens": self._settings.tokens, "overlap": self._settings.overlap}
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()[:16]

    def chunk(self, document: Document) -> list[Chunk]:
        """Chunks in order of their spans; together they hold every character of the document that is not white space.

        Spans count characters: `document.text[chunk.start:chunk.end] == chunk.text`. They overlap only where `overlap` says so.
        A text of white space has no chunks.

        Raises:
            SourceError: the text holds lone surrogates, which no tokenizer or database takes.
        """
        _check(document)
        return _Cut(document, Encodings(self._tokenizer), self._settings).chunks()


def check_chunking(settings: ChunkingSettings) -> None:
    """Refuse settings that documents cannot be cut by.

    Raises:
        ConfigurationError: the overlap is more than half of a chunk.
    """
    if settings.overlap > settings.tokens // 2:
        raise ConfigurationError(
            f"chunk_overlap={settings.overlap} is more than half of chunk_tokens={settings.tokens}. "
            f"Set QWEN3_RAG_CHUNK_OVERLAP to {settings.tokens // 2} or less, or raise QWEN3_RAG_CHUNK_TOKENS."
        )


class _Cut:
    """The cutting of one document."""

    def __init__(self, document: Document, encodings: Encodings, settings: ChunkingSettings) -> None:
        self._document = document
        self._encodings = encodings
        self._settings = settings

    def chunks(self) -> list[Chunk]:
        fitter = ContextFitter(self._encodings, self._document.title, self._settings.tokens // _CONTEXT_SHARE)
        chunks: list[Chunk] = []
        for section, size in self._sections():
            context = fitter.fit(section.path)
            spans = self._spans(section, size, self._settings.tokens - context.tokens)
            chunks += (_chunk(self._document, span, context) for span in spans)
        return [self._finished(chunk, ordinal) for ordinal, chunk in enumerate(self._fit(chunks))]

    def _finished(self, chunk: Chunk, ordinal: int) -> Chunk:
        text = chunk.embedding_text
        encoded = EncodedText(text, self._encodings([text])[0], self._encodings.tokenizer)
        return replace(chunk, ordinal=ordinal, encoded=encoded)

    def _sections(self) -> list[tuple[Section, int]]:
        """Sections, small ones joined, each with its size; a size above the budget only says that it is above it."""
        text, budget = self._document.text, self._settings.tokens
        found = [section for section in sections(self._document) if text[section.start : section.end].strip()]
        joined = join_small(found, self._sizes(found), budget // _SMALL_SHARE, budget - budget // _CONTEXT_SHARE)
        return list(zip(joined, self._sizes(joined), strict=True))

    def _sizes(self, found: list[Section]) -> list[int]:
        """Without the white space around them, which no chunk keeps."""
        texts = [self._document.text[section.start : section.end].strip() for section in found]
        counter = PrefixCounter(self._encodings, self._settings.tokens)
        self._encodings([text for text in texts if counter.is_short(text)])
        return [counter(text) for text in texts]

    def _spans(self, section: Section, size: int, capacity: int) -> list[Span]:
        text, whole = self._document.text, Span(section.start, section.end)
        if size <= capacity:
            return [_stripped(text, whole)]
        heading = self._encodings.count([text[section.start : section.body]])[0]
        if heading > capacity // _HEADING_SHARE or not text[section.body : section.end].strip():
            return self._split(whole, capacity)
        # A splitter would leave the heading alone in a chunk where the paragraph below it fills one.
        first, *rest = self._split(Span(section.body, section.end), capacity - heading)
        return [_stripped(text, Span(section.start, first.end)), *rest]

    def _split(self, span: Span, capacity: int) -> list[Span]:
        counter = PrefixCounter(self._encodings, capacity)
        return self._by(counter, span, capacity, self._settings.overlap)

    def _by(self, size: Sizer, span: Span, capacity: int, overlap: int = 0) -> list[Span]:
        return split(self._document.text, span, self._document.syntax, self._document.code, size, capacity, overlap)

    def _fit(self, chunks: list[Chunk]) -> list[Chunk]:
        """Count every chunk exactly, and split those again that turn out too long."""
        counts = self._encodings.count([chunk.embedding_text for chunk in chunks])
        fitting: list[Chunk] = []
        for chunk, tokens in zip(chunks, counts, strict=True):
            if tokens <= self._settings.tokens:
                fitting.append(replace(chunk, tokens=tokens))
            else:
                fitting += self._smaller(chunk, tokens)
        return fitting

    def _smaller(self, chunk: Chunk, tokens: int) -> Iterable[Chunk]:
        """Split one chunk into ever smaller parts until each fits; a single character gives up its context line instead."""
        context = Context(chunk.title, chunk.headings)
        capacity = 2 * self._settings.tokens - tokens
        while capacity > 0:
            spans = self._by(self._exact, Span(chunk.start, chunk.end), capacity)
            parts = [_chunk(self._document, span, context) for span in spans]
            counts = self._encodings.count([part.embedding_text for part in parts])
            if max(counts) <= self._settings.tokens:
                return [replace(part, tokens=count) for part, count in zip(parts, counts, strict=True)]
            capacity = min(capacity - 1, capacity * 7 // 8)
        bare = replace(chunk, title=None, headings=())
        return self._smaller(bare, self._exact(bare.text)) if chunk.context else [replace(chunk, tokens=tokens)]

    def _exact(self, text: str) -> int:
        return self._encodings.count([text])[0]


def _chunk(document: Document, span: Span, context: Context) -> Chunk:
    return Chunk(
        document_id=document.id,
        ordinal=0,
        text=document.text[span.start : span.end],
        start=span.start,
        end=span.end,
        headings=context.headings,
        title=context.title,
        language=document.language,
    )


def _stripped(text: str, span: Span) -> Span:
    part = text[span.start : span.end]
    start = span.start + len(part) - len(part.lstrip())
    return Span(start, start + len(part.strip()))


def _unlimited(tokenizer: Tokenizer) -> Tokenizer:
    """The tokenizer itself, or a copy without truncation and padding, which would falsify every count."""
    if tokenizer.truncation is None and tokenizer.padding is None:
        return tokenizer
    copy = Tokenizer.from_str(tokenizer.to_str())
    copy.no_truncation()
    copy.no_padding()
    return copy


def _check(document: Document) -> None:
    if (place := lone_surrogate(document.text)) is not None:
        raise SourceError(
            f"The text of {document.id} holds a lone surrogate at character {place}. "
            "Decode it properly first, for example with errors='replace'."
        )
