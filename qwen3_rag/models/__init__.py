"""Qwen3 embedding and reranking models. Importing this package does not import torch."""
