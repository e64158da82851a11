"""Ask a folder, with LlamaIndex. From a fresh clone: make demo, then .venv/bin/python examples/llama_index_query_engine.py.

`Extract` needs no model: it answers with the sentence most like the question. Give `main` any LLM of LlamaIndex in its place.
"""

import re
import tempfile
from pathlib import Path
from typing import Any

from llama_index.core import SimpleDirectoryReader
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.llms import LLM, CompletionResponse, CompletionResponseGen, CustomLLM, LLMMetadata
from llama_index.core.query_engine import RetrieverQueryEngine
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.node_parser.qwen3_rag import Qwen3NodeParser
from llama_index.retrievers.qwen3_rag import Qwen3Retriever
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore

HANDBOOK = Path(__file__).parent / "handbook"
QUESTIONS = ("May I throw away last year's backup key?", "I was called out at three in the morning. Do I get the following day off?")


class Extract(CustomLLM):
    """Gives back the sentence of the context that shares most words with the question."""

    @property
    def metadata(self) -> LLMMetadata:
        """It reads everything."""
        return LLMMetadata(context_window=32_768, model_name="extract")

    def complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponse:
        """The sentence."""
        context, _, question = prompt.rpartition("Query:")
        wanted = set(re.findall(r"\w{4,}", question.lower()))
        sentences = re.findall(r"[A-Z][^.:|\n]+\.", context)
        return CompletionResponse(text=max(sentences, key=lambda each: sum(word in each.lower() for word in wanted), default=""))

    def stream_complete(self, prompt: str, formatted: bool = False, **kwargs: Any) -> CompletionResponseGen:
        """The sentence, word by word."""
        yield from (CompletionResponse(text=word, delta=f"{word} ") for word in self.complete(prompt).text.split())


def main(llm: LLM | None = None) -> None:
    """Ingest the handbook, then ask."""
    with tempfile.TemporaryDirectory() as kb, Qwen3VectorStore(kb, embedder="nano") as store:
        steps = [Qwen3NodeParser(embedder=store.passages.embedder()), store.embed_model()]
        pipeline = IngestionPipeline(transformations=steps, vector_store=store, docstore=SimpleDocumentStore())
        with store.replacing():  # a changed document's new nodes are there before its old ones go
            pipeline.run(documents=SimpleDirectoryReader(str(HANDBOOK), recursive=True, required_exts=[".md"]).load_data())
        engine = RetrieverQueryEngine.from_args(Qwen3Retriever(store, top_k=3), llm=llm or Extract(), streaming=True)
        for question in QUESTIONS:
            answer: Any = engine.query(question)
            print(f"\n{question}\n  {''.join(answer.response_gen)}")
            print("\n".join(f"  - {node.metadata['file_name']}: {node.metadata['headings']}" for node in answer.source_nodes))


if __name__ == "__main__":
    main()
