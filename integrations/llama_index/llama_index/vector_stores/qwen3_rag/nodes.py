"""LlamaIndex node → passage and back. It knows neither a store nor a model.

A node is kept whole, as JSON in the passage's `extra`, where no filter looks; its text and its metadata are also the passage's own, so
that other readers of the collection see them. What others wrote, ingested chunks among it, becomes a `TextNode`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageDocument,
    ImageNode,
    IndexNode,
    MetadataMode,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)
from pydantic_core import PydanticSerializationError

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.types import Hit, Passage

EXTRA_KEY = "llama_index"
_TEXT = "text"
_RESOURCE = "text_resource"
_KINDS: dict[str, type[BaseNode]] = {kind.class_name(): kind for kind in (TextNode, ImageNode, IndexNode, Node, Document, ImageDocument)}

HEADINGS = " > "
"""Between the headings of a path, from the outermost inwards."""


def to_passage(node: BaseNode) -> Passage:
    """The passage that stands for a node; EMBED-mode content is what is embedded and what BM25 counts.

    Headings in the metadata, as `Qwen3NodeParser` puts them there, are the passage's own as well: the core's reranker reads them. So is
    `source`, which the core's filters and hits know.

    Raises:
        ConfigurationError: the node holds something that JSON cannot express.
    """
    try:
        fields: dict[str, Any] = node.model_dump(mode="json", exclude={"embedding"})
        kept = json.dumps(_without_text(fields))
    except (PydanticSerializationError, ValueError) as error:
        raise ConfigurationError(f"Node {node.node_id!r} cannot be stored: {error}. Use metadata that JSON can express.") from error
    return Passage(
        node.node_id,
        node.get_content(metadata_mode=MetadataMode.NONE),
        node.metadata,
        document_id=node.ref_doc_id,
        source=_text_or_none(node.metadata.get("source")),
        headings=_headings(node),
        embed_as=node.get_content(metadata_mode=MetadataMode.EMBED),
        extra={EXTRA_KEY: kept},
    )


def to_node(hit: Hit) -> BaseNode:
    """The node that was stored, or a `TextNode` for what others wrote."""
    kept = hit.extra.get(EXTRA_KEY)
    if kept is None:
        return _foreign(hit)
    fields = _with_text(json.loads(kept), hit.text)
    return _kind(fields["class_name"]).from_dict(fields)


def _headings(node: BaseNode) -> tuple[str, ...]:
    path = node.metadata.get("headings")
    return tuple(path.split(HEADINGS)) if isinstance(path, str) and path else ()


def _text_or_none(value: Any) -> str | None:
    return value if isinstance(value, str) else None


def _without_text(fields: dict[str, Any]) -> dict[str, Any]:
    """The text is the passage's own; it need not be stored twice."""
    fields.pop(_TEXT, None)
    if fields.get(_RESOURCE):
        fields[_RESOURCE].pop(_TEXT, None)
    return fields


def _with_text(fields: dict[str, Any], text: str) -> dict[str, Any]:
    if _RESOURCE not in fields:
        return {**fields, _TEXT: text}
    return fields if fields[_RESOURCE] is None else {**fields, _RESOURCE: {**fields[_RESOURCE], _TEXT: text}}


def _kind(name: str) -> type[BaseNode]:
    """The class of that name, a user's own if it is imported, else the plain one that holds text."""
    known = _KINDS.get(name)
    return known or next((kind for kind in _subclasses(BaseNode) if kind.class_name() == name), TextNode)


def _subclasses(kind: type[Any]) -> Iterator[type[BaseNode]]:
    for each in kind.__subclasses__():
        yield each
        yield from _subclasses(each)


def _foreign(hit: Hit) -> TextNode:
    told = {"source": hit.source, "title": hit.title, "headings": HEADINGS.join(hit.headings)}
    is_chunk = hit.passage_id is None
    source = RelatedNodeInfo(node_id=hit.document_id, node_type=ObjectType.DOCUMENT)
    return TextNode(
        id_=hit.id,
        text=hit.text,
        metadata={name: value for name, value in told.items() if value} | dict(hit.metadata),
        relationships={NodeRelationship.SOURCE: source} if hit.document_id not in ("", hit.id) else {},
        start_char_idx=hit.start if is_chunk else None,
        end_char_idx=hit.end if is_chunk else None,
    )
