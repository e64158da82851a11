"""Adapts nano to the example handbook: questions, hard negatives, two stages of training, merging, and the gate before the export.

    python examples/adapt_to_your_docs/adapt.py                                        # with the questions that are here
    python examples/adapt_to_your_docs/adapt.py http://localhost:8000/v1 Qwen/Qwen3-8B    # with those that a language model writes

Everything is made in .adapt/. A run that was stopped goes on where it was; delete the folder to begin anew.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from qwen3_rag import KnowledgeBase, Qwen3RagError
from qwen3_rag.cli import app
from qwen3_rag.training.pairs import Pair, write_pairs
from qwen3_rag.training.passages import passages_of

HERE = Path(__file__).resolve().parent
WORK = HERE.parents[1] / ".adapt"


def questions(kb: KnowledgeBase) -> tuple[list[Pair], list[Pair]]:
    """Questions with the passage that answers each: two thirds to learn from, a third to judge by, among all passages."""
    passages = list(passages_of(kb.passages()))
    pairs = []
    for line in (HERE / "questions.jsonl").read_text(encoding="utf-8").splitlines():
        item = json.loads(line)
        of_page = [passage for passage in passages if str(passage.source).endswith(item["document"])]
        answer = next(passage for passage in of_page if squeezed(item["answer"]) in squeezed(passage.text))
        pairs.append(Pair(item["query"], answer.embedding_text))
    dev = pairs[::3]
    dev[0] = Pair(dev[0].query, dev[0].positive, tuple(passage.embedding_text for passage in passages))
    return [pair for place, pair in enumerate(pairs) if place % 3], dev


def squeezed(text: str) -> str:
    """Without white space: tables and line breaks look different in a file and in a passage."""
    return "".join(text.split())


def main(server: Sequence[str]) -> None:
    """The whole way; each step is a verb of the command line."""
    WORK.mkdir(exist_ok=True)
    os.chdir(WORK)
    shutil.copytree(HERE.parent / "handbook", "handbook", ignore=shutil.ignore_patterns("questions.toml"), dirs_exist_ok=True)
    with KnowledgeBase.open("kb", embedder="nano") as kb:
        kb.ingest("handbook")
        pairs, dev = questions(kb)
    write_pairs("pairs.jsonl", pairs)
    write_pairs("dev.jsonl", dev)
    if server:
        train("synthesize", "--url", server[0], "--model", server[1])
        shutil.copy("synthetic.jsonl", "pairs.jsonl")
    for verb in (["mine"], ["embedder", "--stage", "weak"], ["embedder", "--stage", "supervised"], ["merge"], ["export"]):
        train(*verb)


def train(*arguments: str) -> None:
    """Run a verb, and show how."""
    print("\n$ qwen3-rag train", *arguments, "--settings train.toml", flush=True)
    app(["train", *arguments, "--settings", str(HERE / "train.toml")], standalone_mode=False)


if __name__ == "__main__":
    try:
        main(sys.argv[1:3])
    except Qwen3RagError as error:
        sys.exit(f"The adaptation could not go on: {error}")
