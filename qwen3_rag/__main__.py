"""`python -m qwen3_rag` is the command line."""

from qwen3_rag.cli import main

main()
