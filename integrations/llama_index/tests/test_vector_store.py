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
from qdrant_client import QdrantClient, models

import qwen3_rag
from qwen3_rag import KnowledgeBase, Passage, Passages, Settings
from qwen3_rag.errors import ConfigurationError, DimensionError
from tests.fakes import HashEmbedder, OverlapReranker

TEXTS = {
    "keys": "keys are rotated every ninety days",
    "lunch": "lunch is served at noon in the hall",
    "x/y?z=1#ü": "odd ids are welcome in the hall",
    "rota": "the rota of keys and lunch",
}
Mode = VectorStoreQueryMode


class Mine(TextNode):
    """A node class of a user's own."""

    weight: float = 1.0

    @classmethod
    def class_name(cls) -> str:
        return "MineOfTheTests"


def of(document_id: str, node_id: str, text: str, **metadata: Any) -> TextNode:
    relationships = {NodeRelationship.SOURCE: RelatedNodeInfo(node_id=document_id)}
    return TextNode(id_=node_id, text=text, metadata=metadata, relationships=relationships)


def filled(store: Qwen3VectorStore) -> Qwen3VectorStore:
    nodes = [of("handbook", node_id, text, length=len(text)) for node_id, text in TEXTS.items()]
    assert store.add(nodes) == list(TEXTS)
    return store


def ids(nodes: list[BaseNode]) -> list[str]:
    return [node.node_id for node in nodes]


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


def test_the_cores_reranker_reads_headings(where: str):
    reranker = OverlapReranker()
    with Qwen3VectorStore(where, embedder=HashEmbedder(), reranker=reranker) as store:
        store.add(
            [TextNode(text="every ninety days", metadata={"headings": "Keys > Rotation"}), TextNode(text="other", metadata={"headings": 3})]
        )
        assert store.passages.search("rotation")[0].headings == ("Keys", "Rotation")
        assert sorted(reranker.scored) == ["Keys > Rotation\nevery ninety days", "other"]


@pytest.mark.parametrize("mode", [Mode.DEFAULT, Mode.SPARSE, Mode.TEXT_SEARCH, Mode.HYBRID, Mode.SEMANTIC_HYBRID, Mode.MMR])
async def test_every_mode_is_what_the_core_does(store: Qwen3VectorStore, mode: VectorStoreQueryMode):
    passages = filled(store).passages
    query = VectorStoreQuery(query_str="keys and lunch", mode=mode, similarity_top_k=3, mmr_threshold=0.3)
    expected = {
        Mode.DEFAULT: lambda: passages.search("keys and lunch", top_k=3, mode="dense", rerank=False),
        Mode.SPARSE: lambda: passages.search("keys and lunch", top_k=3, mode="lexical", rerank=False),
        Mode.TEXT_SEARCH: lambda: passages.search("keys and lunch", top_k=3, mode="lexical", rerank=False),
        Mode.HYBRID: lambda: passages.search("keys and lunch", top_k=3, mode="hybrid", rerank=False),
        Mode.SEMANTIC_HYBRID: lambda: passages.search("keys and lunch", top_k=3, mode="hybrid", rerank=True),
        Mode.MMR: lambda: passages.search_diverse("keys and lunch", top_k=3, lambda_mult=0.3),
    }[mode]()
    found, awaited = store.query(query), await store.aquery(query)
    assert found.ids == awaited.ids == [hit.id for hit in expected]
    assert found.similarities == awaited.similarities == [hit.score for hit in expected]
    assert ids(found.nodes) == found.ids


@pytest.mark.parametrize("mode", [Mode.SVM, Mode.LOGISTIC_REGRESSION, Mode.LINEAR_REGRESSION])
def test_other_modes_are_refused(store: Qwen3VectorStore, mode: VectorStoreQueryMode):
    with pytest.raises(ConfigurationError, match=f"'{mode.value}' is not implemented.*hybrid"):
        store.query(VectorStoreQuery(query_str="keys", mode=mode))


def test_semantic_hybrid_needs_a_reranker(where: str):
    with Qwen3VectorStore(where, embedder=HashEmbedder(), reranker="off") as store:
        filled(store)
        with pytest.raises(ConfigurationError, match="there is no reranker"):
            store.query(VectorStoreQuery(query_str="keys", mode=Mode.SEMANTIC_HYBRID))


def test_alpha_zero_is_lexical_and_one_is_dense(store: Qwen3VectorStore):
    filled(store)
    opposite = HashEmbedder().embed_queries(["lunch is served at noon"])[0].tolist()

    def best(alpha: float | None) -> str:
        query = VectorStoreQuery(query_str="keys rotated", query_embedding=opposite, mode=Mode.HYBRID, alpha=alpha, similarity_top_k=1)
        return store.query(query).ids[0]

    assert (best(0), best(0.0), best(1)) == ("keys", "keys", "lunch")
    with pytest.raises(ConfigurationError, match=r"dense_weight=1\.5"):
        best(1.5)


def test_mmr_threshold_one_is_relevance_and_zero_diversity(store: Qwen3VectorStore):
    store.add(
        [TextNode(id_=name, text=text) for name, text in (("1", "red apple"), ("2", "red apple"), ("3", "red car"), ("4", "blue sky"))]
    )

    def chosen(**given: Any) -> list[str]:
        query = VectorStoreQuery(query_str="red apple", mode=Mode.MMR, similarity_top_k=2, mmr_threshold=given.pop("threshold", None))
        return store.query(query, **given).ids

    assert set(chosen(threshold=1.0)) == set(chosen(mmr_threshold=1.0)) == {"1", "2"}
    assert chosen(threshold=0.0)[1] == chosen(mmr_threshold=0.0)[1] == "4"
    assert len(chosen(mmr_threshold=0.0, candidates=2)) == 2
    with pytest.raises(ConfigurationError, match="rerank means nothing"):
        chosen(rerank=True)


def test_numbers_of_results(store: Qwen3VectorStore):
    filled(store)

    def count(mode: VectorStoreQueryMode, **numbers: int) -> int:
        return len(store.query(VectorStoreQuery(query_str="keys lunch hall", mode=mode, **numbers)).ids)

    assert count(Mode.DEFAULT, similarity_top_k=2) == 2
    assert count(Mode.HYBRID, similarity_top_k=1, hybrid_top_k=3) == 3
    assert count(Mode.HYBRID, similarity_top_k=100, hybrid_top_k=2, sparse_top_k=200) == 2
    assert count(Mode.SPARSE, similarity_top_k=1, sparse_top_k=3) == 3
    with pytest.raises(ConfigurationError, match="top_k=0"):
        count(Mode.DEFAULT, similarity_top_k=0)


def test_hybrid_recalls_as_deep_as_the_settings_say(monkeypatch: pytest.MonkeyPatch):
    asked: list[int | None] = []
    with Qwen3VectorStore(":memory:", embedder=HashEmbedder(), reranker="off", settings=Settings.load(candidates=7)) as store:
        search = store.passages.search
        monkeypatch.setattr(
            store.passages, "search", lambda words, **options: asked.append(options["candidates"]) or search(words, **options)
        )
        filled(store).query(VectorStoreQuery(query_str="keys", mode=Mode.HYBRID, similarity_top_k=2))
        store.query(VectorStoreQuery(query_str="keys", mode=Mode.HYBRID, similarity_top_k=2, sparse_top_k=60))
    assert asked == [None, 60]


def test_an_embedding_needs_no_words(store: Qwen3VectorStore):
    vector = HashEmbedder().embed_queries(["keys"])[0].tolist()
    for mode in (Mode.DEFAULT, Mode.MMR):
        by_words = filled(store).query(VectorStoreQuery(query_str="keys", mode=mode))
        assert store.query(VectorStoreQuery(query_str="", query_embedding=vector, mode=mode)).ids == by_words.ids


def test_restricted_to_nodes_documents_and_filters(store: Qwen3VectorStore):
    filled(store).add([of("other", "new", "keys of the other document", length=1)])

    def found(**given: Any) -> set[str]:
        return set(store.query(VectorStoreQuery(query_str="keys", similarity_top_k=10, mode=Mode.HYBRID, **given)).ids)

    short = MetadataFilters(filters=[MetadataFilter(key="length", value=30, operator=FilterOperator.LT)])
    assert found(node_ids=["keys", "x/y?z=1#ü", "nowhere"]) == {"keys", "x/y?z=1#ü"}
    assert found(doc_ids=["other"]) == {"new"}
    assert found(filters=short) == {"new", "rota"}
    assert found(filters=short, doc_ids=["handbook"]) == {"rota"}
    assert found(filters=short, doc_ids=["handbook"], node_ids=["new"]) == set()
    assert found(node_ids=[], doc_ids=[]) == {*TEXTS, "new"}
    query = VectorStoreQuery(query_str="keys", similarity_top_k=10, filters=short)
    replaced = models.Filter(must=[models.FieldCondition(key="metadata.length", match=models.MatchValue(value=1))])
    assert store.query(query, qdrant_filters=replaced).ids == ["new"]


@pytest.mark.parametrize(
    ("query", "given", "says"),
    [
        (VectorStoreQuery(), {}, "query_str"),
        (VectorStoreQuery(query_embedding=[0.1] * 64, mode=Mode.HYBRID), {}, "needs `query_str`"),
        (VectorStoreQuery(query_str="x", mode=Mode.SPARSE, embedding_field="other"), {}, "embedding_field"),
        (VectorStoreQuery(query_str="x"), {"search_params": {}}, "does not take search_params"),
        (VectorStoreQuery(query_str="  "), {}, "empty"),
    ],
)
async def test_queries_that_cannot_be_answered(store: Qwen3VectorStore, query: VectorStoreQuery, given: dict[str, Any], says: str):
    filled(store)
    with pytest.raises(ConfigurationError, match=says):
        store.query(query, **given)
    with pytest.raises(ConfigurationError, match=says):
        await store.aquery(query, **given)


def test_keywords_of_the_core_reach_it(store: Qwen3VectorStore):
    filled(store)
    query = VectorStoreQuery(query_str="keys rotated days", similarity_top_k=4)
    assert store.query(query, rerank=True, rerank_threshold=0.9).ids == ["keys"]
    assert store.query(query, rerank=True, rerank_weight=0.0).ids == store.query(query).ids
    assert store.query(query, recall_threshold=2.0).ids == []


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
