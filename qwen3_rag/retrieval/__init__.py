"""Recall, fuse, rerank, trim: from a query to hits that keep every stage's rank and score."""

from qwen3_rag.retrieval.retriever import Retriever

__all__ = ["Retriever"]
