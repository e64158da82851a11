"""The value objects that travel between the rooms: Document → Chunk → Hit, and Trace.

They are frozen and hold plain data. They know nothing of models, Qdrant or the database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Any, Self

_NO_METADATA: Mapping[str, Any] = MappingProxyType({})


class Syntax(StrEnum):
    """How a document's text is written, which decides how it is split and where its headings come from."""

    TEXT = "text"
    MARKDOWN = "markdown"
    CODE = "code"
    RECORDS = "records"
    """One record a line or paragraph (JSON Lines, CSV): records are kept whole where they fit."""


class Mode(StrEnum):
    """Which rankers recall candidates."""

    HYBRID = "hybrid"
    DENSE = "dense"
    LEXICAL = "lexical"


class Fusion(StrEnum):
    """How the dense and the lexical ranking become one."""

    COMPLETED = "completed"
    RRF = "rrf"
    DBSF = "dbsf"


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading of a document: its text, its level (1 is the highest) and the character offset where its section starts."""

    text: str
    level: int
    start: int


@dataclass(frozen=True, slots=True)
class Document:
    """One document, as text.

    `id` identifies it across ingests: a document with the same id replaces the former one. `language` is an ISO 639-1 code
    or None to have it detected. `code` names the programming language when `syntax` is `Syntax.CODE` (`"python"`).
    `headings` are given by readers whose text no longer shows them (HTML); Markdown headings are found in the text itself.
    `source` is a path or URI for people to follow; `content_hash` is the hash of the original bytes where there were any.
    """

    id: str
    text: str
    title: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=lambda: _NO_METADATA)
    source: str | None = None
    syntax: Syntax = Syntax.TEXT
    code: str | None = None
    language: str | None = None
    tenant: str | None = None
    headings: tuple[Heading, ...] = ()
    content_hash: str | None = None


class EncodedText(str):
    """A text that remembers its token ids in one tokenizer, so that a model with that very tokenizer need not encode it again."""

    __slots__ = ("_ids", "_tokenizer")
    _ids: Sequence[int]
    _tokenizer: object

    def __new__(cls, text: str, ids: Sequence[int], tokenizer: object) -> Self:
        """`ids` are those of `text` in `tokenizer`, nothing added and nothing cut."""
        made = super().__new__(cls, text)
        made._ids, made._tokenizer = ids, tokenizer
        return made

    def ids_in(self, tokenizer: object) -> Sequence[int] | None:
        """The ids, if they are of this tokenizer object."""
        return self._ids if tokenizer is self._tokenizer else None

    def __reduce__(self) -> tuple[type[str], tuple[str]]:
        """A copy or what another process gets is the text alone: it is one tokenizer's object that knows the ids."""
        return str, (str(self),)


@dataclass(frozen=True, slots=True)
class Chunk:
    """A span of a document: `document.text[start:end] == text`, exactly.

    `headings` is the path of headings above the span, outermost first, without the document's title. `tokens` is the
    length of `embedding_text` in the embedder's own tokens. `language` is what BM25 analyses it in. `encoded` is `embedding_text` with its
    token ids, where the chunker left them.
    """

    document_id: str
    ordinal: int
    text: str
    start: int
    end: int
    headings: tuple[str, ...] = ()
    title: str | None = None
    tokens: int = 0
    language: str | None = None
    encoded: EncodedText | None = field(default=None, compare=False, repr=False)

    @property
    def context(self) -> str:
        """Title and heading path, joined by `" > "`; empty when there is neither."""
        return context_line(self.title, self.headings)

    @property
    def embedding_text(self) -> str:
        """What is embedded and what BM25 counts: the context line, then the text."""
        text = f"{self.context}\n{self.text}" if self.context else self.text
        return self.encoded if self.encoded == text else text


def context_line(title: str | None, headings: tuple[str, ...]) -> str:
    """Title and heading path as one line; a heading that repeats the title is said once."""
    parts = [title] if title else []
    parts += [heading for heading in headings if heading and heading != title]
    return " > ".join(parts)


@dataclass(frozen=True, slots=True)
class Passage:
    """A piece of text that goes into a collection whole, as a framework's document or node does: it is not chunked.

    `id` is any non-empty text; a passage with the same id replaces the former one. `document_id` names what it is a piece of (itself when
    None). `embed_as` is what is embedded and what BM25 counts where that is not title, headings and text. `extra` is stored beside it and
    given back, and no filter looks into it. `language` is an ISO 639-1 code or None to have it detected.
    """

    id: str
    text: str
    metadata: Mapping[str, Any] = field(default_factory=lambda: _NO_METADATA)
    document_id: str | None = None
    ordinal: int = 0
    title: str | None = None
    headings: tuple[str, ...] = ()
    source: str | None = None
    tenant: str | None = None
    language: str | None = None
    embed_as: str | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: _NO_METADATA)

    @property
    def embedding_text(self) -> str:
        """What is embedded and what BM25 counts."""
        if self.embed_as is not None:
            return self.embed_as
        context = context_line(self.title, self.headings)
        return f"{context}\n{self.text}" if context else self.text


@dataclass(frozen=True, slots=True)
class EmbeddingSpace:
    """What makes two vectors comparable. Vectors of spaces with different fingerprints are never compared."""

    model: str
    revision: str
    dim: int
    template: str
    pooling: str = "last-token"

    @property
    def fingerprint(self) -> str:
        """32 hexadecimal digits of the SHA-256 of the fields as canonical JSON. `model` is a name, so it does not count."""
        fields = {"revision": self.revision, "dim": self.dim, "template": self.template, "pooling": self.pooling}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:32]

    def __str__(self) -> str:
        return f"{self.model} (revision {self.revision[:12]}, {self.dim} dimensions)"


@dataclass(frozen=True, slots=True)
class Stage:
    """What one stage thought of a hit: its rank there (1 is first) and its score there."""

    rank: int
    score: float


@dataclass(frozen=True, slots=True)
class Hit:
    """One passage found. `stages` maps `dense`, `lexical`, `fused`, `rerank` and `blended` to rank and score, as far as they ran.

    `score` is that of the last ranker that scored this hit: where `blended` gave the order, still the reranker's. `reranked` is None when
    no reranking was asked for, False for a hit that the deadline left in recall order. `passage_id` and `extra` are those of a `Passage`; a
    chunk has neither. `embed_as` is what was embedded of a passage where that is not title, headings and text.
    """

    document_id: str
    ordinal: int
    text: str
    start: int
    end: int
    headings: tuple[str, ...]
    title: str | None
    source: str | None
    metadata: Mapping[str, Any]
    score: float
    stages: Mapping[str, Stage]
    point_id: str
    reranked: bool | None = None
    truncated: bool = False
    passage_id: str | None = None
    extra: Mapping[str, Any] = field(default_factory=lambda: _NO_METADATA)
    embed_as: str | None = None

    @property
    def id(self) -> str:
        """The id by which this passage is fetched and deleted: its own, or for a chunk its point's."""
        return self.passage_id or self.point_id

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with the field names above."""
        return {
            "id": self.id,
            "document_id": self.document_id,
            "ordinal": self.ordinal,
            "text": self.text,
            "start": self.start,
            "end": self.end,
            "headings": list(self.headings),
            "title": self.title,
            "source": self.source,
            "metadata": dict(self.metadata),
            "score": self.score,
            "stages": {name: {"rank": stage.rank, "score": stage.score} for name, stage in self.stages.items()},
            "point_id": self.point_id,
            "reranked": self.reranked,
            "truncated": self.truncated,
        }


@dataclass(frozen=True, slots=True)
class TraceStep:
    """One stage of one search: seconds, how many candidates went in and came out, and why some did not."""

    name: str
    seconds: float
    received: int
    returned: int
    note: str = ""


@dataclass(frozen=True, slots=True)
class Trace:
    """How one search was answered, stage by stage."""

    query: str
    mode: Mode
    fusion: Fusion | None
    instruction: str | None
    language: str | None
    steps: tuple[TraceStep, ...]
    deadline_reached: bool = False

    @property
    def seconds(self) -> float:
        """Total time of all steps."""
        return sum(step.seconds for step in self.steps)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types, with the field names above and `seconds`."""
        return {
            "query": self.query,
            "mode": str(self.mode),
            "fusion": None if self.fusion is None else str(self.fusion),
            "instruction": self.instruction,
            "language": self.language,
            "steps": [asdict(step) for step in self.steps],
            "deadline_reached": self.deadline_reached,
            "seconds": self.seconds,
        }


class Hits(list[Hit]):
    """A list of hits, best first, and how they were found: `trace`, None unless it was asked for with `explain=True`."""

    def __init__(self, hits: Iterable[Hit] = (), trace: Trace | None = None) -> None:
        super().__init__(hits)
        self.trace = trace
