"""A few nodes to put into a store and to find again."""

from __future__ import annotations

from typing import Any

from llama_index.core.schema import BaseNode, NodeRelationship, RelatedNodeInfo, TextNode
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore

TEXTS = {
    "keys": "keys are rotated every ninety days",
    "lunch": "lunch is served at noon in the hall",
    "x/y?z=1#ü": "odd ids are welcome in the hall",
    "rota": "the rota of keys and lunch",
}


def of(document_id: str, node_id: str, text: str, **metadata: Any) -> TextNode:
    relationships = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document_id)}
    return TextNode(id_=node_id, text=text, metadata=metadata, relationships=relationships)


def filled(store: Qwen3VectorStore) -> Qwen3VectorStore:
    nodes = [of("handbook", node_id, text, length=len(text)) for node_id, text in TEXTS.items()]
    assert store.add(nodes) == list(TEXTS)
    return store


def ids(nodes: list[BaseNode]) -> list[str]:
    return [node.node_id for node in nodes]
