"""nDCG@10 by BM25's constants, alone and fused with an embedder, exact and over whole documents.

    python -m benchmarks.lexical [--embedder nano] [--data ../shared/data]

The constants are chosen on sets of English questions that nothing else is judged by (`pairs/`); they were seen in nano's training, so that
fusion is too kind to the dense side there. The last two collections are those where results are reported. Prints a table and writes
benchmarks/results/lexical.json.
"""

from __future__ import annotations

import argparse
import json
import random
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.table import Table

from benchmarks.beir import DATA, load, ndcg
from benchmarks.harness import RESULTS, require
from qwen3_rag import Embedder
from qwen3_rag.models.base import EmbedderLike
from qwen3_rag.retrieval.fusion import standardised
from qwen3_rag.store.sparse import Bm25Encoder, TermWeights
from qwen3_rag.training.pairs import read_pairs

CHOSEN_ON = ("selqa", "squad-train-part", "pubmedqa", "medquad")
REPORTED = ("xquad-en", "msmarco-mini")
QUESTIONS = 1200
DOCUMENTS = 5000
DEPTH = 50
CONSTANTS = [TermWeights(k, b) for k in (0.3, 0.6, 0.9, 1.2) for b in (0.6, 0.75, 0.9)] + [TermWeights(average_length=128.0)]

Scores = NDArray[np.float64]


@dataclass(frozen=True)
class Questions:
    """Documents, queries, and the index of the document that answers each query."""

    name: str
    documents: list[str]
    queries: list[str]
    answers: list[int]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", default="nano")
    parser.add_argument("--data", type=Path, default=DATA)
    options = parser.parse_args()
    require(options.data)
    sets = [from_pairs(options.data, name) for name in CHOSEN_ON] + [from_collection(options.data, name) for name in REPORTED]
    dense = {item.name: cosines(item, Embedder.load(options.embedder, dtype="float32")) for item in sets}
    rows = []
    for weights in CONSTANTS:
        lexical = {item.name: term_scores(item, weights) for item in sets}
        alone = {item.name: mean_ndcg(lexical[item.name], item.answers) for item in sets}
        hybrid = {item.name: mean_ndcg(fused(dense[item.name], lexical[item.name]), item.answers) for item in sets}
        rows.append({"k": weights.k, "b": weights.b, "average_length": weights.average_length, "alone": alone, "fused": hybrid})
    show(rows)
    (RESULTS / "lexical.json").write_text(json.dumps({"embedder": options.embedder, "ndcg@10": rows}, indent=2) + "\n", encoding="utf-8")


def from_pairs(data: Path, name: str, seed: int = 1) -> Questions:
    """A sample of the questions of one file, among all of its documents or as many as are compared."""
    rng = random.Random(seed)
    pairs = list(read_pairs(data / "pairs" / f"{name}.jsonl"))
    asked = rng.sample(pairs, min(QUESTIONS, len(pairs)))
    documents = list(dict.fromkeys(pair.positive for pair in (*asked, *rng.sample(pairs, len(pairs)))))[:DOCUMENTS]
    place = {text: index for index, text in enumerate(documents)}
    return Questions(name, documents, [pair.query for pair in asked], [place[pair.positive] for pair in asked])


def from_collection(data: Path, name: str) -> Questions:
    """A collection where one document answers each query."""
    collection = load(data / name)
    place = {item.id: index for index, item in enumerate(collection.documents)}
    answers = [place[next(iter(collection.relevant[key]))] for key in collection.queries]
    return Questions(name, [item.whole for item in collection.documents], list(collection.queries.values()), answers)


def cosines(item: Questions, embedder: EmbedderLike) -> Scores:
    """Shape (queries, documents)."""
    found: Scores = (np.asarray(embedder.embed_queries(item.queries)) @ np.asarray(embedder.embed_documents(item.documents)).T).astype(
        float
    )
    return found


def term_scores(item: Questions, weights: TermWeights) -> Scores:
    """BM25 with the engine's IDF; shape (queries, documents)."""
    encoder, count = Bm25Encoder(weights), len(item.documents)
    holding: defaultdict[int, list[tuple[int, float]]] = defaultdict(list)
    for row, vector in enumerate(encoder.documents(item.documents, ["en"] * count)):
        for term, weight in zip(vector.indices, vector.values, strict=True):
            holding[term].append((row, weight))
    found = np.zeros((len(item.queries), count))
    for scores, query in zip(found, item.queries, strict=True):
        for held in filter(None, map(holding.get, encoder.query(query, "en").indices)):
            rows, values = zip(*held, strict=True)
            scores[list(rows)] += np.log((count - len(held) + 0.5) / (len(held) + 0.5) + 1) * np.array(values)
    return found


def fused(dense: Scores, lexical: Scores) -> Scores:
    """Completed fusion, equal weights, of the best of each; other documents are last."""
    found = np.full_like(lexical, -np.inf)
    for scores, cosine, terms in zip(found, dense, lexical, strict=True):
        best = np.union1d(np.argsort(-cosine)[:DEPTH], np.argsort(-terms)[:DEPTH])
        scores[best] = standardised(cosine[best]) + standardised(terms[best])
    return found


def mean_ndcg(scores: Scores, answers: list[int]) -> float:
    """Mean nDCG@10 where one document is relevant; of equal scores the first document is first."""
    best = np.argsort(-scores, axis=1, kind="stable")[:, :10].astype(str)
    return float(np.mean([ndcg(row.tolist(), {str(answer): 1.0}) for row, answer in zip(best, answers, strict=True)]))


def show(rows: list[dict[str, Any]]) -> None:
    """A table of all figures: alone / fused."""
    names = [*CHOSEN_ON, *REPORTED]
    table = Table("k", "b", "length", "chosen by", *names, title="nDCG@10, BM25 alone / fused")
    for row in rows:
        means = " / ".join(f"{np.mean([row[kind][name] for name in CHOSEN_ON]):.4f}" for kind in ("alone", "fused"))
        cells = [f"{row['alone'][name]:.4f} / {row['fused'][name]:.4f}" for name in names]
        table.add_row(str(row["k"]), str(row["b"]), f"{row['average_length']:g}", means, *cells)
    Console().print(table)


if __name__ == "__main__":
    main()
