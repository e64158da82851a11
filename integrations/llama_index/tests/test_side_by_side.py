"""What the stock components do and what ours do, both run. docs/integrations.md has a row for each test."""

from __future__ import annotations

import itertools
import re
import sys
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.base.embeddings.base import BaseEmbedding
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.postprocessor import SentenceTransformerRerank
from llama_index.core.schema import BaseNode, Document, NodeWithScore, TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.core.vector_stores import SimpleVectorStore
from llama_index.core.vector_stores.types import (
    FilterOperator,
    MetadataFilter,
    MetadataFilters,
    VectorStoreQuery,
    VectorStoreQueryMode,
)
from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.node_parser.qwen3_rag import Qwen3NodeParser
from llama_index.postprocessor.qwen3_rag import Qwen3Rerank
from llama_index.vector_stores.qdrant import QdrantVectorStore
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore
from qdrant_client import AsyncQdrantClient, QdrantClient

from tests.fakes import HashEmbedder, OverlapReranker

TABLE = Path(__file__).parents[3] / "docs" / "integrations.md"
VECTORS = {"a": [1.0, 0.0, 0.0, 0.0], "b": [0.98, 0.2, 0.0, 0.0], "c": [0.0, 1.0, 0.0, 0.0], "d": [0.0, 0.0, 1.0, 0.0]}
METADATA: dict[str, dict[str, Any]] = {"a": {"n": 1, "name": "Ada"}, "b": {"n": 2, "name": "ada"}, "c": {"name": "bob", "tags": ["x", "y"]}}


class OfFour(HashEmbedder):
    """For vectors of four dimensions, which are written by hand here."""

    def __init__(self) -> None:
        super().__init__(4)


def uuid_of(name: str) -> str:
    return f"00000000-0000-0000-0000-{ord(name):012d}"


def node(name: str, **fields: Any) -> TextNode:
    return TextNode(**({"id_": uuid_of(name), "text": name, "metadata": METADATA.get(name, {}), "embedding": VECTORS[name]} | fields))


@pytest.fixture
def stock() -> QdrantVectorStore:
    return QdrantVectorStore("stock", client=_quiet())


@pytest.fixture
def ours() -> Iterator[Qwen3VectorStore]:
    with Qwen3VectorStore(":memory:", embedder=OfFour(), reranker=OverlapReranker()) as opened:
        yield opened


def _quiet() -> QdrantClient:
    """Local mode warns about the payload index that the stock store makes."""
    client = QdrantClient(":memory:")
    client.create_payload_index = lambda **_: None  # type: ignore[method-assign]
    return client


def filled(store: Any) -> Any:
    store.add([node(name) for name in VECTORS])
    return store


def texts(nodes: Any) -> set[str]:
    return {each.get_content() for each in nodes}


def where(*asked: tuple[str, FilterOperator, Any], condition: Any = "and") -> MetadataFilters:
    return MetadataFilters(filters=[MetadataFilter(key=k, operator=o, value=v) for k, o, v in asked], condition=condition)


def test_any_text_is_an_id(stock: QdrantVectorStore, ours: Qwen3VectorStore):
    with pytest.raises(ValueError, match="not a valid UUID"):
        stock.add([node("a", id_="docs/a.md#3")])
    assert ours.add([node("a", id_="docs/a.md#3")]) == ["docs/a.md#3"]
    assert ours.get_nodes(["docs/a.md#3"])[0].node_id == "docs/a.md#3"


@pytest.mark.slow
def test_every_node_is_got(stock: QdrantVectorStore, ours: Qwen3VectorStore):
    many = [TextNode(id_=f"00000000-0000-0000-0000-{number:012d}", text="t", embedding=VECTORS["a"]) for number in range(10_100)]
    for store in (stock, ours):
        store.add(many)
    assert (len(stock.get_nodes()), len(ours.get_nodes())) == (9_999, 10_100)


@pytest.mark.parametrize(
    "mode",
    ["sparse", "text_search", "semantic_hybrid", "mmr", "svm", "linear_regression", "logistic_regression"],
)
def test_no_mode_is_another_in_disguise(stock: QdrantVectorStore, ours: Qwen3VectorStore, mode: str):
    asked: dict[str, Any] = {"query_embedding": VECTORS["a"], "query_str": "d", "similarity_top_k": 2}
    query = VectorStoreQuery(mode=VectorStoreQueryMode(mode), mmr_threshold=0.0, **asked)
    dense = VectorStoreQuery(**asked)
    assert filled(stock).query(query).ids == stock.query(dense).ids == [uuid_of("a"), uuid_of("b")]
    if mode in ("svm", "linear_regression", "logistic_regression"):
        with pytest.raises(ValueError, match="not implemented"):
            filled(ours).query(query)
    else:
        assert filled(ours).query(query).ids != [uuid_of("a"), uuid_of("b")]
        assert ours.query(dense).ids == [uuid_of("a"), uuid_of("b")]


def test_hybrid_search_needs_nothing_else(stock: QdrantVectorStore, ours: Qwen3VectorStore):
    query = VectorStoreQuery(query_embedding=VECTORS["a"], query_str="d", mode=VectorStoreQueryMode.HYBRID, similarity_top_k=4)
    with pytest.raises(ValueError, match="Hybrid search is not enabled"):
        filled(stock).query(query)
    assert uuid_of("d") in filled(ours).query(query).ids


async def test_alpha_zero_means_zero():
    def encode(many: list[str]) -> tuple[list[list[int]], list[list[float]]]:
        return [[1] for _ in many], [[1.0 if text == "keys" else 0.1] for text in many]

    nodes = [node("a", text="keys", metadata={}), node("c", text="lunch", metadata={})]
    query: dict[str, Any] = {
        "query_embedding": VECTORS["c"],
        "query_str": "keys",
        "mode": VectorStoreQueryMode.HYBRID,
        "similarity_top_k": 2,
    }

    async def best(store: Any, alpha: float) -> str:
        await store.async_add(nodes)
        result = await store.aquery(VectorStoreQuery(**query, alpha=alpha))
        return result.nodes[0].get_content() if result.similarities[0] > result.similarities[1] else "a tie"

    aclient = AsyncQdrantClient(":memory:")
    aclient.create_payload_index = _nothing  # type: ignore[method-assign]
    stock = QdrantVectorStore("stock", aclient=aclient, enable_hybrid=True, sparse_doc_fn=encode, sparse_query_fn=encode)
    with Qwen3VectorStore(":memory:", embedder=OfFour(), reranker="off") as ours:
        assert (await best(stock, 0), await best(ours, 0)) == ("a tie", "keys")
        assert (await best(stock, 1), await best(ours, 1)) == ("lunch", "lunch")


async def _nothing(**_: Any) -> None: ...


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        (("tags", FilterOperator.ANY, ["x"]), {"c"}),
        (("tags", FilterOperator.ALL, ["x", "y"]), {"c"}),
        (("tags", FilterOperator.CONTAINS, "x"), {"c"}),
        (("n", FilterOperator.IN, [1.0, 2.5]), {"a"}),
    ],
    ids=["any", "all", "contains", "in-of-floats"],
)
def test_every_operator_is_answered(stock: QdrantVectorStore, ours: Qwen3VectorStore, asked: Any, found: set[str]):
    with pytest.raises((NotImplementedError, ValueError)):
        filled(stock).get_nodes(filters=where(asked))
    assert texts(filled(ours).get_nodes(filters=where(asked))) == found


def test_what_lacks_a_key_is_not_equal(stock: QdrantVectorStore, ours: Qwen3VectorStore):
    """LlamaIndex's own in-memory store, which defines it, says so too."""
    reference = filled(SimpleVectorStore())
    for asked in (where(("n", FilterOperator.NE, 1)), where(("n", FilterOperator.NIN, [1]))):
        ids = reference.query(VectorStoreQuery(query_embedding=VECTORS["a"], similarity_top_k=9, filters=asked)).ids
        assert set(ids) == {uuid_of(name) for name in "bcd"}
        assert texts(filled(stock).get_nodes(filters=asked)) == {"b"}
        assert texts(filled(ours).get_nodes(filters=asked)) == {"b", "c", "d"}


def test_case_counts_only_where_it_is_asked_for(stock: QdrantVectorStore, ours: Qwen3VectorStore):
    sensitive, insensitive = (
        where(("name", FilterOperator.TEXT_MATCH, "ada")),
        where(("name", FilterOperator.TEXT_MATCH_INSENSITIVE, "ADA")),
    )
    assert texts(filled(stock).get_nodes(filters=sensitive)) == texts(stock.get_nodes(filters=insensitive)) == {"a", "b"}
    assert texts(filled(ours).get_nodes(filters=sensitive)) == {"b"}
    assert texts(ours.get_nodes(filters=insensitive)) == {"a", "b"}


def test_filters_nest(ours: Qwen3VectorStore):
    either = where(("n", FilterOperator.EQ, 1), ("name", FilterOperator.EQ, "bob"), condition="or")
    nested = MetadataFilters(filters=[either, where(("n", FilterOperator.EQ, 1), condition="not")])
    with pytest.raises(ValueError, match="Nested MetadataFilters are not supported"):
        filled(SimpleVectorStore()).query(VectorStoreQuery(query_embedding=VECTORS["a"], filters=nested))
    assert texts(filled(ours).get_nodes(filters=nested)) == {"c"}


def test_ids_and_filters_both_hold(stock: QdrantVectorStore, ours: Qwen3VectorStore):
    either = where(("n", FilterOperator.EQ, 1), ("n", FilterOperator.EQ, 2), condition="or")
    assert texts(filled(stock).get_nodes([uuid_of("d")], either)) != set()
    assert texts(filled(ours).get_nodes([uuid_of("d")], either)) == set()
    assert texts(ours.get_nodes([uuid_of("a")], either)) == {"a"}


def test_deleting_nothing_in_particular(stock: QdrantVectorStore, ours: Qwen3VectorStore):
    filled(stock).delete_nodes()
    assert stock.get_nodes() == []
    with pytest.raises(ValueError, match="clear"):
        filled(ours).delete_nodes()
    assert len(ours.get_nodes()) == 4


def test_a_document_without_a_parser_is_deleted_by_its_id(stock: QdrantVectorStore, ours: Qwen3VectorStore):
    """As an ingestion pipeline without a node parser writes documents, and deletes them when they are gone."""
    for store in (stock, ours):
        filled(store).delete(uuid_of("a"))
    assert texts(stock.get_nodes()) == {"a", "b", "c", "d"}
    assert texts(ours.get_nodes()) == {"b", "c", "d"}


async def test_async_without_a_second_client(stock: QdrantVectorStore, ours: Qwen3VectorStore):
    query = VectorStoreQuery(query_embedding=VECTORS["a"])
    with pytest.raises(ValueError, match="Async client is not initialized"):
        await filled(stock).aquery(query)
    assert (await filled(ours).aquery(query)).ids == [uuid_of("a")]


def test_nodes_without_an_embedding(stock: QdrantVectorStore, ours: Qwen3VectorStore):
    with pytest.raises(ValueError, match="embedding not set"):
        stock.add([node("a", embedding=None)])
    assert ours.add([node("a", embedding=None)]) == [uuid_of("a")]


class Stock(BaseEmbedding):
    """LlamaIndex's base as it comes, over a model that tells queries from documents."""

    document: list[float] = [0.0, 1.0]  # noqa: RUF012 - a pydantic field

    def _get_query_embedding(self, query: str) -> list[float]:
        return [1.0, 0.0]

    async def _aget_query_embedding(self, query: str) -> list[float]:
        return self._get_query_embedding(query)

    def _get_text_embedding(self, text: str) -> list[float]:
        return self.document


class Instructed(HashEmbedder):
    def embed_queries(self, texts: Any, instruction: str | None = None, dim: int | None = None) -> Any:
        return super().embed_queries([f"instruct {instruction} {text}" for text in texts], None, dim)


def test_a_cached_query_is_no_document():
    stock = Stock(embeddings_cache=SimpleKVStore())
    ours = Qwen3Embedding(embedder=Instructed(), embeddings_cache=SimpleKVStore())
    assert stock.get_query_embedding("words") == stock.get_text_embedding("words") == [1.0, 0.0]
    assert ours.get_query_embedding("words") != ours.get_text_embedding("words")


def test_a_cached_vector_belongs_to_its_model():
    store, shared = SimpleKVStore(), SimpleKVStore()
    stock = [Stock(embeddings_cache=store, model_name=str(dim), document=[0.0] * dim) for dim in (3, 2)]
    assert [len(model.get_text_embedding("words")) for model in stock] == [3, 3]
    models = [Qwen3Embedding(embedder=HashEmbedder(), embeddings_cache=shared, dim=dim) for dim in (64, 32)]
    assert [len(model.get_text_embedding("words")) for model in models] == [64, 32]


@pytest.fixture
def cross_encoder(monkeypatch: pytest.MonkeyPatch) -> None:
    """sentence-transformers in place of itself: its model scores by the words that query and text share."""

    class CrossEncoder:
        def __init__(self, *_: Any, **__: Any) -> None: ...

        def predict(self, pairs: Any) -> list[float]:
            return [float(OverlapReranker().score(query, [text])[0]) for query, text in pairs]

    module = types.ModuleType("sentence_transformers")
    module.CrossEncoder = CrossEncoder  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "sentence_transformers", module)


def _given() -> list[NodeWithScore]:
    return [NodeWithScore(node=TextNode(text=text), score=0.9) for text in ("lunch", "keys are rotated")]


@pytest.mark.usefixtures("cross_encoder")
def test_reranking_changes_no_input(events: Any):
    stock = SentenceTransformerRerank(model="any", top_n=1, device="cpu", keep_retrieval_score=True)
    ours = Qwen3Rerank(reranker=OverlapReranker(), top_n=1)
    before, after_stock, after_ours = _given(), _given(), _given()
    [best] = stock.postprocess_nodes(after_stock, query_str="keys are rotated")
    [ours_best] = ours.postprocess_nodes(after_ours, query_str="keys are rotated")
    assert best.node.get_content() == ours_best.node.get_content() == "keys are rotated"
    assert [(each.score, each.node.metadata) for each in after_stock] == [(0.0, {"retrieval_score": 0.9}), (1.0, {"retrieval_score": 0.9})]
    assert [(each.score, each.node.metadata) for each in after_ours] == [(each.score, each.node.metadata) for each in before]
    assert "retrieval_score" in best.node.get_content("llm")
    assert "retrieval_score" not in ours_best.node.get_content("llm")


@pytest.mark.usefixtures("cross_encoder")
def test_reranking_is_seen_by_instrumentation(events: Any):
    SentenceTransformerRerank(model="any", device="cpu").postprocess_nodes(_given(), query_str="keys")
    assert events.of(ReRankStartEvent) == events.of(ReRankEndEvent) == []
    Qwen3Rerank(reranker=OverlapReranker()).postprocess_nodes(_given(), query_str="keys")
    assert len(events.of(ReRankStartEvent)) == len(events.of(ReRankEndEvent)) == 1


TEXT = "# Keys\n\n" + "\n\n".join(["Same words here. " * 3] * 3) + "\n\nSame words here. Tail end."


def _parsed(parser: Any) -> list[BaseNode]:
    document = Document(id_="d", text=TEXT, metadata={"file_name": "a.md"}, excluded_embed_metadata_keys=["file_name"])
    return list(parser.get_nodes_from_documents([document]))


def test_parsing_again_gives_the_same_ids(capsys: pytest.CaptureFixture[str]):
    stock, ours = SentenceSplitter(chunk_size=24, chunk_overlap=0, include_metadata=False), Qwen3NodeParser("nano", chunk_size=24)
    for parser, same in ((stock, False), (ours, True)):
        assert ([each.node_id for each in _parsed(parser)] == [each.node_id for each in _parsed(parser)]) is same


def test_spans_of_repeated_text(capsys: pytest.CaptureFixture[str]):
    """Without overlap, no two nodes share a character of the document."""

    def shared(nodes: Any) -> int:
        spans = sorted((each.start_char_idx, each.end_char_idx) for each in nodes)
        return sum(start < end for (_, end), (start, _) in itertools.pairwise(spans))

    assert shared(_parsed(SentenceSplitter(chunk_size=24, chunk_overlap=0, include_metadata=False))) > 0
    assert shared(_parsed(Qwen3NodeParser("nano", chunk_size=24))) == 0


def test_nodes_know_their_headings(capsys: pytest.CaptureFixture[str]):
    assert not any("headings" in each.metadata for each in _parsed(SentenceSplitter(chunk_size=24, chunk_overlap=0)))
    assert {each.metadata["headings"] for each in _parsed(Qwen3NodeParser("nano", chunk_size=24))} == {"Keys"}


def test_the_table_names_each_test_and_every_row_has_one():
    table = TABLE.read_text(encoding="utf-8").partition("## LlamaIndex")[2]
    rows = [line for line in table.splitlines() if line.startswith("| ") and not line.startswith("| what")]
    named = [re.fullmatch(r".*\| `(test_\w+)` \|", row) for row in rows]
    assert all(named), [row for row, name in zip(rows, named, strict=True) if not name]
    here = {name for name, value in globals().items() if name.startswith("test_") and callable(value)}
    elsewhere = set(
        re.findall(r"^(?:async )?def (test_\w+)", (Path(__file__).parent / "test_replacing.py").read_text(encoding="utf-8"), re.MULTILINE)
    )
    assert {match[1] for match in named if match} - elsewhere == here - {"test_the_table_names_each_test_and_every_row_has_one"}
