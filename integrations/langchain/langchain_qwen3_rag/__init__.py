"""LangChain components of qwen3-rag: embeddings, a reranker, a vector store, a two-stage retriever, and a record manager for `index`."""

from langchain_qwen3_rag.embeddings import Qwen3Embeddings
from langchain_qwen3_rag.record_manager import Qwen3RecordManager
from langchain_qwen3_rag.rerankers import Qwen3Reranker
from langchain_qwen3_rag.retrievers import Qwen3Retriever
from langchain_qwen3_rag.vector_stores import Qwen3VectorStore

__all__ = ["Qwen3Embeddings", "Qwen3RecordManager", "Qwen3Reranker", "Qwen3Retriever", "Qwen3VectorStore"]
