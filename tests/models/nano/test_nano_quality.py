"""Retrieval quality of the finished checkpoint: exact search, nDCG@10, document text is title and text joined by a space."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.models.nano.nano_reference import Reference

DATA = Path(__file__).parents[3].parent / "shared" / "data"
FLOORS = {"xquad-en": {320: 0.918, 128: 0.884, 64: 0.846, 32: 0.738}, "msmarco-mini": {320: 0.952, 128: 0.94, 64: 0.907, 32: 0.805}}


@dataclass(frozen=True)
class Collection:
    documents: list[str]
    queries: list[str]
    relevant: list[set[int]]


def read_lines(path: Path) -> list[dict[str, str]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


def read(name: str) -> Collection:
    folder = DATA / name
    if not folder.is_dir():
        pytest.skip(f"the evaluation set {name} is not in ../shared/data")
    rows = {part: read_lines(folder / f"{part}.jsonl") for part in ("corpus", "queries")}
    position = {row["_id"]: index for index, row in enumerate(rows["corpus"])}
    relevant: dict[str, set[int]] = {row["_id"]: set() for row in rows["queries"]}
    for line in (folder / "qrels.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        query, document, grade = line.split("\t")
        if int(grade) > 0 and query in relevant:
            relevant[query].add(position[document])
    documents = [f"{row.get('title', '')} {row['text']}" for row in rows["corpus"]]
    return Collection(documents, [row["text"] for row in rows["queries"]], list(relevant.values()))


def ndcg_at_10(queries: np.ndarray, documents: np.ndarray, relevant: list[set[int]]) -> float:
    """Binary nDCG@10 of cosine similarity, mean over queries that have a relevant document."""
    discounts = 1 / np.log2(np.arange(2, 12))
    ranking = np.argsort(-(queries @ documents.T), axis=1, kind="stable")[:, :10]
    gains = [
        sum(discounts[place] for place, document in enumerate(row) if document in wanted) / discounts[: len(wanted)].sum()
        for row, wanted in zip(ranking, relevant, strict=True)
        if wanted
    ]
    return float(np.mean(gains))


@pytest.mark.parametrize("name", FLOORS)
def test_quality_at_every_prefix(reference: Reference, name: str, record_property: pytest.RecordProperty) -> None:
    collection = read(name)
    queries, documents = (
        reference.queries(
            collection.queries,
        ),
        reference.embed(collection.documents),
    )
    for dim, floor in FLOORS[name].items():
        cut = [part[:, :dim] / np.linalg.norm(part[:, :dim], axis=1, keepdims=True) for part in (queries, documents)]
        score = ndcg_at_10(*cut, collection.relevant)
        record_property(f"{name} {dim}", round(score, 3))
        print(f"{name} {dim}: {score:.3f}")
        assert score >= floor, f"{name} at {dim} dimensions: {score:.3f}"
