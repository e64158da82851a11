from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from qwen3_rag.errors import TrainingDataError
from qwen3_rag.models.embedder import Embedder
from qwen3_rag.training.evaluation import (
    embedder_rankings,
    figures,
    judge_embedder,
    judge_reranker,
    judged_folder,
    judged_pairs,
    ndcg,
    recall,
)
from qwen3_rag.training.pairs import Pair

PAIRS = [
    Pair("how are keys rotated?", "Signing keys are rotated every ninety days.", ("Lunch is at noon.",)),
    Pair("How are keys rotated?", "A key is replaced by the night shift.", ("lunch is at  noon.",)),
    Pair("when do we eat", "Lunch is at noon.", instruction="Find times"),
]


@pytest.mark.parametrize(
    ("ranking", "relevant", "expected"),
    [
        ([1, 2, 3], {1: 1.0}, 1.0),
        ([2, 1, 3], {1: 1.0}, 1 / math.log2(3)),
        ([2, 3], {1: 1.0}, 0.0),
        ([1, 2], {2: 2.0, 1: 1.0}, (1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3))),
        ([*range(10), 77], {77: 1.0}, 0.0),
        ([5], {5: 1.0, 6: 1.0}, 1 / (1 + 1 / math.log2(3))),
    ],
)
def test_ndcg(ranking: list[int], relevant: dict[int, float], expected: float):
    assert ndcg(ranking, relevant) == pytest.approx(expected)


def test_recall():
    assert recall([1, 2, 3], {1: 1.0, 9: 1.0}) == 0.5
    assert recall([*range(10), 77], {77: 1.0}) == 0.0


def test_pairs_become_a_corpus_and_questions():
    judged = judged_pairs("dev", PAIRS)
    assert list(judged.documents) == [PAIRS[0].positive, "Lunch is at noon.", PAIRS[1].positive]
    assert [(question.text, question.instruction, dict(question.relevant)) for question in judged.questions] == [
        ("how are keys rotated?", None, {0: 1.0, 2: 1.0}),
        ("when do we eat", "Find times", {1: 1.0}),
    ]
    with pytest.raises(TrainingDataError, match="dev_share"):
        judged_pairs("dev", [])


def test_a_folder(tmp_path: Path):
    corpus = [{"_id": "a", "title": "Keys", "text": "Rotated."}, {"_id": "b", "text": "Lunch."}]
    (tmp_path / "corpus.jsonl").write_text("\n".join(map(json.dumps, corpus)))
    (tmp_path / "queries.jsonl").write_text('{"_id": "1", "text": "keys?"}\n{"_id": "2", "text": "none"}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\n1\ta\t2\n2\tb\t0\n1\tgone\t1\n")
    judged = judged_folder(tmp_path)
    assert list(judged.documents) == ["Keys Rotated.", "Lunch."]
    assert [(question.text, dict(question.relevant)) for question in judged.questions] == [("keys?", {0: 2.0})]
    (tmp_path / "queries.jsonl").write_text('{"_id": "1"}\n')
    with pytest.raises(TrainingDataError, match=r"qrels\.tsv"):
        judged_folder(tmp_path)
    with pytest.raises(TrainingDataError, match="BEIR"):
        judged_folder(tmp_path / "none")


def test_rankings_stay_with_their_questions():
    embedder, judged = (
        Embedder.load("nano"),
        judged_pairs("dev", [*PAIRS, Pair("who replaces keys", PAIRS[1].positive, instruction="Find people")]),
    )
    rankings = embedder_rankings(embedder, judged, 3)
    documents = embedder.embed_documents(list(judged.documents))
    for question, ranking in zip(judged.questions, rankings, strict=True):
        scores = embedder.embed_queries([question.text], question.instruction)[0] @ documents.T
        assert ranking == np.argsort(-scores).tolist()
    found = judge_embedder(embedder, judged)
    assert found == figures(judged, rankings)
    assert 0.5 < found.ndcg <= 1
    assert found.questions == 3


class ByLength:
    """Prefers long documents."""

    model = "by length"

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None, deadline: float | None = None) -> np.ndarray:
        return np.array([len(document) for document in documents], dtype=np.float32)


def test_reranked_candidates():
    judged = judged_pairs("dev", PAIRS)
    found = judge_reranker(ByLength(), judged, [[1, 2, 0], [0, 1]])
    assert found.ndcg == pytest.approx((1 + 1 / math.log2(3)) / 2)
    assert found.recall == 1.0
