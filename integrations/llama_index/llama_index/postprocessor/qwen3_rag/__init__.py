"""LlamaIndex components of qwen3-rag."""
