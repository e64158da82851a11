"""nDCG@10 of the whole system on real collections: documents ingested, chunked, embedded, searched in the embedded engine.

    python -m benchmarks.quality [--embedder nano] [--data ../shared/data] [--set NAME …]

Per collection: dense search that is exact (no store), then dense, lexical and hybrid search through `KnowledgeBase`; then lexical
search with several languages in one knowledge base. Vectors are computed in float32, on any machine. Prints a table and writes
benchmarks/results/quality.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.beir import DATA, Collection, load, mean_ndcg
from benchmarks.harness import require
from qwen3_rag import Document, Embedder, KnowledgeBase
from qwen3_rag.models.base import EmbedderLike
from qwen3_rag.types import Mode

SETS = ("xquad-en", "msmarco-mini", "xquad-de", "xquad-zh")
LANGUAGES = ("xquad-en", "xquad-de", "xquad-zh")
DEPTH = 30
"""Passages asked for: ten documents may stand behind more than ten."""


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", default="nano")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--set", dest="sets", action="append", help="collections to measure; may be repeated")
    options = parser.parse_args()
    require(options.data)
    embedder = Embedder.load(options.embedder, dtype="float32")
    collections = [load(options.data / name) for name in options.sets or SETS]
    results = {collection.name: measure(collection, embedder) for collection in collections}
    together = [collection for collection in collections if collection.name in LANGUAGES]
    for name, value in measure_together(together, embedder).items():
        results[name]["lexical, languages together"] = value
    show(results)
    target = Path(__file__).parent / "results" / "quality.json"
    target.write_text(json.dumps({"embedder": options.embedder, "ndcg@10": results}, indent=2) + "\n", encoding="utf-8")


def measure(collection: Collection, embedder: EmbedderLike) -> dict[str, float]:
    """All figures of one collection alone."""
    figures = {"dense, exact": exact(collection, embedder)}
    with tempfile.TemporaryDirectory() as folder, KnowledgeBase.open(folder, embedder=embedder) as kb:
        kb.ingest(documents(collection))
        for mode in Mode:
            figures[mode.value] = mean_ndcg(rankings(kb, collection, mode), collection)
    return figures


def measure_together(collections: Sequence[Collection], embedder: EmbedderLike) -> dict[str, float]:
    """Lexical search with all collections in one knowledge base; a query's own collection holds what is relevant to it."""
    with tempfile.TemporaryDirectory() as folder, KnowledgeBase.open(folder, embedder=embedder) as kb:
        for collection in collections:
            kb.ingest(documents(collection, prefix=f"{collection.name}/"))
        return {item.name: mean_ndcg(without_prefix(rankings(kb, item, Mode.LEXICAL), item.name), item) for item in collections}


def exact(collection: Collection, embedder: EmbedderLike) -> float:
    """Every query against every document, no store and no chunks in between."""
    vectors = embedder.embed_documents([document.whole for document in collection.documents])
    scores = np.asarray(embedder.embed_queries(list(collection.queries.values()))) @ np.asarray(vectors).T
    ids = [document.id for document in collection.documents]
    best = np.argsort(-scores, axis=1)[:, :10]
    return mean_ndcg({query: [ids[column] for column in row] for query, row in zip(collection.queries, best, strict=True)}, collection)


def documents(collection: Collection, prefix: str = "") -> Iterable[Document]:
    """The collection as documents."""
    return (Document(id=prefix + item.id, text=item.whole) for item in collection.documents)


def rankings(kb: KnowledgeBase, collection: Collection, mode: Mode) -> dict[str, list[str]]:
    """Document ids per query, best first."""
    return {key: [hit.document_id for hit in kb.search(text, DEPTH, mode=mode)] for key, text in collection.queries.items()}


def without_prefix(ranked: Mapping[str, Sequence[str]], name: str) -> dict[str, list[str]]:
    """Ids as the collection knows them; documents of other collections stay in the ranking under their prefixed name."""
    return {query: [document.removeprefix(f"{name}/") for document in ranking] for query, ranking in ranked.items()}


def show(results: Mapping[str, Mapping[str, float]]) -> None:
    """A table of all figures."""
    columns = list(dict.fromkeys(name for figures in results.values() for name in figures))
    table = Table("collection", *columns, title="nDCG@10")
    for name, figures in results.items():
        table.add_row(name, *(f"{figures[column]:.3f}" if column in figures else "" for column in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
