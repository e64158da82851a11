"""The two-stage retriever: what the core finds, in the core's order, sync and async, and seen by instrumentation."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.instrumentation.events.retrieval import RetrievalEndEvent, RetrievalStartEvent
from llama_index.core.schema import IndexNode, MetadataMode, NodeWithScore, QueryBundle, TextNode
from llama_index.core.vector_stores.types import FilterOperator, MetadataFilter, MetadataFilters
from llama_index.postprocessor.qwen3_rag import InstructedQuery, Qwen3Rerank
from llama_index.retrievers.qwen3_rag import Qwen3Retriever
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore

from qwen3_rag import Document, KnowledgeBase, Passage, Settings
from qwen3_rag.errors import ConfigurationError
from tests.fakes import HashEmbedder, OverlapReranker

QUERY = "how are keys rotated"


class Told(HashEmbedder):
    """Remembers the instructions."""

    def __init__(self) -> None:
        super().__init__()
        self.told: list[str | None] = []

    def embed_queries(self, texts: Any, instruction: str | None = None, dim: int | None = None) -> Any:
        self.told.append(instruction)
        return super().embed_queries(texts, instruction, dim)


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    with KnowledgeBase.open(tmp_path_factory.mktemp("kb") / "kb", embedder=Told(), reranker=OverlapReranker()) as opened:
        texts = ["keys are rotated every ninety days", "lunch is at noon", "keys open doors", "the rota", "how are you"]
        opened.ingest([Document(f"d{number}", text, metadata={"n": number}) for number, text in enumerate(texts)])
        opened.passages().put([Passage("p", "keys are rotated by hand", {"n": 9})])
        yield opened


def ids(nodes: list[NodeWithScore]) -> list[str]:
    return [node.node_id for node in nodes]


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"top_k": 2},
        {"mode": "dense"},
        {"mode": "lexical"},
        {"rerank": False},
        {"rerank_threshold": 0.5},
        {"rerank_weight": 0.3, "rerank_threshold": 0.1},
        {"candidates": 12, "fusion": "rrf"},
    ],
    ids=str,
)
async def test_as_the_core(kb: KnowledgeBase, options: dict[str, Any]):
    retriever = Qwen3Retriever(kb, **options)
    found, expected = retriever.retrieve(QUERY), kb.search(QUERY, **options)
    assert (ids(found), [node.score for node in found]) == ([hit.id for hit in expected], [hit.score for hit in expected])
    assert await retriever.aretrieve(QUERY) == found


@pytest.mark.parametrize(
    "filters",
    [
        {"n": {"$gte": 2}},
        MetadataFilters(filters=[MetadataFilter(key="n", value=2, operator=FilterOperator.GTE)]),
    ],
    ids=["mapping", "metadata-filters"],
)
async def test_filters(kb: KnowledgeBase, filters: Any):
    retriever = Qwen3Retriever(kb, filters=filters, top_k=10)
    assert (
        ids(retriever.retrieve(QUERY))
        == ids(await retriever.aretrieve(QUERY))
        == [hit.id for hit in kb.search(QUERY, filters={"n": {"$gte": 2}})]
    )


def test_scores_stay_out_of_prompts(kb: KnowledgeBase):
    [best, *_] = Qwen3Retriever(kb).retrieve(QUERY)
    hit = kb.search(QUERY)[0]
    assert best.node.metadata.items() >= {"relevance_score": hit.score, "retrieval_score": hit.stages["fused"].score}.items()
    assert "score" not in best.node.get_content(MetadataMode.LLM) + best.node.get_content(MetadataMode.EMBED)
    [dense, *_] = Qwen3Retriever(kb, rerank=False, mode="dense").retrieve(QUERY)
    assert dense.node.metadata["retrieval_score"] == dense.score
    assert "relevance_score" not in dense.node.metadata


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
def test_one_step_or_two(kb: KnowledgeBase, weight: float):
    query = "how are you, rota"
    at_once = Qwen3Retriever(kb, rerank_weight=weight).retrieve(query)
    rerank = Qwen3Rerank(reranker=OverlapReranker(), rerank_weight=weight, top_n=10)
    assert ids(rerank.postprocess_nodes(Qwen3Retriever(kb, rerank=False).retrieve(query), query_str=query)) == ids(at_once)
    assert [node.score for node in at_once] == [node.node.metadata["relevance_score"] for node in at_once]


async def test_instruction(kb: KnowledgeBase):
    embedder: Any = kb.passages().embedder()
    for own, query, expected in [
        (None, QUERY, None),
        ("Own", QUERY, "Own"),
        ("Own", InstructedQuery(QUERY, instruction="Its"), "Its"),
        (None, InstructedQuery(QUERY, custom_embedding_strs=["keys"], instruction="Its"), "Its"),
    ]:
        embedder.told.clear()
        retriever = Qwen3Retriever(kb, instruction=own)
        retriever.retrieve(query)
        await retriever.aretrieve(query)
        assert embedder.told == [expected] * 2
    with Qwen3VectorStore(":memory:", embedder=embedder, reranker="off", settings=Settings.load(instruction="Set")) as store:
        store.add([TextNode(text="keys")])
        for question in (QueryBundle(QUERY), QueryBundle(QUERY, custom_embedding_strs=["keys"])):
            embedder.told.clear()
            Qwen3Retriever(store).retrieve(question)
            await Qwen3Retriever(store).aretrieve(question)
            assert embedder.told == ["Set"] * 2


async def test_embeddings_of_the_query_bundle(kb: KnowledgeBase):
    vector = HashEmbedder().embed_queries(["lunch at noon"])[0].tolist()
    retriever = Qwen3Retriever(kb, mode="dense", rerank=False, top_k=1)
    for query in (
        QueryBundle("something else", embedding=vector),
        QueryBundle("something else", custom_embedding_strs=["lunch at noon"]),
        QueryBundle("something else", custom_embedding_strs=["lunch at noon", "lunch is at noon"]),
    ):
        assert retriever.retrieve(query) == await retriever.aretrieve(query)
        assert [node.text for node in retriever.retrieve(query)] == ["lunch is at noon"]


async def test_events_and_spans(kb: KnowledgeBase, events: Any, spans: Any):
    retriever = Qwen3Retriever(kb, top_k=2)
    found = retriever.retrieve(QUERY)
    await retriever.aretrieve(QUERY)
    assert [event.str_or_query_bundle for event in events.of(RetrievalStartEvent)] == [QUERY] * 2
    assert [ids(event.nodes) for event in events.of(RetrievalEndEvent)] == [ids(found)] * 2
    assert {"Qwen3Retriever._retrieve", "Qwen3Retriever._aretrieve", "Qwen3Retriever.retrieve", "Qwen3Retriever.aretrieve"} <= set(spans())


async def test_an_async_retrieval_does_not_run_on_the_loop(kb: KnowledgeBase):
    turns = 0

    async def turn() -> None:
        nonlocal turns
        while True:
            turns += 1
            await asyncio.sleep(0)

    task = asyncio.create_task(turn())
    await asyncio.gather(*(Qwen3Retriever(kb).aretrieve(QUERY) for _ in range(5)))
    task.cancel()
    assert turns > 10


def test_over_every_place(kb: KnowledgeBase, tmp_path: Path):
    expected = ids(Qwen3Retriever(kb).retrieve(QUERY))
    store = Qwen3VectorStore(kb)
    for place in (kb.passages(), store):
        retriever = Qwen3Retriever(place)
        assert ids(retriever.retrieve(QUERY)) == expected
        retriever.close()
    with KnowledgeBase.open(tmp_path / "other", embedder="nano") as other:
        other.ingest([Document("d", "keys are rotated")])
    retriever = Qwen3Retriever(tmp_path / "other")
    assert [node.text for node in retriever.retrieve(QUERY)] == ["keys are rotated"]
    retriever.close()


def test_index_nodes_lead_to_what_they_stand_for(store: Qwen3VectorStore):
    store.add([IndexNode(id_="summary", text="about keys", index_id="target", obj=TextNode(id_="target", text="the whole page"))])
    assert ids(Qwen3Retriever(store).retrieve("keys")) == ["target"]


def test_unknown_options_are_named(kb: KnowledgeBase):
    with pytest.raises(ConfigurationError, match=r"similarity_top_k.*top_k"):
        Qwen3Retriever(kb, similarity_top_k=3)
    with pytest.raises(ConfigurationError, match="empty"):
        Qwen3Retriever(kb).retrieve(" ")
