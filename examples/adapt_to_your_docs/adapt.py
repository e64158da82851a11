"""Adapts nano to the example handbook. Arguments, if any: an OpenAI-compatible server and a model that is to write the questions."""

import json
import os
import shutil
import sys
from pathlib import Path

from qwen3_rag import KnowledgeBase, Qwen3RagError
from qwen3_rag.cli import app
from qwen3_rag.training.pairs import Pair, write_pairs
from qwen3_rag.training.passages import passages_of

HERE = Path(__file__).resolve().parent
WORK = HERE.parents[1] / ".adapt"


def questions(passages: list[str], sources: list[str]) -> list[Pair]:
    """Each question with the passage of its page that holds the words of the answer; line breaks and tables are seen through."""
    pairs = []
    for line in (HERE / "questions.jsonl").read_text(encoding="utf-8").splitlines():
        query, page, answer = json.loads(line).values()
        of_page = (text for text, source in zip(passages, sources, strict=True) if source.endswith(page))
        pairs.append(Pair(query, next(text for text in of_page if "".join(answer.split()) in "".join(text.split()))))
    return pairs


def main(server: list[str]) -> None:
    """From a folder of documents to a model of one's own; each step is a verb of the command line."""
    WORK.mkdir(exist_ok=True)
    os.chdir(WORK)
    shutil.copytree(HERE.parent / "handbook", "handbook", ignore=shutil.ignore_patterns("questions.toml"), dirs_exist_ok=True)
    with KnowledgeBase.open("kb", embedder="nano") as kb:
        kb.ingest("handbook")
        found = list(passages_of(kb.passages()))
    texts = [passage.embedding_text for passage in found]
    pairs = questions(texts, [str(passage.source) for passage in found])
    write_pairs("pairs.jsonl", [pair for place, pair in enumerate(pairs) if place % 3])
    judging = [Pair(pair.query, pair.positive, tuple(texts) if place == 0 else ()) for place, pair in enumerate(pairs[::3])]
    write_pairs("dev.jsonl", judging)  # a third, never trained on; all passages are among what it is searched in
    if server:
        train("synthesize", "--url", server[0], "--model", server[1])
        shutil.copy("synthetic.jsonl", "pairs.jsonl")
    for made in ("runs", "handbook-nano"):  # of an earlier adaptation, perhaps with other questions
        shutil.rmtree(made, ignore_errors=True)
    for step in ("mine", "embedder --stage weak", "embedder --stage supervised", "merge", "export"):
        train(*step.split())


def train(*arguments: str) -> None:
    """Run a verb, and show how."""
    print("\n$ qwen3-rag train", *arguments, "--settings train.toml", flush=True)
    app(["train", *arguments, "--settings", str(HERE / "train.toml")], standalone_mode=False)


if __name__ == "__main__":
    try:
        main(sys.argv[1:3])
    except Qwen3RagError as error:
        sys.exit(f"The adaptation could not go on: {error}")
