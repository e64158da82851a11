"""LangChain's `Document` ↔ the core's `Passage` and `Hit`. It knows no store and no search."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from langchain_core.documents import Document

from langchain_qwen3_rag.rerankers import RELEVANCE_SCORE, RETRIEVAL_SCORE
from qwen3_rag.types import Hit, Passage, Trace

CHUNK_FIELDS = ("source", "title", "headings", "document_id", "ordinal", "start", "end")
"""What a chunk's document shows in its metadata of what the core knows of it."""


def to_documents(texts: Iterable[str], metadatas: Sequence[Mapping[str, Any]] | None, ids: Sequence[str | None] | None) -> list[Document]:
    """Documents of texts.

    Raises:
        ValueError: another number of metadata or ids than of texts.
    """
    contents = list(texts)
    _same_number("metadatas", metadatas, contents)
    _same_number("ids", ids, contents)
    pairs = zip(contents, metadatas or [{}] * len(contents), ids or [None] * len(contents), strict=True)
    return [Document(page_content=text, metadata=dict(metadata), id=given) for text, metadata, given in pairs]


def to_passages(documents: Sequence[Document], ids: Sequence[str | None] | None = None) -> list[Passage]:
    """Passages of documents: of `ids` those that are not None before the documents' own ids, and random ones where there is neither.

    Raises:
        ValueError: another number of ids than of documents.
    """
    _same_number("ids", ids, documents)
    given = ids or [None] * len(documents)
    return [_passage(document, document.id if key is None else key) for document, key in zip(documents, given, strict=True)]


def to_document(hit: Hit) -> Document:
    """The document of a hit. A passage's metadata is what was given; a chunk's also says where in which document it is."""
    metadata = dict(hit.metadata)
    if hit.passage_id is None:
        fields = {name: getattr(hit, name) for name in CHUNK_FIELDS}
        fields["headings"] = list(hit.headings)
        metadata = {name: value for name, value in fields.items() if value not in (None, [])} | metadata
    return Document(id=hit.id, page_content=hit.text, metadata=metadata)


def to_scored_document(hit: Hit, trace: Trace | None = None) -> Document:
    """The document of a hit with its scores in its metadata; with a trace also how the hit was found, stage by stage."""
    document = to_document(hit)
    recalled = next((hit.stages[name].score for name in ("fused", "dense", "lexical") if name in hit.stages), None)
    scores = {RETRIEVAL_SCORE: recalled, RELEVANCE_SCORE: hit.stages["rerank"].score if "rerank" in hit.stages else None}
    document.metadata |= {name: score for name, score in scores.items() if score is not None}
    if trace is not None:
        document.metadata |= {"stages": hit.to_dict()["stages"], "trace": trace.to_dict()}
    return document


def _passage(document: Document, key: str | None) -> Passage:
    source = document.metadata.get("source")
    return Passage(
        id=str(uuid.uuid4()) if key is None else key,
        text=document.page_content,
        metadata=document.metadata,
        source=source if isinstance(source, str) else None,
    )


def _same_number(name: str, values: Sequence[object] | None, of: Sequence[object]) -> None:
    if values is not None and len(values) != len(of):
        raise ValueError(f"There are {len(of)} texts but {len(values)} {name}. Give one for each, or none at all.")
