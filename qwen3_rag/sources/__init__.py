"""Where documents come from: files and folders are discovered, hashed and read into `Document`. Nothing here knows of chunks or models."""

from qwen3_rag.sources.discovery import Skipped, SourceFile, discover
from qwen3_rag.sources.formats import Format, FormatInfo, supported_formats
from qwen3_rag.sources.reading import hash_file, read

__all__ = ["Format", "FormatInfo", "Skipped", "SourceFile", "discover", "hash_file", "read", "supported_formats"]
