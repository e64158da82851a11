"""How good an embedder or a reranker is: nDCG@10 and recall@10 on pairs or on a folder in BEIR form, with exact search.

A BEIR folder holds `corpus.jsonl` (`_id`, `title`, `text`), `queries.jsonl` (`_id`, `text`) and `qrels.tsv` (query, document,
relevance; the first line is a heading), also as `qrels/test.tsv`. This module knows models by their protocols only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.errors import TrainingDataError
from qwen3_rag.models.base import EmbedderLike, RerankerLike
from qwen3_rag.training.pairs import Pair, fingerprint

DEPTH = 10
_ROWS = 1024


@dataclass(frozen=True, slots=True)
class Question:
    """A query, what it is embedded with, and the relevance of documents by their place."""

    text: str
    instruction: str | None
    relevant: Mapping[int, float]


@dataclass(frozen=True, slots=True)
class Judged:
    """Documents, and questions of which the right answers are known."""

    name: str
    documents: Sequence[str]
    questions: Sequence[Question]


@dataclass(frozen=True, slots=True)
class Figures:
    """Means over all questions: `ndcg` within the first ten, `recall` the share of relevant documents among them."""

    ndcg: float
    recall: float
    questions: int

    def to_dict(self) -> dict[str, float]:
        """For logs and cards."""
        return {"ndcg@10": round(self.ndcg, 4), f"recall@{DEPTH}": round(self.recall, 4), "questions": self.questions}


def judged_pairs(name: str, pairs: Iterable[Pair]) -> Judged:
    """All positives and negatives are the corpus; a query that has several pairs has several right answers.

    Raises:
        TrainingDataError: there are no pairs.
    """
    places: dict[str, int] = {}
    documents: list[str] = []
    questions: dict[tuple[str, str | None], dict[int, float]] = {}
    texts: dict[tuple[str, str | None], str] = {}
    for pair in pairs:
        for text in (pair.positive, *pair.negatives):
            if places.setdefault(fingerprint(text), len(documents)) == len(documents):
                documents.append(text)
        key = fingerprint(pair.query), pair.instruction
        questions.setdefault(key, {})[places[pair.document]] = 1.0
        texts.setdefault(key, pair.query)
    if not questions:
        raise TrainingDataError(f"There are no pairs to judge by in {name}. Give a file with some as `dev`, or a larger `dev_share`.")
    return Judged(name, documents, [Question(texts[key], key[1], relevant) for key, relevant in questions.items()])


def judged_folder(folder: Path) -> Judged:
    """A folder in BEIR form; document text is title and text joined by a space. Queries without a relevant document are left out.

    Raises:
        TrainingDataError: a file is missing or holds something else.
    """
    try:
        ids: dict[str, int] = {}
        documents: list[str] = []
        for row in _rows(folder / "corpus.jsonl"):
            ids[row["_id"]] = len(documents)
            documents.append(f"{row.get('title') or ''} {row['text']}".strip())
        relevant: dict[str, dict[int, float]] = {}
        for query, document, grade in _grades(folder):
            if grade > 0 and document in ids:
                relevant.setdefault(query, {})[ids[document]] = grade
        questions = [Question(row["text"], None, relevant[row["_id"]]) for row in _rows(folder / "queries.jsonl") if row["_id"] in relevant]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TrainingDataError(
            f"{folder} is no collection in BEIR form: {type(error).__name__}: {error}. It holds corpus.jsonl, queries.jsonl and qrels.tsv."
        ) from error
    if not questions:
        raise TrainingDataError(f"No query in {folder} has a relevant document. Look at its qrels.tsv.")
    return Judged(folder.name, documents, questions)


def judge_embedder(embedder: EmbedderLike, judged: Judged, dim: int | None = None) -> Figures:
    """Every question against every document."""
    return figures(judged, embedder_rankings(embedder, judged, DEPTH, dim))


def judge_reranker(reranker: RerankerLike, judged: Judged, candidates: Sequence[Sequence[int]]) -> Figures:
    """The candidates of each question, in the reranker's order."""
    rankings = []
    for question, places in zip(judged.questions, candidates, strict=True):
        scores = np.asarray(reranker.score(question.text, [judged.documents[place] for place in places], question.instruction))
        rankings.append([places[index] for index in np.argsort(-scores, kind="stable")])
    return figures(judged, rankings)


def embedder_rankings(embedder: EmbedderLike, judged: Judged, depth: int, dim: int | None = None) -> list[list[int]]:
    """Places of each question's `depth` nearest documents, nearest first."""
    documents = np.asarray(embedder.embed_documents(judged.documents, dim))
    best: list[list[int]] = []
    for vectors in _question_vectors(embedder, judged, dim):
        for start in range(0, len(vectors), _ROWS):
            scores = vectors[start : start + _ROWS] @ documents.T
            best += np.argsort(-scores, axis=1, kind="stable")[:, :depth].tolist()
    order = [index for _, index in _by_instruction(judged)]
    return [ranking for _, ranking in sorted(zip(order, best, strict=True))]


def figures(judged: Judged, rankings: Sequence[Sequence[int]]) -> Figures:
    """Means of what rankings, one a question, are worth."""
    gains = [ndcg(ranking, question.relevant) for ranking, question in zip(rankings, judged.questions, strict=True)]
    found = [recall(ranking, question.relevant) for ranking, question in zip(rankings, judged.questions, strict=True)]
    return Figures(float(np.mean(gains)), float(np.mean(found)), len(gains))


def ndcg(ranking: Sequence[int], relevant: Mapping[int, float], depth: int = DEPTH) -> float:
    """Normalised discounted cumulative gain (Järvelin and Kekäläinen, 2002), gain linear in the grade as in trec_eval."""
    best = sorted(relevant.values(), reverse=True)[:depth]
    return _discounted([relevant.get(place, 0.0) for place in ranking[:depth]]) / _discounted(best)


def recall(ranking: Sequence[int], relevant: Mapping[int, float], depth: int = DEPTH) -> float:
    """The share of the relevant documents among the first `depth`."""
    return len(relevant.keys() & set(ranking[:depth])) / len(relevant)


def _discounted(gains: Sequence[float]) -> float:
    return sum(gain / math.log2(place + 2) for place, gain in enumerate(gains))


def _by_instruction(judged: Judged) -> list[tuple[str, int]]:
    """Questions' places, those with the same instruction side by side; no instruction is not an empty one."""
    return sorted(("" if item.instruction is None else f"+{item.instruction}", index) for index, item in enumerate(judged.questions))


def _question_vectors(embedder: EmbedderLike, judged: Judged, dim: int | None) -> Iterator[NDArray[np.float32]]:
    for _, group in groupby(_by_instruction(judged), key=lambda entry: entry[0]):
        questions = [judged.questions[index] for _, index in group]
        yield np.asarray(embedder.embed_queries([item.text for item in questions], questions[0].instruction, dim))


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as lines:
        yield from (json.loads(line) for line in lines if line.strip())


def _grades(folder: Path) -> Iterator[tuple[str, str, float]]:
    path = folder / "qrels.tsv"
    lines = (path if path.is_file() else folder / "qrels" / "test.tsv").read_text(encoding="utf-8").splitlines()
    for line in lines[1:]:
        if line.strip():
            query, document, grade = line.split("\t")
            yield query, document, float(grade)
