"""Chains built from the components: LCEL and `create_retrieval_chain`, at once, in batches and streamed, sync and async."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from langchain_classic.chains import create_retrieval_chain
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_classic.retrievers import ContextualCompressionRetriever
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.retrievers import BaseRetriever
from langchain_core.runnables import Runnable, RunnablePassthrough
from langchain_core.tools import create_retriever_tool

from integrations.langchain.tests.fakes import QuotingChatModel
from langchain_qwen3_rag import Qwen3Embeddings, Qwen3Reranker, Qwen3Retriever, Qwen3VectorStore
from qwen3_rag import Embedder
from tests.fakes import OverlapReranker

ANSWERS = {
    "how often are keys rotated?": "Keys are rotated every ninety days.",
    "when is lunch?": "Lunch is served at noon.",
    "who may open the vault?": "The vault is opened by two people.",
}
PROMPT = ChatPromptTemplate.from_template("Question: {input}\nContext: {context}")


@pytest.fixture(scope="module")
def store(nano: Embedder) -> Iterator[Qwen3VectorStore]:
    texts = [*ANSWERS.values(), "Ammonia smells.", "Trucks leave at dawn."]
    options: dict[str, Any] = {"where": ":memory:", "reranker": OverlapReranker()}
    with Qwen3VectorStore.from_texts(texts, Qwen3Embeddings(embedder=nano), **options) as store:
        yield store


def _compressing(store: Qwen3VectorStore) -> BaseRetriever:
    compressor = Qwen3Reranker(reranker=OverlapReranker(), top_n=2)
    return ContextualCompressionRetriever(base_compressor=compressor, base_retriever=store.as_retriever())


RETRIEVERS: dict[str, Callable[[Qwen3VectorStore], BaseRetriever]] = {
    "two stages": lambda store: Qwen3Retriever(store=store, k=2, rerank=False),
    "vector store": lambda store: store.as_retriever(search_kwargs={"k": 2}),
    "compression": _compressing,
}


@pytest.fixture(params=RETRIEVERS)
def retriever(request: pytest.FixtureRequest, store: Qwen3VectorStore) -> BaseRetriever:
    return RETRIEVERS[request.param](store)


def joined(documents: list[Document]) -> str:
    return "\n".join(document.page_content for document in documents)


@pytest.fixture
def lcel(retriever: BaseRetriever) -> Runnable[str, str]:
    return {"context": retriever | joined, "input": RunnablePassthrough()} | PROMPT | QuotingChatModel() | StrOutputParser()


@pytest.fixture
def classic(retriever: BaseRetriever) -> Runnable[dict[str, Any], dict[str, Any]]:
    return create_retrieval_chain(retriever, create_stuff_documents_chain(QuotingChatModel(), PROMPT))


def test_lcel(lcel: Runnable[str, str]):
    assert {question: lcel.invoke(question) for question in ANSWERS} == ANSWERS
    assert lcel.batch(list(ANSWERS)) == list(ANSWERS.values())
    for question, answer in ANSWERS.items():
        chunks = list(lcel.stream(question))
        assert len(chunks) > 3
        assert "".join(chunks).strip() == answer


async def test_lcel_async(lcel: Runnable[str, str]):
    assert {question: await lcel.ainvoke(question) for question in ANSWERS} == ANSWERS
    assert await lcel.abatch(list(ANSWERS)) == list(ANSWERS.values())
    for question, answer in ANSWERS.items():
        chunks = [chunk async for chunk in lcel.astream(question)]
        assert len(chunks) > 3
        assert "".join(chunks).strip() == answer


def test_create_retrieval_chain(classic: Runnable[dict[str, Any], dict[str, Any]]):
    for question, answer in ANSWERS.items():
        result = classic.invoke({"input": question})
        assert result["answer"] == answer
        assert result["context"][0].page_content == answer
        streamed = "".join(chunk.get("answer", "") for chunk in classic.stream({"input": question}))
        assert streamed.strip() == answer
    results = classic.batch([{"input": question} for question in ANSWERS])
    assert [result["answer"] for result in results] == list(ANSWERS.values())


async def test_create_retrieval_chain_async(classic: Runnable[dict[str, Any], dict[str, Any]]):
    results = await classic.abatch([{"input": question} for question in ANSWERS])
    assert [result["answer"] for result in results] == list(ANSWERS.values())
    for question, answer in ANSWERS.items():
        assert (await classic.ainvoke({"input": question}))["answer"] == answer
        streamed = "".join([chunk.get("answer", "") async for chunk in classic.astream({"input": question})])
        assert streamed.strip() == answer


def test_a_retriever_is_a_tool_and_takes_configuration(store: Qwen3VectorStore):
    retriever = Qwen3Retriever(store=store, k=2, rerank=False)
    tool = create_retriever_tool(retriever, "handbook", "Search the handbook")
    assert str(tool.invoke({"query": "when is lunch?"})).startswith(ANSWERS["when is lunch?"])
    bound = retriever.bind(k=1)
    assert len(bound.invoke("when is lunch?")) == 1
