"""Makes the chunks of a document: sections first, then spans within them, each fitted with its context line into the token budget.

It knows no files, models or stores; of the embedder it has only the tokenizer.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import replace

from tokenizers import Tokenizer

from qwen3_rag.chunking.context import Context, ContextFitter
from qwen3_rag.chunking.counting import PrefixCounter, count_tokens
from qwen3_rag.chunking.sections import Section, join_small, sections
from qwen3_rag.chunking.splitting import Span, split
from qwen3_rag.errors import ConfigurationError, SourceError
from qwen3_rag.settings import ChunkingSettings
from qwen3_rag.types import Chunk, Document

_VERSION = 1
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
        if settings.overlap > settings.tokens // 2:
            raise ConfigurationError(
                f"chunk_overlap={settings.overlap} is more than half of chunk_tokens={settings.tokens}. "
                f"Set QWEN3_RAG_CHUNK_OVERLAP to {settings.tokens // 2} or less, or raise QWEN3_RAG_CHUNK_TOKENS."
            )
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
        fitter = ContextFitter(self._tokenizer, document.title, self._settings.tokens // _CONTEXT_SHARE)
        chunks: list[Chunk] = []
        for section, size in self._sections(document):
            context = fitter.fit(section.path)
            spans = self._spans(document, section, size, self._settings.tokens - context.tokens)
            chunks += (_chunk(document, span, context) for span in spans)
        fitting = self._fit(document, chunks)
        return [replace(chunk, ordinal=ordinal) for ordinal, chunk in enumerate(fitting)]

    def _sections(self, document: Document) -> list[tuple[Section, int]]:
        """Sections, small ones joined, each with its size; a size above the budget only says that it is above it."""
        found = [section for section in sections(document) if document.text[section.start : section.end].strip()]
        budget = self._settings.tokens
        joined = join_small(found, self._sizes(document, found), budget // _SMALL_SHARE, budget - budget // _CONTEXT_SHARE)
        return list(zip(joined, self._sizes(document, joined), strict=True))

    def _sizes(self, document: Document, found: list[Section]) -> list[int]:
        counter = PrefixCounter(self._tokenizer, self._settings.tokens)
        return [counter(document.text[section.start : section.end]) for section in found]

    def _spans(self, document: Document, section: Section, size: int, capacity: int) -> list[Span]:
        whole = Span(section.start, section.end)
        if size <= capacity:
            return [_stripped(document.text, whole)]
        heading = count_tokens(self._tokenizer, [document.text[section.start : section.body]])[0]
        if heading > capacity // _HEADING_SHARE or not document.text[section.body : section.end].strip():
            return self._split(document, whole, capacity)
        # A splitter would leave the heading alone in a chunk where the paragraph below it fills one.
        first, *rest = self._split(document, Span(section.body, section.end), capacity - heading)
        return [_stripped(document.text, Span(section.start, first.end)), *rest]

    def _split(self, document: Document, span: Span, capacity: int) -> list[Span]:
        counter = PrefixCounter(self._tokenizer, capacity)
        return split(document.text, span, document.syntax, document.code, counter, capacity, self._settings.overlap)

    def _fit(self, document: Document, chunks: list[Chunk]) -> list[Chunk]:
        """Count every chunk exactly, and split those again that turn out too long."""
        counts = count_tokens(self._tokenizer, [chunk.embedding_text for chunk in chunks])
        fitting: list[Chunk] = []
        for chunk, tokens in zip(chunks, counts, strict=True):
            if tokens <= self._settings.tokens:
                fitting.append(replace(chunk, tokens=tokens))
            else:
                fitting += self._smaller(document, chunk, tokens)
        return fitting

    def _smaller(self, document: Document, chunk: Chunk, tokens: int) -> Iterable[Chunk]:
        """Split one chunk into ever smaller parts until each fits; a single character gives up its context line instead."""
        context = Context(chunk.title, chunk.headings)
        capacity = 2 * self._settings.tokens - tokens
        while capacity > 0:
            spans = split(document.text, Span(chunk.start, chunk.end), document.syntax, document.code, self._exact, capacity)
            parts = [_chunk(document, span, context) for span in spans]
            counts = count_tokens(self._tokenizer, [part.embedding_text for part in parts])
            if max(counts) <= self._settings.tokens:
                return [replace(part, tokens=count) for part, count in zip(parts, counts, strict=True)]
            capacity = min(capacity - 1, capacity * 7 // 8)
        bare = replace(chunk, title=None, headings=())
        return self._smaller(document, bare, self._exact(bare.text)) if chunk.context else [replace(chunk, tokens=tokens)]

    def _exact(self, text: str) -> int:
        return count_tokens(self._tokenizer, [text])[0]


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
    try:
        document.text.encode()
    except UnicodeEncodeError as error:
        raise SourceError(
            f"The text of {document.id} holds a lone surrogate at character {error.start}. "
            "Decode it properly first, for example with errors='replace'."
        ) from error
