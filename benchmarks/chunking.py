"""Which chunk size finds what answers a question? BM25 over three long documents whose answers are known to the character.

For each size the best chunks are taken until a fixed number of tokens is reached, the same for all sizes, as a prompt would have it.
Recall is the share of the answer's characters among what was taken, precision the share of what was taken that is answer, IoU both in one.
The data is `../shared/data/chunk-eval`; the documents' wiki headings are rewritten as Markdown without moving a character.

    python benchmarks/chunking.py [--embedder nano]
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from qdrant_edge import Bm25, Bm25Config
from rich.console import Console
from rich.table import Table
from tokenizers import Tokenizer

from benchmarks.harness import require
from qwen3_rag.chunking import Chunker
from qwen3_rag.settings import ChunkingSettings
from qwen3_rag.types import Chunk, Document, Syntax

ROOT = Path(__file__).parents[1]
DATA = ROOT.parent / "shared/data/chunk-eval"
TOKENIZER = ROOT.parent / "shared/qwen3-tokenizer/tokenizer.json"
SIZES = ((128, 0), (256, 0), (256, 32), (400, 0), (512, 0), (512, 64), (768, 0), (1024, 0))
PROMPT_TOKENS = (1024, 2048, 4096)
_WIKI_HEADING = re.compile(r"^ (=(?: =)*) (.+?) (?:= ?)+$", re.MULTILINE)

Rank = Callable[[Sequence[Chunk], Sequence[str]], NDArray[np.float32]]


@dataclass(frozen=True, slots=True)
class Question:
    """A question and the character spans of its document that answer it."""

    text: str
    document: str
    references: tuple[tuple[int, int], ...]


def documents() -> list[Document]:
    found = []
    for path in sorted((DATA / "corpora").iterdir()):
        text = _WIKI_HEADING.sub(_markdown_heading, path.read_text(encoding="utf-8"))
        found.append(Document(id=path.stem, text=text, syntax=Syntax.MARKDOWN if path.stem == "wikitexts" else Syntax.TEXT))
    return found


def questions() -> list[Question]:
    rows = [json.loads(line) for line in (DATA / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
    return [Question(row["question"], row["corpus"], tuple((start, end) for start, end in row["references"])) for row in rows]


def _markdown_heading(match: re.Match[str]) -> str:
    return f"{'#' * (match[1].count('='))} {match[2]}".ljust(len(match[0]))


def bm25(chunks: Sequence[Chunk], asked: Sequence[str]) -> NDArray[np.float32]:
    """Scores of shape (questions, chunks)."""
    model = Bm25(Bm25Config(avg_len=float(np.mean([len(chunk.embedding_text.split()) for chunk in chunks]))))
    inverse: dict[int, list[tuple[int, float]]] = {}
    for number, chunk in enumerate(chunks):
        vector = model.embed_document(chunk.embedding_text)
        for index, value in zip(vector.indices, vector.values, strict=True):
            inverse.setdefault(index, []).append((number, value))
    scores = np.zeros((len(asked), len(chunks)), dtype=np.float32)
    for row, text in enumerate(asked):
        for index in model.embed_query(text).indices:
            found = inverse.get(index, [])
            idf = np.log((len(chunks) - len(found) + 0.5) / (len(found) + 0.5) + 1)
            for number, value in found:
                scores[row, number] += idf * value
    return scores


def dense(name: str) -> Rank:
    """Exact search with an embedder of this package."""
    from qwen3_rag.models import Embedder

    embedder = Embedder.load(name, dtype="float32")

    def rank(chunks: Sequence[Chunk], asked: Sequence[str]) -> NDArray[np.float32]:
        passages = np.asarray(embedder.embed_documents([chunk.embedding_text for chunk in chunks]))
        scores: NDArray[np.float32] = np.asarray(embedder.embed_queries(list(asked))) @ passages.T
        return scores

    return rank


def measure(chunks: Sequence[Chunk], scores: NDArray[np.float32], asked: Sequence[Question], tokens: int) -> tuple[float, float, float]:
    """Mean recall, precision and IoU, in characters, of the best chunks up to so many tokens."""
    rows = [_overlap(_taken(chunks, row, tokens), question) for row, question in zip(scores, asked, strict=True)]
    recall, precision, iou = np.mean(rows, axis=0)
    return float(recall), float(precision), float(iou)


def _taken(chunks: Sequence[Chunk], scores: NDArray[np.float32], tokens: int) -> Iterator[Chunk]:
    """The best chunks that fit, the last one cut where the tokens end."""
    left = float(tokens)
    for number in np.argsort(-scores, kind="stable"):
        chunk = chunks[int(number)]
        share = min(1.0, left / chunk.tokens)
        if share <= 0:
            return
        end = chunk.start + int(share * len(chunk.text))
        yield Chunk(chunk.document_id, chunk.ordinal, chunk.text, chunk.start, end)
        left -= chunk.tokens


def _overlap(taken: Iterator[Chunk], question: Question) -> tuple[float, float, float]:
    found: set[int] = set()
    other = 0
    for chunk in taken:
        if chunk.document_id == question.document:
            found.update(range(chunk.start, chunk.end))
        else:
            other += chunk.end - chunk.start
    wanted = {position for start, end in question.references for position in range(start, end)}
    both = len(found & wanted)
    return both / len(wanted), both / max(1, len(found) + other), both / (len(found | wanted) + other)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", help="rank with this embedder instead of BM25")
    arguments = parser.parse_args()
    require(DATA, TOKENIZER)
    rank = dense(arguments.embedder) if arguments.embedder else bm25
    tokenizer = Tokenizer.from_file(str(TOKENIZER))
    table = Table("tokens", "overlap", "chunks", "MB/s", *(f"R / P / IoU @{tokens}" for tokens in PROMPT_TOKENS))
    asked, sources = questions(), documents()
    for size, overlap in SIZES:
        began = time.perf_counter()
        chunker = Chunker(tokenizer, ChunkingSettings(size, overlap))
        chunks = [chunk for document in sources for chunk in chunker.chunk(document)]
        speed = sum(len(document.text.encode()) for document in sources) / (time.perf_counter() - began) / 1e6
        scores = rank(chunks, [question.text for question in asked])
        measured = [measure(chunks, scores, asked, tokens) for tokens in PROMPT_TOKENS]
        cells = [f"{recall:.3f} / {precision:.3f} / {iou:.3f}" for recall, precision, iou in measured]
        table.add_row(str(size), str(overlap), str(len(chunks)), f"{speed:.2f}", *cells)
    Console(width=140).print(table)


if __name__ == "__main__":
    main()
