"""Retrieval collections in BEIR form, and nDCG@10. Used by tests and benchmarks; it knows nothing of this package.

A folder holds `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and `qrels.tsv` (query, document, relevance).
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
"""Where the collections are beside a working copy; a user's machine has none of them."""


@dataclass(frozen=True)
class Passage:
    """One document of a collection."""

    id: str
    title: str
    text: str

    @property
    def whole(self) -> str:
        """Title and text joined by a space."""
        return f"{self.title} {self.text}".strip()


@dataclass(frozen=True)
class Collection:
    """Documents, queries (id → text) and what is relevant to them (query → document → relevance)."""

    name: str
    documents: list[Passage]
    queries: dict[str, str]
    relevant: dict[str, dict[str, float]]


def load(folder: Path) -> Collection:
    """Read a folder; queries without a relevant document are left out."""
    relevant: dict[str, dict[str, float]] = {}
    lines = (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()
    for query, document, grade in (line.split("\t") for line in lines[1:]):
        if float(grade) > 0:
            relevant.setdefault(query, {})[document] = float(grade)
    return Collection(
        name=folder.name,
        documents=[Passage(row["_id"], row.get("title") or "", row["text"]) for row in _rows(folder / "corpus.jsonl")],
        queries={row["_id"]: row["text"] for row in _rows(folder / "queries.jsonl") if row["_id"] in relevant},
        relevant=relevant,
    )


def ndcg(ranking: Sequence[str], relevant: Mapping[str, float], k: int = 10) -> float:
    """Normalised discounted cumulative gain of one ranking (Järvelin and Kekäläinen, 2002), gain linear in the grade as in trec_eval.

    A document that is ranked twice counts where it comes first.
    """
    unique = list(dict.fromkeys(ranking))[:k]
    ideal = sorted(relevant.values(), reverse=True)[:k]
    return _dcg([relevant.get(document, 0.0) for document in unique]) / _dcg(ideal)


def mean_ndcg(rankings: Mapping[str, Sequence[str]], collection: Collection, k: int = 10) -> float:
    """Mean over all queries of the collection; one without a ranking counts 0."""
    return sum(ndcg(rankings.get(query, ()), collection.relevant[query], k) for query in collection.queries) / len(collection.queries)


def _dcg(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(rank + 1) for rank, gain in enumerate(gains, start=1))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())
