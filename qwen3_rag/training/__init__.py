"""Adapting the models to one's own documents, as the Qwen3 Embedding paper (arXiv 2506.05176) made them: pairs, losses, stages, merging."""
