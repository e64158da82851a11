"""LangChain components of qwen3-rag."""
