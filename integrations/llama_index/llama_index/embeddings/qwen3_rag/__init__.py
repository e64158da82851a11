"""Qwen3 embeddings for LlamaIndex."""

from llama_index.embeddings.qwen3_rag.base import Qwen3Embedding

__all__ = ["Qwen3Embedding"]
