"""Uses each class once, with nano, in a folder of its own. It needs the installed package and nothing of the repository."""

from __future__ import annotations

import asyncio
import importlib.metadata
import importlib.util
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from llama_index.core import VectorStoreIndex
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.schema import Document
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.node_parser.qwen3_rag import Qwen3NodeParser
from llama_index.postprocessor.qwen3_rag import InstructedQuery, Qwen3Rerank
from llama_index.retrievers.qwen3_rag import Qwen3Retriever
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore

from qwen3_rag.models.base import ResultArray

PACKAGES = ("embeddings", "node_parser", "postprocessor", "retrievers", "vector_stores")
DOCUMENTS = [
    Document(id_="security", text="Keys are rotated every 90 days."),
    Document(id_="canteen", text="Lunch is served at noon."),
]


class Shortest:
    """A reranker that prefers short documents."""

    model = "shortest"

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None) -> ResultArray:
        return ResultArray.of(np.array([1 / len(document) for document in documents], dtype=np.float32), [False] * len(documents))


def main() -> None:
    for package in PACKAGES:
        spec = importlib.util.find_spec(f"llama_index.{package}.qwen3_rag")
        assert spec is not None
        assert (Path(str(spec.origin)).parent / "py.typed").is_file()
    assert any(str(path).endswith("LICENSE") for path in importlib.metadata.files("llama-index-qwen3-rag") or [])
    embed_model = Qwen3Embedding("nano", dim=128)
    assert len(embed_model.get_query_embedding("keys")) == 128
    with tempfile.TemporaryDirectory() as folder, Qwen3VectorStore(folder, embedder=embed_model.embedder) as store:
        steps = [Qwen3NodeParser("nano", chunk_size=64), store.embed_model()]
        pipeline = IngestionPipeline(transformations=steps, vector_store=store, docstore=SimpleDocumentStore())
        with store.replacing():
            assert len(pipeline.run(documents=DOCUMENTS)) == 2
            assert pipeline.run(documents=DOCUMENTS) == []
        found = asyncio.run(Qwen3Retriever(store, top_k=1).aretrieve(InstructedQuery("when do we eat?", instruction="Find the answer")))
        assert [node.node.ref_doc_id for node in found] == ["canteen"]
        index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model())
        nodes = index.as_retriever(similarity_top_k=2, vector_store_query_mode="hybrid").retrieve("how often are keys rotated?")
        assert nodes[0].node.ref_doc_id == "security"
        best = Qwen3Rerank(reranker=Shortest(), top_n=1).postprocess_nodes(nodes, query_str="anything")
        assert best[0].node.ref_doc_id == "canteen"
    print("llama-index-qwen3-rag", importlib.metadata.version("llama-index-qwen3-rag"), "works")


if __name__ == "__main__":
    main()
