"""Text to chunks: exact spans of a document that fit a budget of the embedder's own tokens. Nothing here knows of files or vectors."""

from qwen3_rag.chunking.chunker import Chunker, check_chunking
from qwen3_rag.chunking.headings import markdown_headings

__all__ = ["Chunker", "check_chunking", "markdown_headings"]
