"""Synthetic pairs: a language model asks what each passage of a knowledge base answers (section 3.3 of the Qwen3 Embedding paper)."""
