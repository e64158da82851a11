"""How LangChain and LlamaIndex users ingest and search a folder in this process: sentence-transformers and Qdrant's local mode on disk.

Both get the same model folder, the same token budget a chunk counted by the same tokenizer, and the same batch size. They compute in
float32, as they do unless told otherwise, or in another `dtype`. Files are read as text, by their own loaders. Nothing here knows this
package.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

BATCH = 32
"""LangChain leaves sentence-transformers' own; LlamaIndex would take 10, which is slower."""
COLLECTION = "benchmark"
PACKAGES = (
    "sentence-transformers",
    "langchain-core",
    "langchain-classic",
    "langchain-community",
    "langchain-huggingface",
    "langchain-qdrant",
    "langchain-text-splitters",
    "llama-index-core",
    "llama-index-embeddings-huggingface",
    "llama-index-vector-stores-qdrant",
)


class LangChain:
    """DirectoryLoader, RecursiveCharacterTextSplitter, HuggingFaceEmbeddings, QdrantVectorStore."""

    def __init__(self, model: Path, tokens: int, dtype: str = "float32") -> None:
        from langchain_huggingface import HuggingFaceEmbeddings
        from langchain_text_splitters import RecursiveCharacterTextSplitter
        from transformers import AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(model)
        self._splitter = RecursiveCharacterTextSplitter.from_huggingface_tokenizer(tokenizer, chunk_size=tokens, chunk_overlap=0)
        self._embeddings = HuggingFaceEmbeddings(
            model_name=str(model),
            model_kwargs={"device": "cpu", "model_kwargs": {"dtype": dtype}},
            encode_kwargs={"batch_size": BATCH},
            query_encode_kwargs={"prompt_name": "query"},
        )

    def store(self, folder: Path, target: Path) -> tuple[Any, int]:
        """The vector store made of a folder, and its number of chunks. The caller closes `store.client`."""
        from langchain_community.document_loaders import DirectoryLoader, TextLoader
        from langchain_qdrant import QdrantVectorStore

        loader = DirectoryLoader(str(folder), glob="*", loader_cls=TextLoader, loader_kwargs={"encoding": "utf-8"})
        chunks = self._splitter.split_documents(loader.load())
        return QdrantVectorStore.from_documents(chunks, self._embeddings, path=str(target), collection_name=COLLECTION), len(chunks)

    def ingest(self, folder: Path, target: Path) -> int:
        """Everything from files to vectors on disk; returns the number of chunks."""
        store, chunks = self.store(folder, target)
        store.client.close()
        return chunks

    def vectors(self, texts: list[str]) -> list[list[float]]:
        """Of documents."""
        found: list[list[float]] = self._embeddings.embed_documents(texts)
        return found


class LlamaIndex:
    """SimpleDirectoryReader, SentenceSplitter, HuggingFaceEmbedding, IngestionPipeline, QdrantVectorStore."""

    def __init__(self, model: Path, tokens: int, dtype: str = "float32") -> None:
        from llama_index.core.node_parser import SentenceSplitter
        from llama_index.embeddings.huggingface import HuggingFaceEmbedding
        from transformers import AutoTokenizer

        tokenizer: Any = AutoTokenizer.from_pretrained(model)
        self._splitter = SentenceSplitter(chunk_size=tokens, chunk_overlap=0, tokenizer=tokenizer.tokenize)
        self._embedding = HuggingFaceEmbedding(str(model), device="cpu", embed_batch_size=BATCH, model_kwargs={"dtype": dtype})

    def ingest(self, folder: Path, target: Path) -> int:
        """Everything from files to vectors on disk; returns the number of chunks."""
        from llama_index.core import SimpleDirectoryReader
        from llama_index.core.ingestion import IngestionPipeline
        from llama_index.vector_stores.qdrant import QdrantVectorStore
        from qdrant_client import QdrantClient

        client = QdrantClient(path=str(target))
        store = QdrantVectorStore(COLLECTION, client=client)
        pipeline = IngestionPipeline(transformations=[self._splitter, self._embedding], vector_store=store)
        nodes = pipeline.run(documents=SimpleDirectoryReader(str(folder)).load_data())
        client.close()
        return len(nodes)

    def vectors(self, texts: list[str]) -> list[list[float]]:
        """Of documents."""
        found: list[list[float]] = self._embedding.get_text_embedding_batch(texts)
        return found


def reranking(retriever: Any, model: Path, candidates: int, top: int) -> Callable[[str], list[Any]]:
    """LangChain's own way to rerank: ContextualCompressionRetriever and CrossEncoderReranker around a vector store."""
    from langchain_classic.retrievers import ContextualCompressionRetriever
    from langchain_classic.retrievers.document_compressors import CrossEncoderReranker
    from langchain_community.cross_encoders import HuggingFaceCrossEncoder

    encoder = HuggingFaceCrossEncoder(model_name=str(model), model_kwargs={"device": "cpu"})
    chain: Any = ContextualCompressionRetriever(
        base_compressor=CrossEncoderReranker(model=encoder, top_n=top),
        base_retriever=retriever.as_retriever(search_kwargs={"k": candidates}),
    )
    return lambda query: list(chain.invoke(query))
