"""The core's chunker for LlamaIndex."""

from llama_index.node_parser.qwen3_rag.base import Qwen3NodeParser

__all__ = ["Qwen3NodeParser"]
