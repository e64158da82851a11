"""The reranker as a postprocessor: order, scores, events, and nothing changed that was handed in."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.schema import MetadataMode, NodeWithScore, QueryBundle, TextNode
from llama_index.postprocessor.qwen3_rag import InstructedQuery, Qwen3Rerank

from qwen3_rag.errors import ConfigurationError, ModelNotFoundError
from qwen3_rag.models.base import ResultArray
from qwen3_rag.models.reranker import Reranker
from tests.fakes import OverlapReranker

QUERY = "keys rotated often"


class Told(OverlapReranker):
    """Remembers what it was asked with."""

    def score(self, query: str, documents: Any, instruction: str | None = None) -> ResultArray:
        self.told = instruction
        return super().score(query, documents, instruction)


class InTime(OverlapReranker):
    """Scores two documents before any deadline."""

    def score(self, query: str, documents: Any, instruction: str | None = None, deadline: float | None = None) -> ResultArray:
        scores = np.array(super().score(query, documents))
        scores[2 if deadline is not None else len(scores) :] = np.nan
        return ResultArray.of(scores, [False] * len(scores))

    async def ascore(self, *args: Any) -> ResultArray:
        return self.score(*args)


def nodes() -> list[NodeWithScore]:
    texts = ["lunch at noon", "keys", "keys rotated", "rotated", "keys rotated often"]
    return [
        NodeWithScore(node=TextNode(id_=text, text=text, metadata={"n": number}, excluded_embed_metadata_keys=["n"]), score=1 - number / 10)
        for number, text in enumerate(texts)
    ]


def shown(found: list[NodeWithScore]) -> list[tuple[str, float]]:
    return [(each.node.node_id, round(each.score or 0, 2)) for each in found]


async def both(rerank: Qwen3Rerank, given: list[NodeWithScore], query: QueryBundle | str = QUERY) -> list[NodeWithScore]:
    """The result, the same sync and async."""
    query = QueryBundle(query) if isinstance(query, str) else query
    found = rerank.postprocess_nodes(given, query)
    assert await rerank.apostprocess_nodes(given, query) == found
    return found


async def test_best_first_and_ties_in_the_order_they_came():
    found = await both(Qwen3Rerank(reranker=OverlapReranker(), top_n=4), nodes())
    assert shown(found) == [("keys rotated often", 1.0), ("keys rotated", 0.67), ("keys", 0.33), ("rotated", 0.33)]


async def test_scores_are_kept_where_no_model_reads_them():
    given = nodes()
    before = [node.to_json() for node in given]
    found = await both(Qwen3Rerank(reranker=OverlapReranker()), given)
    assert [node.to_json() for node in given] == before
    assert found[0].node.metadata == {"n": 4, "retrieval_score": pytest.approx(0.6), "relevance_score": 1.0}
    for mode in (MetadataMode.EMBED, MetadataMode.LLM):
        assert "score" not in found[0].node.get_content(mode)
    again = await both(Qwen3Rerank(reranker=OverlapReranker()), found)
    assert [each.node.metadata for each in again] == [each.node.metadata for each in found]
    [bare] = await both(Qwen3Rerank(reranker=OverlapReranker(), top_n=1, keep_scores=False), given)
    assert bare.node.metadata == {"n": 4}
    bare.node.metadata["n"] = 5
    assert given[4].node.metadata == {"n": 4}


async def test_threshold():
    found = await both(Qwen3Rerank(reranker=OverlapReranker(), threshold=0.5), nodes())
    assert shown(found) == [("keys rotated often", 1.0), ("keys rotated", 0.67)]


RECALLED = {"lunch at noon": 9.0, "keys": 1.0, "keys rotated": 2.0, "rotated": 7.0, "keys rotated often": 0.5}


@pytest.mark.parametrize(
    ("weight", "order"),
    [
        (0.0, ["lunch at noon", "rotated", "keys rotated", "keys", "keys rotated often"]),
        (0.5, ["rotated", "keys rotated often", "lunch at noon", "keys rotated", "keys"]),
        (1.0, ["keys rotated often", "keys rotated", "keys", "rotated", "lunch at noon"]),
    ],
)
async def test_recall_has_the_rest_of_the_say(weight: float, order: list[str]):
    rerank = Qwen3Rerank(reranker=OverlapReranker(), rerank_weight=weight)
    given = nodes()
    for each in given:
        each.score = RECALLED[each.node.node_id]
    found = await both(rerank, given)
    assert [each.node.node_id for each in found] == order
    assert all(each.score == each.node.metadata["relevance_score"] for each in found)
    assert {each.node.node_id: each.node.metadata["retrieval_score"] for each in found} == RECALLED
    assert [each.node.node_id for each in await both(rerank, found)] == order  # metadata tells what recall thought, the score does not


async def test_a_node_without_a_score_is_an_average_one():
    rerank = Qwen3Rerank(reranker=OverlapReranker(), rerank_weight=0.0)
    given = nodes()
    for each, score in zip(given, [1.0, None, 3.0, 1.5, None], strict=True):
        each.score = score
    assert [each.node.node_id for each in await both(rerank, given)] == [
        "keys rotated",
        "keys",
        "keys rotated often",
        "rotated",
        "lunch at noon",
    ]
    bare = [NodeWithScore(node=each.node) for each in nodes()]
    with pytest.raises(ConfigurationError, match="rerank=False"):
        rerank.postprocess_nodes(bare, query_str=QUERY)
    with pytest.raises(ConfigurationError, match="rerank=False"):
        await rerank.apostprocess_nodes(bare, QueryBundle(QUERY))
    assert len(await both(Qwen3Rerank(reranker=OverlapReranker()), bare)) == 5


async def test_what_the_deadline_left_follows_as_it_came():
    found = await both(Qwen3Rerank(reranker=InTime(), deadline=1.0, threshold=0.1), nodes())
    assert shown(found) == [("keys", 0.33), ("keys rotated", 0.8), ("rotated", 0.7), ("keys rotated often", 0.6)]
    assert ["relevance_score" in each.node.metadata for each in found] == [True, False, False, False]
    assert len(await both(Qwen3Rerank(reranker=InTime()), nodes())) == 5
    before = await both(Qwen3Rerank(reranker=OverlapReranker()), nodes())
    again = await both(Qwen3Rerank(reranker=InTime(), deadline=1.0), before)
    assert ["relevance_score" in each.node.metadata for each in again] == [True, True, False, False, False]


async def test_instruction_of_the_query_comes_before_ones_own():
    reranker = Told()
    for own, query, expected in [
        (None, QueryBundle(QUERY), None),
        ("Own", QueryBundle(QUERY), "Own"),
        ("Own", InstructedQuery(QUERY), "Own"),
        ("Own", InstructedQuery(QUERY, instruction="Its"), "Its"),
    ]:
        await both(Qwen3Rerank(reranker=reranker, instruction=own), nodes(), query)
        assert reranker.told == expected


async def test_reads_what_is_embedded():
    reranker = OverlapReranker()
    node = TextNode(text="text", metadata={"team": "ops", "hidden": "x"}, excluded_embed_metadata_keys=["hidden"])
    await both(Qwen3Rerank(reranker=reranker), [NodeWithScore(node=node)])
    assert reranker.scored == ["team: ops\n\ntext"] * 2
    await both(Qwen3Rerank(reranker=reranker, metadata_mode=MetadataMode.NONE), [NodeWithScore(node=node)])
    assert reranker.scored[2:] == ["text"] * 2


async def test_events(events: Any, spans: Any):
    rerank = Qwen3Rerank(reranker=OverlapReranker(), top_n=2)
    found = await both(rerank, nodes(), InstructedQuery(QUERY, instruction="Its"))
    starts, ends = events.of(ReRankStartEvent), events.of(ReRankEndEvent)
    assert [(event.model_name, event.top_n, len(event.nodes), event.query.query_str) for event in starts] == [("overlap", 2, 5, QUERY)] * 2
    assert [shown(event.nodes) for event in ends] == [shown(found)] * 2
    assert {"Qwen3Rerank._postprocess_nodes", "Qwen3Rerank._apostprocess_nodes"} <= set(spans())


async def test_nothing_to_rerank():
    rerank = Qwen3Rerank(reranker=OverlapReranker())
    assert await both(rerank, []) == []
    with pytest.raises(ConfigurationError, match="query_str"):
        rerank.postprocess_nodes(nodes())
    assert rerank.postprocess_nodes(nodes(), query_str=QUERY) == rerank.postprocess_nodes(nodes(), QueryBundle(QUERY))


def test_what_a_dictionary_tells_loads_the_same_model(monkeypatch: pytest.MonkeyPatch):
    loaded: list[tuple[str, dict[str, str]]] = []
    monkeypatch.setattr(Reranker, "load", lambda model, **how: loaded.append((model, how)) or OverlapReranker())
    how = {"dtype": "float32", "device": "cpu", "quantization": "int8"}
    told = Qwen3Rerank("overlap", **how, top_n=3, deadline=2.0).to_dict()
    assert told.items() >= how.items()
    again = Qwen3Rerank.from_dict(told)
    assert loaded == [("overlap", how)] * 2
    assert again.to_dict() == told


def test_options_and_models():
    rerank = Qwen3Rerank(reranker=OverlapReranker(), top_n=3)
    assert rerank.to_dict().items() >= {"model": "overlap", "top_n": 3, "class_name": "Qwen3Rerank"}.items()
    assert isinstance(rerank.reranker, OverlapReranker)
    with pytest.raises(TypeError, match="process"):
        pickle.dumps(rerank)
    assert isinstance(rerank.reranker, OverlapReranker)
    with pytest.raises(ValueError, match="rerank_weight"):
        Qwen3Rerank(reranker=OverlapReranker(), rerank_weight=1.1)
    with pytest.raises(ValueError, match="top_n"):
        Qwen3Rerank(reranker=OverlapReranker(), top_n=0)
    with pytest.raises(ConfigurationError, match="nano"):
        Qwen3Rerank("nano")
    with pytest.raises(ModelNotFoundError):
        Qwen3Rerank("./no-such-folder")
