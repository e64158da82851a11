"""The node parser: exact spans, ids that stay, budgets in the embedder's tokens, relationships as everywhere in LlamaIndex."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from llama_index.core import SimpleDirectoryReader
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.schema import BaseNode, Document, MetadataMode, TextNode
from llama_index.node_parser.qwen3_rag import Qwen3NodeParser

import qwen3_rag
from qwen3_rag import Embedder
from qwen3_rag.chunking import Chunker
from qwen3_rag.errors import ConfigurationError
from qwen3_rag.settings import ChunkingSettings
from qwen3_rag.types import Syntax
from tests.fakes import HashEmbedder, word_tokenizer

HANDBOOK = Path(__file__).parents[3] / "examples" / "handbook"
TEXT = "# Keys\n\nRotate them. Rotate them.\n\n## Spare\n\nRotate them. " + "More words follow here. " * 30


@pytest.fixture(scope="module")
def documents() -> list[Document]:
    return SimpleDirectoryReader(str(HANDBOOK), recursive=True, required_exts=[".md", ".py", ".csv"], filename_as_id=True).load_data()


def test_the_handbook(documents: list[Document], nano: Embedder):
    parser = Qwen3NodeParser("nano", chunk_size=128)
    nodes = parser.get_nodes_from_documents(documents)
    by_id = {document.id_: document for document in documents}
    for node in nodes:
        assert isinstance(node, TextNode)
        assert by_id[node.ref_doc_id or ""].text[node.start_char_idx : node.end_char_idx] == node.text
        assert len(nano.tokenizer.encode(node.get_content(MetadataMode.EMBED), add_special_tokens=False).ids) <= 128
        assert node.metadata["file_name"] == by_id[node.ref_doc_id or ""].metadata["file_name"]
    assert len({node.node_id for node in nodes}) == len(nodes) > 300
    assert any(" > " in node.metadata.get("headings", "") for node in nodes)
    assert [node.to_json() for node in parser.get_nodes_from_documents(documents)] == [node.to_json() for node in nodes]


def test_chunks_are_the_cores():
    document = Document(id_="d", text=TEXT, metadata={"file_name": "keys.md"}, excluded_embed_metadata_keys=["file_name"])
    nodes = Qwen3NodeParser(embedder=HashEmbedder(), chunk_size=32).get_nodes_from_documents([document])
    frame = len(word_tokenizer().encode("headings: ").ids)
    expected = Chunker(word_tokenizer(), ChunkingSettings(32 - frame)).chunk(qwen3_rag.Document("d", TEXT, syntax=Syntax.MARKDOWN))
    assert [(node.start_char_idx, node.end_char_idx, node.text) for node in nodes] == [(c.start, c.end, c.text) for c in expected]
    assert [node.metadata.get("headings") for node in nodes] == [" > ".join(chunk.headings) or None for chunk in expected]


def parsed(text: str, document_id: str = "d", **options: Any) -> list[BaseNode]:
    parser = Qwen3NodeParser(embedder=HashEmbedder(), **({"chunk_size": 24} | options))
    return parser.get_nodes_from_documents([Document(id_=document_id, text=text, metadata={"file_name": "a.md"})])


def test_ids_depend_on_document_and_content_alone():
    before, after = parsed(TEXT), parsed(TEXT + "\n\n## New\n\nA section of its own. " + "Something else is said here. " * 5)
    assert [node.node_id for node in parsed(TEXT)] == [node.node_id for node in before]
    kept = {node.node_id for node in before} & {node.node_id for node in after}
    assert {node.text for node in after if node.node_id in kept} == {node.text for node in before if node.node_id in kept}
    assert len(kept) >= len(before) - 2
    assert {node.node_id for node in parsed(TEXT, "other")}.isdisjoint(node.node_id for node in before)


def test_repeated_text_has_its_own_place_and_id():
    text = "\n\n".join(["The same words stand here again and again. " * 2] * 6)
    nodes = parsed(text, chunk_size=20)
    spans = [(node.start_char_idx, node.end_char_idx) for node in nodes]
    assert spans == sorted(set(spans))
    assert all(text[start:end] == node.text for (start, end), node in zip(spans, nodes, strict=True))
    assert len({node.node_id for node in nodes}) == len(nodes)


def test_relationships():
    nodes = parsed(TEXT)
    assert len(nodes) > 2
    assert {node.ref_doc_id for node in nodes} == {"d"}
    assert [node.next_node.node_id for node in nodes[:-1]] == [node.node_id for node in nodes[1:]]
    assert [node.prev_node.node_id for node in nodes[1:]] == [node.node_id for node in nodes[:-1]]
    assert nodes[0].prev_node is nodes[-1].next_node is None
    assert all(node.prev_node is None for node in parsed(TEXT, include_prev_next_rel=False))


def test_nodes_of_a_parser_before_are_placed_in_the_document():
    text = "intro. " + TEXT
    whole = Document(id_="d", text=text)
    part = TextNode(id_="part", text=TEXT, start_char_idx=7, end_char_idx=len(text), relationships={"1": whole.as_related_node_info()})
    nodes = Qwen3NodeParser(embedder=HashEmbedder(), chunk_size=24, syntax="markdown")([part])
    assert {node.ref_doc_id for node in nodes} == {"d"}
    assert all(text[node.start_char_idx : node.end_char_idx] == node.get_content() for node in nodes)


@pytest.mark.parametrize(
    ("metadata", "syntax", "expected"),
    [
        ({"file_path": "x/notes.md"}, "auto", True),
        ({"file_name": "notes.txt"}, "auto", False),
        ({}, "auto", False),
        ({}, Syntax.MARKDOWN, True),
        ({"file_name": "notes.md"}, "text", False),
    ],
)
def test_headings_are_found_where_the_text_has_them(metadata: dict[str, str], syntax: Any, expected: bool):
    parser = Qwen3NodeParser(embedder=HashEmbedder(), syntax=syntax)
    [node, *_] = parser.get_nodes_from_documents([Document(text=TEXT, metadata=metadata)])
    assert ("headings" in node.metadata) is expected


def test_code_is_cut_along_its_syntax():
    text = "\n\n\n".join(f"def function_{number}(a, b):\n    c = a + b\n    return c" for number in range(4))
    nodes = Qwen3NodeParser("nano", chunk_size=64).get_nodes_from_documents([Document(text=text, metadata={"file_name": "a.py"})])
    assert all(node.get_content().startswith("def ") for node in nodes)


def test_ids_of_ones_own():
    nodes = parsed(TEXT, id_func=lambda number, document: f"{document.node_id}-{number}")
    assert [node.node_id for node in nodes] == [f"d-{number}" for number in range(len(nodes))]


def test_without_metadata():
    nodes = parsed(TEXT, include_metadata=False)
    assert all(node.metadata.keys() <= {"headings"} for node in nodes)


def test_metadata_may_leave_no_room():
    parser = Qwen3NodeParser(embedder=HashEmbedder(), chunk_size=20)
    with pytest.raises(ConfigurationError, match="include_metadata"):
        parser.get_nodes_from_documents([Document(text=TEXT, metadata={"abstract": "word " * 10})])


def test_empty_and_odd_documents():
    assert parsed("") == parsed(" \n ") == []
    assert Qwen3NodeParser(embedder=HashEmbedder())([]) == []
    with pytest.raises(ConfigurationError, match="syntax"):
        Qwen3NodeParser(embedder=HashEmbedder(), syntax="prose")
    with pytest.raises(ConfigurationError, match="overlap"):
        Qwen3NodeParser(embedder=HashEmbedder(), chunk_size=32, chunk_overlap=30)


async def test_async_and_pipeline(documents: list[Document]):
    parser = Qwen3NodeParser("nano")
    nodes = parser(documents)
    assert [node.node_id for node in await parser.acall(documents)] == [node.node_id for node in nodes]
    pipeline = IngestionPipeline(transformations=[parser])
    assert [node.node_id for node in pipeline.run(documents=documents)] == [node.node_id for node in nodes]
    copy = pickle.loads(pickle.dumps(parser))
    assert [node.node_id for node in copy(documents)] == [node.node_id for node in nodes]
    hashes = {get_transformation_hash(nodes[:1], each) for each in (parser, copy, Qwen3NodeParser("nano", chunk_size=100))}
    assert len(hashes) == 2


@pytest.fixture(scope="module")
def small() -> Qwen3NodeParser:
    return Qwen3NodeParser(embedder=HashEmbedder(), chunk_size=16, chunk_overlap=4, syntax="markdown")


@settings(max_examples=60, deadline=None)
@given(text=st.text(alphabet="ab # \n.ä漢", max_size=200))
def test_spans_are_exact_whatever_the_text(small: Qwen3NodeParser, text: str):
    for node in small.get_nodes_from_documents([Document(id_="d", text=text)]):
        assert isinstance(node, TextNode)
        assert text[node.start_char_idx : node.end_char_idx] == node.text
