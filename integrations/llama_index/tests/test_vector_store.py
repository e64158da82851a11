"""Nodes in, nodes out, found in every mode; on the embedded engine and in local mode."""

from __future__ import annotations

import asyncio
import pickle
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.schema import (
    BaseNode,
    Document,
    ImageNode,
    IndexNode,
    MediaResource,
    MetadataMode,
    Node,
    NodeRelationship,
    ObjectType,
    RelatedNodeInfo,
    TextNode,
)
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore
from qdrant_client import QdrantClient

import qwen3_rag
from integrations.llama_index.tests.nodes import TEXTS, filled, ids, of
from qwen3_rag import KnowledgeBase, Passage, Passages, Settings
from qwen3_rag.errors import ConfigurationError, DimensionError
from tests.fakes import HashEmbedder, OverlapReranker

Mode = VectorStoreQueryMode


class Mine(TextNode):
    """A node class of a user's own."""

    weight: float = 1.0

    @classmethod
    def class_name(cls) -> str:
        return "MineOfTheTests"


NODES = [
    TextNode(
        id_="whole",
        text="words {content}",
        metadata={"z": 1, "a": {"deep": [1, 2.5, None, {"k": "v"}]}, "empty": [], "text": "not the text"},
        excluded_embed_metadata_keys=["z"],
        excluded_llm_metadata_keys=["a"],
        metadata_template="{key}={value}",
        metadata_separator="; ",
        text_template="{content} ({metadata_str})",
        mimetype="text/markdown",
        start_char_idx=3,
        end_char_idx=18,
        relationships={
            NodeRelationship.SOURCE: RelatedNodeInfo(node_id="doc", node_type=ObjectType.DOCUMENT, metadata={"m": 1}, hash="h"),
            NodeRelationship.NEXT: RelatedNodeInfo(node_id="next"),
            NodeRelationship.CHILD: [RelatedNodeInfo(node_id="child")],
        },
    ),
    IndexNode(id_="index", text="a summary", index_id="target", obj=TextNode(id_="inner", text="behind it")),
    ImageNode(id_="image", text="a caption", image_url="http://example.org/x.png"),
    Document(id_="document", text="a whole document", metadata={"k": "v"}),
    Node(id_="node", text_resource=MediaResource(text="a resource", mimetype="text/html"), metadata={"k": 1}),
    Node(id_="bare"),
    Mine(id_="mine", text="of my own class", weight=2.5),
]


@pytest.mark.parametrize("node", NODES, ids=lambda node: node.node_id)
def test_nodes_come_back_equal(store: Qwen3VectorStore, node: BaseNode):
    before = node.to_json()
    store.add([node])
    assert node.to_json() == before
    [back] = store.get_nodes([node.node_id])
    assert back.embedding == pytest.approx(HashEmbedder().embed_documents([node.get_content(MetadataMode.EMBED)])[0].tolist(), abs=1e-5)
    back.embedding = None
    assert type(back) is type(node)
    assert back == node
    assert back.to_json() == before
    assert back.hash == node.hash


def test_what_cannot_be_stored_is_named(store: Qwen3VectorStore):
    with pytest.raises(ConfigurationError, match="'odd'"):
        store.add([TextNode(id_="odd", text="x", metadata={"socket": object()})])


def test_embeddings_are_passed_through_and_missing_ones_made(store: Qwen3VectorStore):
    vector = HashEmbedder().embed_documents(["zebra"])[0].tolist()
    store.add([TextNode(id_="given", text="text without meaning", embedding=vector), TextNode(id_="made", text="lunch at noon")])
    assert store.query(VectorStoreQuery(query_embedding=vector, similarity_top_k=1)).ids == ["given"]
    assert store.query(VectorStoreQuery(query_str="lunch at noon", similarity_top_k=1)).ids == ["made"]
    with pytest.raises(DimensionError, match="3 dimensions"):
        store.add([TextNode(text="x", embedding=[1.0, 0.0, 0.0])])
    with pytest.raises(DimensionError, match=r"3 dimensions does not fit a collection of .* Embed the query with"):
        store.query(VectorStoreQuery(query_embedding=[1.0, 0.0, 0.0]))


def test_an_embedding_is_not_made_twice(where: str):
    embedder = HashEmbedder()
    with Qwen3VectorStore(where, embedder=embedder, reranker="off") as store:
        store.add([TextNode(text=f"n{number}", embedding=[0.1] * 64) for number in range(3)])
        assert embedder.embedded == []


def test_metadata_for_embedding_is_embedded_and_counted(store: Qwen3VectorStore):
    store.add([TextNode(id_="a", text="nothing", metadata={"team": "zebra"}), TextNode(id_="b", text="nothing", metadata={"team": "yak"})])
    assert store.query(VectorStoreQuery(query_str="zebra", mode=Mode.TEXT_SEARCH, similarity_top_k=2)).ids == ["a"]
    assert store.query(VectorStoreQuery(query_str="team: zebra nothing", similarity_top_k=1)).ids == ["a"]


def test_the_cores_reranker_reads_what_was_embedded(where: str):
    reranker = OverlapReranker()
    with Qwen3VectorStore(where, embedder=HashEmbedder(), reranker=reranker) as store:
        store.add(
            [TextNode(text="every ninety days", metadata={"headings": "Keys > Rotation"}), TextNode(text="other", metadata={"headings": 3})]
        )
        assert store.passages.search("rotation")[0].headings == ("Keys", "Rotation")
        assert sorted(reranker.scored) == ["headings: 3\n\nother", "headings: Keys > Rotation\n\nevery ninety days"]


def test_nothing_is_there_at_first(where: str):
    store = Qwen3VectorStore(where, embedder=HashEmbedder(), reranker="off")
    assert store.query(VectorStoreQuery(query_str="keys")).ids == []
    assert store.query(VectorStoreQuery(query_embedding=[0.1] * 64)).nodes == []
    assert store.get_nodes() == store.get_nodes(["a"]) == []
    insensitive = MetadataFilter(key="k", value="x", operator=FilterOperator.TEXT_MATCH_INSENSITIVE)
    assert store.get_nodes(filters=MetadataFilters(filters=[insensitive])) == []
    store.delete("doc")
    store.clear()
    assert store.add([]) == []
    store.close()


def test_get_nodes_has_no_limit_and_keeps_the_order_asked_for(store: Qwen3VectorStore):
    store.add([TextNode(id_=f"n{number}", text="t", metadata={"even": str(number % 2)}, embedding=[0.1] * 64) for number in range(700)])
    assert len(store.get_nodes()) == 700
    even = MetadataFilters(filters=[MetadataFilter(key="even", value="0")])
    assert len(store.get_nodes(filters=even)) == 350
    wanted = [f"n{number}" for number in (5, 600, 2, 0)]
    assert ids(store.get_nodes(wanted)) == wanted
    assert ids(store.get_nodes(["n5", "n5"])) == ["n5"]
    assert ids(store.get_nodes(["n2", "n2"], even)) == ["n2"]
    assert ids(store.get_nodes([*wanted, "nowhere"], even)) == ["n600", "n2", "n0"]
    assert store.get_nodes([]) == store.get_nodes([], even) == []


async def test_deleting(store: Qwen3VectorStore):
    filled(store).add([of("other", "new", "of the other document", length=1), TextNode(id_="alone", text="without a source")])
    await store.adelete("other")
    assert await store.aget_nodes(["new"]) == []
    store.delete("alone")
    assert store.get_nodes(["alone"]) == []
    short = MetadataFilters(filters=[MetadataFilter(key="length", value=30, operator=FilterOperator.LT)])
    store.delete_nodes(["keys", "rota"], short)
    assert set(ids(store.get_nodes())) == {"keys", "lunch", "x/y?z=1#ü"}
    await store.adelete_nodes(["x/y?z=1#ü", "nowhere"])
    store.delete_nodes([])
    assert set(ids(store.get_nodes())) == {"keys", "lunch"}
    store.delete_nodes(filters=MetadataFilters(filters=[MetadataFilter(key="length", value=34)]))
    assert set(ids(store.get_nodes())) == {"lunch"}
    with pytest.raises(ConfigurationError, match="clear"):
        store.delete_nodes()
    await store.aclear()
    assert store.get_nodes() == []


async def test_async_adds_share_the_work(store: Qwen3VectorStore):
    await asyncio.gather(*(store.async_add([of("doc", f"n{number}", f"number {number}")]) for number in range(20)))
    assert len(await store.aget_nodes()) == 20
    vector = HashEmbedder().embed_documents(["zebra"])[0].tolist()
    assert await store.async_add([TextNode(id_="a", text="x", embedding=vector), TextNode(id_="b", text="y z")]) == ["a", "b"]
    assert (await store.aquery(VectorStoreQuery(query_embedding=vector, similarity_top_k=1))).ids == ["a"]


@pytest.mark.parametrize("call", ["add", "delete", "delete_nodes"])
def test_keywords_of_other_stores_are_refused(store: Qwen3VectorStore, call: str):
    with pytest.raises(ConfigurationError, match="shard_identifier"):
        getattr(store, call)(["x"] if call != "delete" else "x", shard_identifier=1)


async def test_clients(store: Qwen3VectorStore):
    filled(store)
    assert store.client.count(store.passages.collection).count == len(TEXTS)
    aclient = store.aclient
    assert (await aclient.count(store.passages.collection)).count == len(TEXTS)
    await aclient.close()
    assert len(store.get_nodes()) == len(TEXTS)


def test_over_every_place(tmp_path: Path):
    client = QdrantClient(":memory:")
    with Qwen3VectorStore(client, embedder=HashEmbedder(), reranker="off") as store:
        filled(store)
    with Passages.open(client, embedder=HashEmbedder(), reranker="off") as passages, Qwen3VectorStore(passages) as store:
        assert len(store.get_nodes()) == len(TEXTS)
        with pytest.raises(ConfigurationError, match=r"Passages\.open"):
            Qwen3VectorStore(passages, embedder="nano")
    assert client.count("documents").count == len(TEXTS)
    with Qwen3VectorStore(client, embedder=HashEmbedder(), reranker="off", collection="other") as store:
        store.add([TextNode(text="x")])
    assert client.count("other").count == 1
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker="off") as kb:
        with Qwen3VectorStore(kb) as store:
            filled(store)
        assert kb.search("lunch is served at noon", top_k=1)[0].id == "lunch"


def test_what_others_wrote(tmp_path: Path):
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker="off") as kb:
        document = qwen3_rag.Document("doc", "# Keys\n\nkeys are rotated", title="Handbook", source="keys.md", metadata={"team": "ops"})
        kb.ingest([document])
        kb.passages().put([Passage("p", "a passage", {"k": "v"}), Passage("q", "another", document_id="d")])
        store = Qwen3VectorStore(kb)
        nodes = {node.node_id: node for node in store.get_nodes()}
        passage, other = nodes.pop("p"), nodes.pop("q")
        [chunk] = nodes.values()
        assert isinstance(chunk, TextNode)
        assert document.text[chunk.start_char_idx : chunk.end_char_idx] == chunk.text
        assert chunk.metadata.items() >= {"team": "ops", "source": "keys.md", "title": "Handbook"}.items()
        assert chunk.ref_doc_id == "doc"
        assert ids(store.get_nodes([chunk.node_id])) == [chunk.node_id]
        assert (passage.node_id, passage.metadata, passage.ref_doc_id) == ("p", {"k": "v"}, None)
        assert other.ref_doc_id == "d"
        assert store.query(VectorStoreQuery(query_str="keys rotated", node_ids=[chunk.node_id])).ids == [chunk.node_id]
        store.delete("doc")
        store.delete_nodes([chunk.node_id])
        store.clear()
        assert ids(store.get_nodes()) == [chunk.node_id]


def test_the_embedding_model_is_the_collections_own(store: Qwen3VectorStore):
    model = store.embed_model(instruction="Find it")
    assert model.embedder is store.passages.embedder()
    assert model.instruction == "Find it"
    with Qwen3VectorStore(":memory:", embedder=HashEmbedder(), settings=Settings.load(instruction="Find food")) as other:
        assert other.embed_model().instruction == "Find food"


def test_the_source_in_metadata_is_that_of_the_core(store: Qwen3VectorStore):
    store.add([TextNode(id_="a", text="keys", metadata={"source": "a.md"}), TextNode(id_="b", text="keys", metadata={"source": ["b.md"]})])
    [hit] = store.passages.search("keys", filters={"source": "a.md"}, rerank=False)
    assert (hit.id, hit.source) == ("a", "a.md")
    assert [node.metadata["source"] for node in store.get_nodes(["a", "b"])] == ["a.md", ["b.md"]]


def test_serialised_without_client_and_models(store: Qwen3VectorStore):
    assert store.to_dict() == {"stores_text": True, "is_embedding_query": True, "flat_metadata": False, "class_name": "Qwen3VectorStore"}
    with pytest.raises(TypeError, match="process"):
        pickle.dumps(store)
    assert store.get_nodes() == []


def test_instructions_reach_the_embedder(where: str):
    class Told(HashEmbedder):
        def embed_queries(self, texts: Any, instruction: str | None = None, dim: int | None = None) -> Any:
            self.told = instruction
            return super().embed_queries(texts, instruction, dim)

    embedder = Told()
    with Qwen3VectorStore(where, embedder=embedder, reranker=OverlapReranker()) as store:
        filled(store).query(VectorStoreQuery(query_str="keys"), instruction="Find it")
    assert embedder.told == "Find it"


def test_a_string_is_one_node(store: Qwen3VectorStore):
    filled(store)
    first, *others = ids(store.get_nodes())
    assert ids(store.get_nodes(first)) == [first]
    store.delete_nodes(first)
    assert sorted(ids(store.get_nodes())) == sorted(others)


@pytest.mark.parametrize("condition", ["and", "or"])
def test_groups_that_came_out_empty_delete_nothing(store: Qwen3VectorStore, condition: str):
    filled(store)
    before = len(store.get_nodes())
    empty = MetadataFilters(filters=[MetadataFilters(filters=[])], condition=condition)
    none_of = MetadataFilters(filters=[MetadataFilter(key="a", value=[], operator=FilterOperator.NIN)], condition=condition)
    for filters in (empty, none_of):
        with pytest.raises(ConfigurationError, match="needs a filter"):
            store.delete_nodes(filters=filters)
    assert len(store.get_nodes()) == before
