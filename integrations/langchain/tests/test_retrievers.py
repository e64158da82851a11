"""`Qwen3Retriever`: two stages, overrides for one call, scores and trace in metadata, what LangSmith is told."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.load import dumpd
from pydantic import ValidationError

from langchain_qwen3_rag import Qwen3Embeddings, Qwen3Reranker, Qwen3Retriever, Qwen3VectorStore
from qwen3_rag import KnowledgeBase, Settings
from qwen3_rag.errors import ConfigurationError
from tests.fakes import HashEmbedder, OverlapReranker

TEXTS = ["keys are rotated every ninety days", "lunch is served at noon", "who holds the keys", "crops are rotated", "empty words"]


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    with KnowledgeBase.open(tmp_path_factory.mktemp("retrievers"), embedder=HashEmbedder(), reranker=OverlapReranker()) as kb:
        Qwen3VectorStore(kb).add_texts(TEXTS, [{"n": number} for number in range(5)], ids=[str(number) for number in range(5)])
        yield kb


@pytest.fixture(params=["knowledge base", "passages", "vector store"])
def place(request: pytest.FixtureRequest, kb: KnowledgeBase) -> Any:
    return {"knowledge base": kb, "passages": kb.passages(), "vector store": Qwen3VectorStore(kb)}[request.param]


async def test_the_same_as_the_core(kb: KnowledgeBase, place: Any):
    retriever = Qwen3Retriever(store=place, k=3)
    hits = kb.search("keys rotated", top_k=3)
    found = retriever.invoke("keys rotated")
    assert [document.id for document in found] == [hit.id for hit in hits]
    assert await retriever.ainvoke("keys rotated") == found
    for document, hit in zip(found, hits, strict=True):
        scores = {"retrieval_score": hit.stages["fused"].score, "relevance_score": hit.score}
        assert document.metadata == {"n": int(hit.id), **scores}


def test_every_field_can_be_given_for_one_call(place: Any):
    retriever = Qwen3Retriever(store=place, k=1, filter={"n": {"$lt": 2}})
    assert [document.id for document in retriever.invoke("keys rotated")] == ["0"]
    assert [document.id for document in retriever.invoke("who holds", filter={"n": 2}, rerank=False)] == ["2"]
    found = retriever.invoke("keys rotated", k=5, filter=None, mode="lexical", rerank=False, candidates=9, instruction="Find")
    assert {document.id for document in found} == {"0", "2", "3"}
    assert all("relevance_score" not in document.metadata for document in found)
    with pytest.raises(ConfigurationError, match="top_k"):
        retriever.invoke("keys", top_k=3)


@pytest.mark.parametrize("options", [{"fusion": "rrf", "rrf_k": 3}, {"dense_weight": 0.0}, {"dense_weight": 1.0}, {"fusion": "dbsf"}])
def test_fusion_is_the_cores(kb: KnowledgeBase, place: Any, options: dict[str, Any]):
    hits = kb.search("who holds keys at noon", top_k=5, rerank=False, **options)
    found = Qwen3Retriever(store=place, k=5, rerank=False, **options).invoke("who holds keys at noon")
    assert [(document.id, document.metadata["retrieval_score"]) for document in found] == [(hit.id, hit.score) for hit in hits]


@pytest.mark.parametrize("weight", [0.0, 0.4, 1.0])
async def test_recall_and_reranker_decide_together(kb: KnowledgeBase, place: Any, weight: float):
    query = "who holds keys at noon"
    hits = kb.search(query, top_k=5, rerank_weight=weight)
    found = Qwen3Retriever(store=place, k=5, rerank_weight=weight, explain=True).invoke(query)
    assert [document.id for document in found] == [hit.id for hit in hits]
    assert [document.metadata["relevance_score"] for document in found] == [hit.stages["rerank"].score for hit in hits]
    assert all(("blended" in document.metadata["stages"]) == (weight < 1) for document in found)
    assert [each.id for each in await Qwen3Retriever(store=place, k=5).ainvoke(query, rerank_weight=weight)] == [hit.id for hit in hits]
    in_two_steps = Qwen3Reranker(reranker=OverlapReranker(), top_n=None, rerank_weight=weight)
    recalled = Qwen3Retriever(store=place, k=5, rerank=False).invoke(query)
    assert [document.id for document in in_two_steps.compress_documents(recalled, query)] == [hit.id for hit in hits]


@pytest.mark.parametrize(("rerank", "threshold", "expected"), [(True, 0.5, "023"), (True, 0.9, "0"), (False, 99.0, "")])
def test_score_threshold(place: Any, rerank: bool, threshold: float, expected: str):
    found = Qwen3Retriever(store=place, k=5, rerank=rerank, score_threshold=threshold).invoke("keys rotated")
    assert {document.id for document in found} == set(expected)


async def test_mode_and_instruction_of_a_vector_store_hold_unless_the_retriever_says_otherwise(kb: KnowledgeBase):
    store = Qwen3VectorStore(kb, mode="lexical", instruction="Find food")

    async def asked_with(retriever: Qwen3Retriever, **given: Any) -> tuple[str, str | None]:
        [found, *_], [awaited, *_] = retriever.invoke("keys", **given), await retriever.ainvoke("keys", **given)
        of_both = [(each.metadata["trace"]["mode"], each.metadata["trace"]["instruction"]) for each in (found, awaited)]
        assert of_both[0] == of_both[1]
        return of_both[0]

    retriever = Qwen3Retriever(store=store, explain=True)
    assert await asked_with(retriever) == ("lexical", "Find food")
    assert await asked_with(retriever, mode="dense", instruction="Find poems") == ("dense", "Find poems")
    own = Qwen3Retriever(store=store, explain=True, mode="hybrid", instruction="Find keys")
    assert await asked_with(own) == ("hybrid", "Find keys")
    of_embeddings = Qwen3VectorStore(kb, Qwen3Embeddings(embedder=HashEmbedder(), instruction="Find songs"))
    assert await asked_with(Qwen3Retriever(store=of_embeddings, explain=True)) == ("hybrid", "Find songs")


class Slow(OverlapReranker):
    """Four documents are all that the deadline allows: it makes time stand still until then."""

    def score(self, query: str, documents: Any, instruction: str | None = None) -> Any:
        import time

        time.sleep(0.02)
        return super().score(query, documents, instruction)


def test_what_the_deadline_left_follows(tmp_path: Path):
    with Qwen3VectorStore.from_texts(TEXTS, HashEmbedder(), where=tmp_path / "kb", reranker=Slow()) as store:
        found = Qwen3Retriever(store=store, k=5, rerank_deadline=0.001, score_threshold=0.0).invoke("keys rotated")
    assert ["relevance_score" in document.metadata for document in found] == [True] * 4 + [False]


def test_trace_in_metadata_on_request(place: Any):
    assert "trace" not in Qwen3Retriever(store=place).invoke("keys")[0].metadata
    for document in Qwen3Retriever(store=place, explain=True).invoke("keys rotated"):
        assert set(document.metadata["stages"]) >= {"dense", "fused", "rerank"}
        trace = document.metadata["trace"]
        assert (trace["query"], trace["mode"], trace["fusion"]) == ("keys rotated", "hybrid", "completed")
        assert [step["name"] for step in trace["steps"]][-2:] == ["rerank", "trim"]
        json.dumps(document.metadata)


class Listener(BaseCallbackHandler):
    def __init__(self) -> None:
        self.started: dict[str, Any] = {}

    def on_retriever_start(self, serialized: Any, query: str, *, metadata: Any = None, **kwargs: Any) -> None:
        self.started = {**metadata, "name": kwargs["name"]}


async def test_langsmith_parameters_need_no_model(place: Any, tmp_path: Path):
    expected = {
        "ls_retriever_name": "qwen3",
        "ls_vector_store_provider": "Qwen3VectorStore",
        "ls_embedding_provider": "Qwen3Embeddings",
        "ls_embedding_model": "hash",
    }
    listener = Listener()
    Qwen3Retriever(store=place).invoke("keys", {"callbacks": [listener]})
    assert expected.items() <= listener.started.items()
    listener.started = {}
    await Qwen3Retriever(store=place, name="mine").ainvoke("keys", {"callbacks": [listener]})
    assert listener.started["name"] == "mine"
    with KnowledgeBase.open(tmp_path / "other", embedder="no/such-model") as unloaded:
        assert Qwen3Retriever(store=unloaded).invoke("keys", {"callbacks": [listener]}) == []
        assert listener.started["ls_embedding_model"] == "no/such-model"


def test_the_store_is_never_serialised(place: Any):
    dumped = str(dumpd(Qwen3Retriever(store=place)))
    assert "not_implemented" in dumped
    assert "store=" not in dumped
    assert "store" not in Qwen3Retriever(store=place).model_dump()
    assert not Qwen3Retriever.is_lc_serializable()
    assert "get_lc_namespace" not in vars(Qwen3Retriever)


def test_in_batches(place: Any):
    retriever = Qwen3Retriever(store=place, k=1, rerank=True)
    assert [found[0].id for found in retriever.batch(["rotated keys", "lunch at noon", "empty words"])] == ["0", "1", "4"]


def test_what_cannot_be(place: Any):
    for wrong in ({"k": 0}, {"top_k": 3}, {"store": "kb"}, {"rerank_weight": 2}):
        with pytest.raises(ValidationError):
            Qwen3Retriever(**({"store": place} | wrong))


def test_the_settings_of_the_knowledge_base_hold(tmp_path: Path):
    settings = Settings.load(mode="lexical")
    with KnowledgeBase.open(tmp_path / "kb", settings=settings, embedder=HashEmbedder(), reranker="off") as kb:
        Qwen3VectorStore(kb).add_texts(TEXTS)
        assert len(Qwen3Retriever(store=kb, k=5).invoke("lunch")) == 1
        assert len(Qwen3Retriever(store=kb, k=5, mode="dense").invoke("lunch")) == 5
        with pytest.raises(ConfigurationError, match="no reranker"):
            Qwen3Retriever(store=kb, rerank=True).invoke("lunch")
