"""Qwen3 reranking for LlamaIndex."""

from llama_index.postprocessor.qwen3_rag.base import Qwen3Rerank
from llama_index.postprocessor.qwen3_rag.query import InstructedQuery

__all__ = ["InstructedQuery", "Qwen3Rerank"]
