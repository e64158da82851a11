"""Qwen3 models on inference servers: vLLM, Text Embeddings Inference, SGLang, Ollama, DashScope. Needs no torch."""

from __future__ import annotations

from qwen3_rag.models.remote.config import Connection, Dimensions, Limits, Retries, Scores, Template
from qwen3_rag.models.remote.embedder import RemoteEmbedder
from qwen3_rag.models.remote.reranker import RemoteReranker
from qwen3_rag.settings import Canary, Dialect

__all__ = [
    "Canary",
    "Connection",
    "Dialect",
    "Dimensions",
    "Limits",
    "RemoteEmbedder",
    "RemoteReranker",
    "Retries",
    "Scores",
    "Template",
]
