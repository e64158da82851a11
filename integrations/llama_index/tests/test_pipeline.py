"""Built from these: an ingestion pipeline, an index and query engines, sync, async and streaming."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from llama_index.core import StorageContext, VectorStoreIndex
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.llms import CompletionResponse, CompletionResponseGen, CustomLLM, LLMMetadata
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.response_synthesizers import ResponseMode
from llama_index.core.schema import Document
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores.types import VectorStoreQueryMode
from llama_index.node_parser.qwen3_rag import Qwen3NodeParser
from llama_index.postprocessor.qwen3_rag import Qwen3Rerank
from llama_index.retrievers.qwen3_rag import Qwen3Retriever
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore

from qwen3_rag import Embedder
from tests.fakes import OverlapReranker

DOCUMENTS = {
    "keys": "Keys are rotated every ninety days.",
    "lunch": "Lunch is served at noon in the hall.",
    "rota": "The rota of the week hangs beside the gate.",
}
QUESTION = "how often are keys rotated?"


class FirstLine(CustomLLM):
    """Answers with the first line of the context that says something."""

    @property
    def metadata(self) -> LLMMetadata:
        return LLMMetadata(context_window=8192)

    def complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponse:
        return CompletionResponse(text=next(line for line in prompt.splitlines() if line in DOCUMENTS.values()))

    def stream_complete(self, prompt: str, formatted: bool = False, **_: Any) -> CompletionResponseGen:
        text = self.complete(prompt).text
        yield from (CompletionResponse(text=text[: end + 1], delta=text[end]) for end in range(len(text)))


def documents(**texts: str) -> list[Document]:
    return [Document(id_=name, text=text, metadata={"page": name}) for name, text in (DOCUMENTS | texts).items()]


@pytest.fixture
def nano_store(where: str, nano: Embedder) -> Any:
    with Qwen3VectorStore(where, embedder=nano, reranker=OverlapReranker()) as opened:
        yield opened


def pipeline(store: Qwen3VectorStore, **options: Any) -> IngestionPipeline:
    parser = Qwen3NodeParser(embedder=store.passages.embedder(), chunk_size=64)
    return IngestionPipeline(transformations=[parser, store.embed_model()], vector_store=store, docstore=SimpleDocumentStore(), **options)


def held(store: Qwen3VectorStore) -> dict[str | None, str]:
    return {node.ref_doc_id: node.get_content() for node in store.get_nodes()}


def test_a_pipeline_does_only_what_changed(nano_store: Qwen3VectorStore):
    ingestion = pipeline(nano_store)
    assert len(ingestion.run(documents=documents())) == 3
    assert ingestion.run(documents=documents()) == []
    changed = "Lunch is served at one."
    assert [node.get_content() for node in ingestion.run(documents=documents(lunch=changed))] == [changed]
    assert held(nano_store) == DOCUMENTS | {"lunch": changed}


async def test_a_pipeline_run_asynchronously(nano_store: Qwen3VectorStore):
    ingestion = pipeline(nano_store, docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE)
    await ingestion.arun(documents=documents())
    async with nano_store.replacing():
        await ingestion.arun(documents=documents(rota="Another rota.")[1:])
    assert held(nano_store) == {"lunch": DOCUMENTS["lunch"], "rota": "Another rota."}


def test_a_pipeline_persists_and_comes_back(nano_store: Qwen3VectorStore, tmp_path: Path):
    ingestion = pipeline(nano_store)
    ingestion.run(documents=documents())
    ingestion.persist(str(tmp_path / "pipeline"))
    again = pipeline(nano_store)
    again.load(str(tmp_path / "pipeline"))
    assert again.run(documents=documents()) == []


async def test_an_index_answers(nano_store: Qwen3VectorStore):
    pipeline(nano_store).run(documents=documents())
    index = VectorStoreIndex.from_vector_store(nano_store, embed_model=nano_store.embed_model())
    for mode in (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.MMR):
        engine = index.as_query_engine(llm=FirstLine(), similarity_top_k=2, vector_store_query_mode=mode)
        answer = engine.query(QUESTION)
        assert str(answer) == str(await engine.aquery(QUESTION)) == DOCUMENTS["keys"]
        assert answer.source_nodes[0].node.ref_doc_id == "keys"


def test_an_index_built_from_documents_and_changed(nano_store: Qwen3VectorStore):
    context = StorageContext.from_defaults(vector_store=nano_store)
    parser = Qwen3NodeParser(embedder=nano_store.passages.embedder())
    index = VectorStoreIndex.from_documents(
        documents(), storage_context=context, embed_model=nano_store.embed_model(), transformations=[parser]
    )
    index.insert(Document(id_="new", text="The gate is locked at ten."))
    assert index.as_retriever(similarity_top_k=1).retrieve("when is the gate locked?")[0].node.ref_doc_id == "new"
    index.delete_ref_doc("new")
    index.delete_nodes([node.node_id for node in nano_store.get_nodes() if node.ref_doc_id == "rota"])
    assert set(held(nano_store)) == {"keys", "lunch"}


async def test_a_retriever_query_engine_in_every_way(nano_store: Qwen3VectorStore):
    pipeline(nano_store).run(documents=documents())
    retriever = Qwen3Retriever(nano_store, top_k=3, rerank=False)
    rerank = Qwen3Rerank(reranker=OverlapReranker(), top_n=1)
    engine = RetrieverQueryEngine.from_args(retriever, llm=FirstLine(), node_postprocessors=[rerank])
    answers = [engine.query(QUESTION), await engine.aquery(QUESTION)]
    for answer in answers:
        assert str(answer) == DOCUMENTS["keys"]
        assert [node.node.ref_doc_id for node in answer.source_nodes] == ["keys"]
        assert {"relevance_score", "retrieval_score"} <= answer.source_nodes[0].node.metadata.keys()
    streaming: Any = RetrieverQueryEngine.from_args(retriever, llm=FirstLine(), streaming=True)
    assert "".join(streaming.query(QUESTION).response_gen) == DOCUMENTS["keys"]
    answer = await streaming.aquery(QUESTION)
    assert "".join([token async for token in answer.async_response_gen()]) == DOCUMENTS["keys"]


async def test_batches_of_questions(nano_store: Qwen3VectorStore):
    pipeline(nano_store).run(documents=documents())
    engine = RetrieverQueryEngine.from_args(Qwen3Retriever(nano_store, top_k=1), llm=FirstLine(), response_mode=ResponseMode.COMPACT)
    questions = [QUESTION, "when is lunch served?", "where does the rota hang?"] * 4
    answers = await asyncio.gather(*(engine.aquery(question) for question in questions))
    assert [str(answer) for answer in answers] == list(DOCUMENTS.values()) * 4
