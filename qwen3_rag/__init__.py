"""Two-stage retrieval with Qwen3 embeddings and reranking on Qdrant."""
