"""Build nano's reranker: `python -m qwen3_rag.models.nano.reranker_build --output FOLDER [--embedder FOLDER]`. Seconds; nothing is trained.

It needs a nano embedder, whose tokenizer and token vectors it takes over; by default the one that comes with the package. `qwen3-rag train
reranker` goes on from what it writes. Two builds from one embedder give the same bytes. The running package never imports this module.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from qwen3_rag.models.hub import nano_folder
from qwen3_rag.models.nano.reranker_checkpoint import save_rerank_checkpoint
from qwen3_rag.models.nano.reranker_layers import Formula
from qwen3_rag.models.nano.reranker_table import rerank_table
from qwen3_rag.models.nano.reranker_vocabulary import rerank_vocabulary, save_rerank_tokenizer

SEED = 0


def build_reranker(output: Path, embedder: Path, formula: Formula | None = None, seed: int = SEED) -> None:
    """Write the reranker's checkpoint into `output`, from the tables of a nano embedder.

    Raises:
        ModelFormatError: `embedder` holds no nano embedder.
    """
    vocabulary = rerank_vocabulary(embedder)
    table = rerank_table(vocabulary, embedder, seed)
    output.mkdir(parents=True, exist_ok=True)
    save_rerank_tokenizer(vocabulary, embedder, output)
    save_rerank_checkpoint(table, vocabulary, formula or Formula(), output, seed)


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(prog="python -m qwen3_rag.models.nano.reranker_build", description="Build nano's reranker.")
    parser.add_argument("--output", type=Path, required=True, help="folder for the checkpoint")
    parser.add_argument("--embedder", type=Path, default=nano_folder(), help="folder of a nano embedder (default: the one that ships)")
    options = parser.parse_args(arguments)
    build_reranker(options.output, options.embedder)
    print(f"Written to {options.output}")


if __name__ == "__main__":
    main()
