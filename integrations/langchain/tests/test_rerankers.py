"""What any document compressor must keep to, and what `Qwen3Reranker` adds; on every kind of reranker."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Sequence

import numpy as np
import pytest
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.load import dumpd
from pydantic import ValidationError

from langchain_qwen3_rag import Qwen3Reranker, Qwen3VectorStore
from qwen3_rag.errors import ConfigurationError, ModelNotFoundError
from qwen3_rag.models.base import ResultArray
from tests.fakes import OverlapReranker


class Punctual(OverlapReranker):
    """Takes a deadline itself: half of the documents are scored in time."""

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None, deadline: float | None = None) -> ResultArray:
        scores = np.array(super().score(f"{query} {instruction or ''}", documents))
        if deadline is not None:
            scores[len(documents) // 2 :] = np.nan
        return ResultArray.of(scores, [False] * len(documents))


class Native(Punctual):
    """Serves tasks itself."""

    async def ascore(
        self, query: str, documents: Sequence[str], instruction: str | None = None, deadline: float | None = None
    ) -> ResultArray:
        return self.score(query, documents, instruction, deadline)


@pytest.fixture(params=["sync", "async"])
def compress(request: pytest.FixtureRequest):
    def run(compressor: Qwen3Reranker, documents: Sequence[Document], query: str) -> list[Document]:
        if request.param == "sync":
            return compressor.compress_documents(documents, query)
        return asyncio.run(compressor.acompress_documents(documents, query))

    return run


@pytest.fixture(params=[OverlapReranker, Punctual, Native])
def reranker(request: pytest.FixtureRequest) -> OverlapReranker:
    return request.param()


TEXTS = ["lunch is at noon", "keys are old", "rotated keys", "keys rotated daily", "no match", "nothing at all"]


def documents() -> list[Document]:
    return [Document(text, id=str(number), metadata={"n": number, "retrieval_score": 0.5}) for number, text in enumerate(TEXTS)]


def ids(found: Sequence[Document]) -> list[str | None]:
    return [document.id for document in found]


def test_best_first_with_scores_and_what_was_there(compress, reranker: OverlapReranker):
    found = compress(Qwen3Reranker(reranker=reranker), documents(), "keys rotated")
    assert ids(found) == ["2", "3", "1"]
    assert [document.metadata for document in found] == [
        {"n": 2, "retrieval_score": 0.5, "relevance_score": 1.0},
        {"n": 3, "retrieval_score": 0.5, "relevance_score": 1.0},
        {"n": 1, "retrieval_score": 0.5, "relevance_score": 0.5},
    ]
    assert [document.page_content for document in found] == ["rotated keys", "keys rotated daily", "keys are old"]


def test_input_is_not_touched(compress, reranker: OverlapReranker):
    given = documents()
    before = copy.deepcopy(given)
    found = compress(Qwen3Reranker(reranker=reranker, top_n=None), given, "keys rotated")
    assert given == before
    found[0].metadata["mine"] = True
    assert given == before


def test_ties_keep_their_order(compress, reranker: OverlapReranker):
    found = compress(Qwen3Reranker(reranker=reranker, top_n=None), documents(), "keys rotated")
    assert ids(found) == ["2", "3", "1", "0", "4", "5"]
    equal = [Document("same", id=str(number)) for number in range(30)]
    assert ids(compress(Qwen3Reranker(reranker=reranker, top_n=None), equal, "same")) == [str(number) for number in range(30)]


@pytest.mark.parametrize(("top_n", "count"), [(1, 1), (3, 3), (99, 6), (None, 6)])
def test_top_n(compress, reranker: OverlapReranker, top_n: int | None, count: int):
    assert len(compress(Qwen3Reranker(reranker=reranker, top_n=top_n), documents(), "keys rotated")) == count


RECALLED = [9.0, 1.0, 2.0, 3.0, 8.0, 0.0]


def with_recall(scores: Sequence[object]) -> list[Document]:
    """The documents, with what recall thought of each; None is no score."""
    given = documents()
    for document, score in zip(given, scores, strict=True):
        document.metadata["retrieval_score"] = score
    for document in given:
        if document.metadata["retrieval_score"] is None:
            del document.metadata["retrieval_score"]
    return given


@pytest.mark.parametrize(("weight", "order"), [(0.0, "043215"), (0.5, "320415"), (1.0, "231045")])
def test_retrieval_score_has_the_rest_of_the_say(compress, reranker: OverlapReranker, weight: float, order: str):
    found = compress(Qwen3Reranker(reranker=reranker, top_n=None, rerank_weight=weight), with_recall(RECALLED), "keys rotated")
    assert "".join(ids(found)) == order
    scores = {document.id: (document.metadata["retrieval_score"], document.metadata["relevance_score"]) for document in found}
    assert scores == {str(number): (RECALLED[number], [0.0, 0.5, 1.0, 1.0, 0.0, 0.0][number]) for number in range(6)}


def test_a_document_without_retrieval_score_is_an_average_one(compress, reranker: OverlapReranker):
    by_recall = Qwen3Reranker(reranker=reranker, top_n=None, rerank_weight=0.0)
    assert ids(compress(by_recall, with_recall([1.0, None, 3.0, "high", 2.0, None]), "keys")) == ["2", "1", "3", "4", "5", "0"]
    with pytest.raises(ConfigurationError, match=r"Qwen3Retriever\(rerank=False\)"):
        compress(by_recall, with_recall([None] * 6), "keys")
    assert compress(by_recall, [], "keys") == []
    assert len(compress(Qwen3Reranker(reranker=reranker), with_recall([None] * 6), "keys")) == 3


@pytest.mark.parametrize("reranker", [Punctual(), Native()])
def test_what_the_deadline_left_is_not_weighed(compress, reranker: Punctual):
    compressor = Qwen3Reranker(reranker=reranker, top_n=None, deadline=1.0, rerank_weight=0.0, score_threshold=0.4)
    found = compress(compressor, with_recall([0.1, 0.2, 0.3, 9.0, 7.0, 8.0]), "keys rotated")
    assert ids(found) == ["2", "1", "3", "4", "5"]  # 0 is below the threshold, which asks for P(yes)


def test_threshold(compress, reranker: OverlapReranker):
    compressor = Qwen3Reranker(reranker=reranker, top_n=None, score_threshold=0.5)
    assert ids(compress(compressor, documents(), "keys rotated")) == ["2", "3", "1"]
    assert compress(compressor, documents(), "zebra") == []


def test_nothing_in_nothing_out(compress, reranker: OverlapReranker):
    assert compress(Qwen3Reranker(reranker=reranker), [], "keys") == []


def test_the_instruction_reaches_the_reranker(compress):
    plain, tasked = Qwen3Reranker(reranker=Punctual(), top_n=1), Qwen3Reranker(reranker=Punctual(), top_n=1, instruction="noon lunch")
    assert ids(compress(plain, documents(), "rotated")) == ["2"]
    assert ids(compress(tasked, documents(), "rotated")) == ["0"]


@pytest.mark.parametrize("reranker", [Punctual(), Native()])
def test_after_the_deadline_come_the_others_in_their_order(compress, reranker: Punctual):
    given = documents()
    given[4].metadata["relevance_score"] = 0.99  # of another query
    found = compress(Qwen3Reranker(reranker=reranker, top_n=None, deadline=1.0, score_threshold=0.4), given, "keys rotated")
    assert ids(found) == ["2", "1", "3", "4", "5"]
    assert ["relevance_score" in document.metadata for document in found] == [True, True, False, False, False]


def test_a_subclass_of_document_stays_one(compress, reranker: OverlapReranker):
    class Page(Document):
        number: int = 7

    [found] = compress(Qwen3Reranker(reranker=reranker), [Page("keys", number=3)], "keys")
    assert isinstance(found, Page)
    assert found.number == 3


def test_in_a_compression_retriever(store: Qwen3VectorStore):
    store.add_texts(TEXTS, ids=[str(number) for number in range(len(TEXTS))])
    retriever = ContextualCompressionRetriever(
        base_compressor=Qwen3Reranker(reranker=OverlapReranker(), top_n=2), base_retriever=store.as_retriever(search_kwargs={"k": 6})
    )
    assert set(ids(retriever.invoke("keys rotated"))) == {"2", "3"}


def test_a_model_is_never_serialised(reranker: OverlapReranker):
    compressor = Qwen3Reranker(reranker=reranker)
    assert compressor.model == "overlap"
    assert "reranker" not in compressor.model_dump()
    assert "object at" not in str(dumpd(compressor))


def test_what_cannot_be():
    with pytest.raises(ValidationError, match="not both"):
        Qwen3Reranker(model="x", reranker=OverlapReranker())
    with pytest.raises(ModelNotFoundError):
        Qwen3Reranker(model="./no-such-folder")
    for wrong in ({"top_n": 0}, {"deadline": 0}, {"topn": 3}, {"rerank_weight": 1.5}, {"rerank_weight": -1}):
        with pytest.raises(ValidationError):
            Qwen3Reranker(reranker=OverlapReranker(), **wrong)
