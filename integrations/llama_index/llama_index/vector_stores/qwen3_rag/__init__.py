"""A LlamaIndex vector store on the core's collections."""

from llama_index.vector_stores.qwen3_rag.base import Qwen3VectorStore

__all__ = ["Qwen3VectorStore"]
