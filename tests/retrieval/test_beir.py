from __future__ import annotations

import math
from pathlib import Path

import pytest

from benchmarks.beir import load, mean_ndcg, ndcg


def test_ndcg() -> None:
    assert ndcg(["a", "b"], {"a": 1.0}) == 1.0
    assert ndcg(["b", "a"], {"a": 1.0}) == pytest.approx(1 / math.log2(3))
    assert ndcg(["a", "a", "b"], {"a": 1.0, "b": 1.0}) == 1.0
    assert ndcg(["b", "a"], {"a": 2.0, "b": 1.0}) == pytest.approx((1 + 2 / math.log2(3)) / (2 + 1 / math.log2(3)))
    assert ndcg([str(i) for i in range(10)] + ["a"], {"a": 1.0}) == 0.0
    assert ndcg([], {"a": 1.0}) == 0.0


def test_a_folder_is_read(tmp_path: Path) -> None:
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "title": "T", "text": "x"}\n{"_id": "d2", "title": "", "text": "y"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q1", "text": "?"}\n{"_id": "q2", "text": "no answer"}\n')
    (tmp_path / "qrels.tsv").write_text("query-id\tcorpus-id\tscore\nq1\td2\t1\nq2\td1\t0\n")
    collection = load(tmp_path)
    assert [passage.whole for passage in collection.documents] == ["T x", "y"]
    assert collection.queries == {"q1": "?"}
    assert mean_ndcg({"q1": ["d1", "d2"]}, collection) == pytest.approx(1 / math.log2(3))
    assert mean_ndcg({}, collection) == 0.0
