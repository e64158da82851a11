"""Two-stage retrieval for LlamaIndex."""

from llama_index.retrievers.qwen3_rag.base import Qwen3Retriever

__all__ = ["Qwen3Retriever"]
