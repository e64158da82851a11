from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag import KnowledgeBase
from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.base import ResultArray
from qwen3_rag.training.mining import mine
from qwen3_rag.training.pairs import Pair, fingerprint
from qwen3_rag.training.searching import ExactSearcher, Found, KnowledgeBaseSearcher, similarities
from qwen3_rag.training.settings import MiningSettings, Sampling
from qwen3_rag.types import Mode, Passage
from tests.fakes import HashEmbedder, OverlapReranker

MADE = [f"{' '.join(['key'] * (10 - number))} {' '.join([f'w{number}'] * (1 + number))}" for number in range(10)]
SCORES = similarities(HashEmbedder(), ["key"] * 10, MADE, None)
TEXTS = [MADE[place] for place in np.argsort(-SCORES)]
"""The nearest to "key" first."""
EVERYTHING = MiningSettings(first_rank=1, last_rank=10, relative=None, negatives=10, sampling=Sampling.HARDEST)


@pytest.fixture(scope="module")
def searcher() -> ExactSearcher:
    return ExactSearcher(HashEmbedder(), TEXTS)


def negatives(searcher: ExactSearcher, settings: MiningSettings, *pairs: Pair) -> list[Sequence[str]]:
    return [pair.negatives for pair in mine(lambda: pairs, searcher, settings)]


def test_exact_search_finds_the_nearest_first(searcher: ExactSearcher):
    [found] = searcher.search(["key"], None, 4)
    cosines = similarities(searcher.embedder, ["key"] * 4, TEXTS[:4], None)
    assert [text for text, _ in found] == TEXTS[:4]
    assert [score for _, score in found] == pytest.approx(list(cosines))
    assert [len(row) for row in searcher.search(["key", "w1"], None, 99)] == [10, 10]
    assert ExactSearcher(HashEmbedder(), []).search(["key"], None, 5) == [[]]


def test_everything_but_the_positive_hardest_first(searcher: ExactSearcher):
    assert negatives(searcher, EVERYTHING, Pair("key", TEXTS[0])) == [tuple(TEXTS[1:])]


def test_the_window_counts_ranks_of_the_search(searcher: ExactSearcher):
    settings = replace(EVERYTHING, first_rank=3, last_rank=6)
    assert negatives(searcher, settings, Pair("key", TEXTS[0])) == [tuple(TEXTS[2:6])]
    assert negatives(searcher, settings, Pair("key", TEXTS[3])) == [(TEXTS[2], *TEXTS[4:6])]


def test_margins_keep_out_what_may_be_an_answer(searcher: ExactSearcher):
    scores = similarities(searcher.embedder, ["key"] * 10, TEXTS, None)
    relative = replace(EVERYTHING, relative=0.9)
    assert negatives(searcher, relative, Pair("key", TEXTS[2])) == [
        tuple(text for text, score in zip(TEXTS, scores, strict=True) if score <= 0.9 * scores[2])
    ]
    absolute = replace(EVERYTHING, absolute=0.2)
    assert negatives(searcher, absolute, Pair("key", TEXTS[2])) == [
        tuple(text for text, score in zip(TEXTS, scores, strict=True) if score <= scores[2] - 0.2)
    ]
    both = replace(EVERYTHING, relative=0.99, absolute=0.2)
    assert negatives(searcher, both, Pair("key", TEXTS[2])) == negatives(searcher, absolute, Pair("key", TEXTS[2]))


@given(st.floats(-1, 1), st.floats(0.01, 1), st.none() | st.floats(0, 1))
def test_a_limit_is_never_above_the_positive(positive: float, relative: float, absolute: float | None):
    assert MiningSettings(relative=relative, absolute=absolute).limit(positive) <= positive + 1e-12


def test_other_positives_of_a_query_are_no_negatives(searcher: ExactSearcher):
    pairs = [Pair("key", TEXTS[0]), Pair("other", TEXTS[5]), Pair(" KEY", TEXTS[1].upper())]
    first, _, last = negatives(searcher, EVERYTHING, *pairs)
    assert first == last == tuple(TEXTS[2:])


def test_duplicates_are_no_negatives_and_come_once():
    texts = ["a key", "A  KEY", "a key w", "a  key W", "b"]
    searcher = ExactSearcher(HashEmbedder(), texts)
    [found] = negatives(searcher, EVERYTHING, Pair("a key", "a key"))
    assert [fingerprint(text) for text in found] == [fingerprint("a key w"), fingerprint("b")]


def test_negatives_that_are_there_stay_first_and_count(searcher: ExactSearcher):
    pair = Pair("key", TEXTS[0], ("given", TEXTS[1]))
    assert negatives(searcher, replace(EVERYTHING, negatives=4), pair) == [("given", TEXTS[1], TEXTS[2], TEXTS[3])]
    assert negatives(searcher, replace(EVERYTHING, negatives=1), pair) == [("given", TEXTS[1])]


def test_a_teachers_scores_go_where_negatives_come(searcher: ExactSearcher):
    pair = Pair("key", TEXTS[0], ("given",), extra={"scores": [2, 1], "id": 7})
    [more] = mine(lambda: [pair], searcher, replace(EVERYTHING, negatives=2))
    assert (len(more.negatives), more.extra) == (2, {"id": 7})
    assert list(mine(lambda: [pair], searcher, replace(EVERYTHING, negatives=1))) == [pair]


def test_random_sampling_follows_the_seed_and_not_the_order_of_pairs(searcher: ExactSearcher):
    settings = replace(EVERYTHING, sampling=Sampling.RANDOM, negatives=3)
    pairs = [Pair(f"key {number}", TEXTS[0]) for number in range(8)]
    drawn = negatives(searcher, settings, *pairs)
    assert negatives(searcher, settings, *pairs) == drawn
    assert negatives(searcher, settings, *reversed(pairs)) == drawn[::-1]
    assert negatives(searcher, replace(settings, seed=1), *pairs) != drawn
    assert all(len(set(texts)) == 3 for texts in drawn)
    assert len({frozenset(texts) for texts in drawn}) > 1


def test_a_reranker_judges_instead_of_the_cosine(searcher: ExactSearcher):
    class Liking(OverlapReranker):
        def score(self, query: str, documents: Sequence[str], instruction: str | None = None) -> ResultArray:
            order = [TEXTS.index(text) for text in documents]
            return ResultArray.of(np.array(order, np.float32) / 10, [False] * len(documents))

    settings = replace(EVERYTHING, last_rank=5, relative=1.0)
    [pair] = mine(lambda: [Pair("key", TEXTS[3])], searcher, settings, Liking())
    assert pair.negatives == (TEXTS[2], TEXTS[1], TEXTS[0])


def test_each_instruction_is_searched_with(searcher: ExactSearcher):
    class Noting:
        embedder = searcher.embedder
        asked: list[tuple[int, str | None]] = []  # noqa: RUF012

        def search(self, queries: Sequence[str], instruction: str | None, depth: int) -> list[list[Found]]:
            self.asked.append((len(queries), instruction))
            return searcher.search(queries, instruction, depth)

    pairs = [Pair("key", TEXTS[0]), Pair("w1", TEXTS[1]), Pair("w2", TEXTS[2], instruction="Find"), Pair("w3", TEXTS[3])]
    assert [pair.query for pair in mine(lambda: pairs, Noting(), EVERYTHING)] == [pair.query for pair in pairs]
    assert Noting.asked == [(2, None), (1, "Find"), (1, None)]


@pytest.mark.parametrize("mode", [Mode.HYBRID, Mode.DENSE])
def test_the_projects_own_retriever_gives_candidates(tmp_path: Path, mode: Mode):
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder()) as kb:
        passages = kb.passages()
        passages.put([Passage(str(number), text, title=f"t{number}", language="en") for number, text in enumerate(TEXTS)])
        searcher = KnowledgeBaseSearcher(passages, mode)
        [found] = searcher.search(["key"], None, 10)
        cosines = similarities(searcher.embedder, ["key"] * len(found), [text for text, _ in found], None)
        assert [score for _, score in found] == pytest.approx(list(cosines), abs=1e-3)
        positive = f"t0\n{TEXTS[0]}"
        [pair] = mine(lambda: [Pair("key", positive)], searcher, EVERYTHING)
        assert len(pair.negatives) == 9
        assert positive not in pair.negatives
        assert all(text.split("\n")[1] in TEXTS for text in pair.negatives)


def test_nonsense_is_refused(searcher: ExactSearcher):
    with pytest.raises(ConfigurationError, match="1 ≤ first_rank ≤ last_rank"):
        list(mine(list, searcher, MiningSettings(first_rank=9, last_rank=8)))
    with pytest.raises(ConfigurationError, match="no cosines"):
        KnowledgeBaseSearcher(None, Mode.LEXICAL)  # type: ignore[arg-type]
