"""nDCG@10 of ways to make one ranking of dense and BM25 scores, on real collections, in the embedded engine.

    python -m benchmarks.fusion [--embedder nano] [--data ../shared/data] [--set NAME …]

Each query is recalled once from both rankers; every method then fuses the same candidates. One document is one passage, so that nothing
but fusion differs. The second table varies the recall depth. Prints tables and writes benchmarks/results/fusion.json.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import cast

import numpy as np
from qdrant_client.client_base import QdrantBase
from rich.console import Console
from rich.table import Table

from benchmarks.beir import DATA, Collection, load, mean_ndcg
from benchmarks.harness import require
from qwen3_rag.models.base import EmbedderLike
from qwen3_rag.models.embedder import Embedder
from qwen3_rag.retrieval.fusion import completed, distribution_based, ranked, reciprocal_rank
from qwen3_rag.retrieval.recall import Queries, Recalled, complete, recall
from qwen3_rag.settings import StoreSettings
from qwen3_rag.store import open_client
from qwen3_rag.store.language import detect, detect_query
from qwen3_rag.store.points import assign_point_ids, to_point
from qwen3_rag.store.schema import ensure_collection
from qwen3_rag.store.sparse import Bm25Encoder
from qwen3_rag.types import Chunk, Document

SETS = ("xquad-en", "msmarco-mini")
DEPTH = 50
DEPTHS = (10, 20, 50, 100)
WEIGHTS = (0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
RESULTS = Path(__file__).parent / "results" / "fusion.json"

Method = Callable[[Recalled, Recalled], Mapping[str, float]]
"""From the two lists as recalled and as completed to one score a candidate."""

METHODS: dict[str, Method] = {
    "BM25 alone": lambda lists, full: lists.lexical,
    "dense alone": lambda lists, full: lists.dense,
    "RRF k=2": lambda lists, full: reciprocal_rank(lists.dense, lists.lexical, 0.5, 2),
    "RRF k=60": lambda lists, full: reciprocal_rank(lists.dense, lists.lexical, 0.5, 60),
    "DBSF": lambda lists, full: distribution_based(lists.dense, lists.lexical, 0.5),
    "z-scores, not completed": lambda lists, full: completed(lists.dense, lists.lexical, 0.5),
}


def _completed(weight: float) -> Method:
    return lambda lists, full: completed(full.dense, full.lexical, weight)


METHODS |= {f"completed, dense weight {weight}": _completed(weight) for weight in WEIGHTS}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--embedder", default="nano")
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--set", dest="sets", action="append", help="collections to measure; may be repeated")
    options = parser.parse_args()
    require(options.data)
    results = run(Embedder.load(options.embedder, dtype="float32"), [load(options.data / name) for name in options.sets or SETS])
    RESULTS.write_text(json.dumps({"embedder": options.embedder, "depth": DEPTH, **results}, indent=2) + "\n", encoding="utf-8")


def run(embedder: EmbedderLike, collections: Sequence[Collection]) -> dict[str, dict[str, dict[str, float]]]:
    """nDCG@10 by table, row and collection."""
    methods: dict[str, dict[str, float]] = {name: {} for name in METHODS}
    depths: dict[str, dict[str, float]] = {f"depth {depth}": {} for depth in DEPTHS}
    for collection in collections:
        with tempfile.TemporaryDirectory() as folder:
            client = open_client(StoreSettings(path=folder))
            queries = index(client, collection, embedder)
            for depth in dict.fromkeys([DEPTH, *DEPTHS]):
                candidates = {query: candidates_of(client, collection.name, asked, depth) for query, asked in queries.items()}
                if depth == DEPTH:
                    for name, method in METHODS.items():
                        methods[name][collection.name] = quality(collection, candidates, method)
                depths[f"depth {depth}"][collection.name] = quality(collection, candidates, _completed(0.5))
            client.close()
    show("Fusion", methods)
    show("Recall depth, completed fusion, dense weight 0.5", depths)
    return {"fusion": methods, "recall_depth": depths}


def index(client: QdrantBase, collection: Collection, embedder: EmbedderLike) -> dict[str, Queries]:
    """Store every document as one passage; return each query as the rankers take it."""
    ensure_collection(client, StoreSettings(collection=collection.name), embedder.space)
    documents = [Document(passage.id, passage.text, title=passage.title or None) for passage in collection.documents]
    chunks = [
        Chunk(document.id, 0, document.text, 0, len(document.text), (), document.title, 0, detect(document.text)) for document in documents
    ]
    texts, languages = [chunk.embedding_text for chunk in chunks], [chunk.language for chunk in chunks]
    encoder = Bm25Encoder()
    lexical, dense = encoder.documents(texts, languages), np.asarray(embedder.embed_documents(texts))
    parts = zip(assign_point_ids(chunks), chunks, documents, dense, lexical, strict=True)
    client.upsert(collection.name, [to_point(*part) for part in parts], wait=True)
    held = sorted({language for language in languages if language})
    vectors = np.asarray(embedder.embed_queries(list(collection.queries.values())))
    return {
        query: Queries(cast("list[float]", vector.tolist()), encoder.query(text, detect_query(text, held)))
        for (query, text), vector in zip(collection.queries.items(), vectors, strict=True)
    }


def candidates_of(client: QdrantBase, name: str, queries: Queries, depth: int) -> tuple[dict[str, str], Recalled, Recalled]:
    """Document by point, the two lists as recalled, and completed."""
    lists = recall(client, name, queries, None, depth)
    full = complete(client, name, queries, lists)
    records = client.retrieve(name, lists.ids, with_payload=["document_id"])
    return {str(record.id): (record.payload or {})["document_id"] for record in records}, lists, full


def quality(collection: Collection, candidates: Mapping[str, tuple[dict[str, str], Recalled, Recalled]], method: Method) -> float:
    """Mean nDCG@10 of one method over all queries."""
    rankings = {
        query: [documents[point] for point in ranked(method(lists, full))] for query, (documents, lists, full) in candidates.items()
    }
    return round(mean_ndcg(rankings, collection), 4)


def show(title: str, rows: Mapping[str, Mapping[str, float]]) -> None:
    """Print one table."""
    table = Table("", *next(iter(rows.values())), title=f"{title}, nDCG@10")
    for name, figures in rows.items():
        table.add_row(name, *(f"{figure:.3f}" for figure in figures.values()))
    Console().print(table)


if __name__ == "__main__":
    main()
