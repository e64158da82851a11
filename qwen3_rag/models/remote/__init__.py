"""Qwen3 models on inference servers: vLLM, Text Embeddings Inference, SGLang, Ollama, DashScope. Needs no torch."""

from __future__ import annotations

from qwen3_rag.models.remote.config import Canary, Connection, Dialect, Dimensions, Limits, Retries, Scores, Template
from qwen3_rag.models.remote.embedder import RemoteEmbedder
from qwen3_rag.models.remote.reranker import RemoteReranker

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
