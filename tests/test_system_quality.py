"""What the README promises of the whole system, on real collections, with nano and the embedded engine."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.beir import load
from benchmarks.quality import LANGUAGES, measure, measure_together
from qwen3_rag import Embedder

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1800)]

LEAST = {
    "xquad-en": {"dense, exact": 0.918, "hybrid": 0.978, "lexical": 0.965},
    "msmarco-mini": {"dense, exact": 0.952, "hybrid": 0.975},
    "xquad-de": {"lexical": 0.94},
    "xquad-zh": {"lexical": 0.95},
}
MOST_LOST_TOGETHER = 0.015


@pytest.fixture(scope="module")
def embedder() -> Embedder:
    return Embedder.load("nano", dtype="float32")


@pytest.mark.parametrize("name", LEAST)
def test_ndcg_of_each_collection_alone(name: str, embedder: Embedder, shared_data: Path):
    figures = measure(load(shared_data / name), embedder)
    assert {key: figures[key] for key, least in LEAST[name].items() if figures[key] < least} == {}


def test_lexical_search_of_three_languages_in_one_knowledge_base(embedder: Embedder, shared_data: Path):
    together = measure_together([load(shared_data / name) for name in LANGUAGES], embedder)
    assert {name: value for name, value in together.items() if value < LEAST[name]["lexical"] - MOST_LOST_TOGETHER} == {}
