from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwen3_rag.errors import ConfigurationError, TrainingDataError
from qwen3_rag.models.prompts import EmbeddingTemplate, RerankTemplate
from qwen3_rag.models.tokenization import TextTokenizer
from qwen3_rag.training.batches import Batches, document_number, embedder_batch, left_out, plan, reranker_batch
from qwen3_rag.training.pairs import Pair, Task, teacher_scores

PAIRS = [Pair(f"question {number}", f"document {number}", tuple(f"wrong {number}.{k}" for k in range(4))) for number in range(23)]


def test_a_run_draws_each_pair_once_an_epoch_but_for_the_last_few():
    batches = plan(PAIRS, 5, epochs=3, seed=1)
    assert [len(batch) for batch in batches] == [5] * (3 * 23 // 5)
    drawn = Counter(draw for batch in batches for draw in batch)
    assert set(drawn.values()) == {1}
    assert {epoch: sum(draw.epoch == epoch for draw in drawn) for epoch in range(3)} == {0: 23, 1: 23, 2: 19}
    assert batches == plan(PAIRS, 5, epochs=3, seed=1)
    assert batches != plan(PAIRS, 5, epochs=3, seed=2)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12), st.sampled_from("ab")), min_size=1, max_size=40),
    st.integers(1, 6),
    st.booleans(),
    st.booleans(),
)
def test_nothing_stands_twice_in_a_batch(rows: list[tuple[int, int, str]], size: int, by_source: bool, two: bool):
    pairs = [Pair(f"q{query}", f"d{document}", source=source) for query, document, source in rows]
    try:
        batches = plan(pairs, size, 2, by_source=by_source, sources_per_batch=2 if two and by_source and size % 2 == 0 else 1)
    except TrainingDataError:
        return
    assert all(len(batch) == size for batch in batches)
    for batch in batches:
        assert len({pairs[draw.place].query for draw in batch}) == len({pairs[draw.place].document for draw in batch}) == size
    drawn = [draw for batch in batches for draw in batch]
    assert len(set(drawn)) == len(drawn)


def test_by_source():
    pairs = [Pair(f"q{i}", f"d{i}", source="a" if i % 3 else "b", task=Task.SIMILARITY if i % 2 else Task.RETRIEVAL) for i in range(60)]
    batches = plan(pairs, 5, 1, by_source=True)
    assert len(batches) == 12
    assert all(len({(pairs[draw.place].source, pairs[draw.place].task) for draw in batch}) == 1 for batch in batches)
    first = [(pairs[batch[0].place].source, pairs[batch[0].place].task) for batch in batches]
    assert first != sorted(first)


def test_several_sources_share_a_batch():
    pairs = [Pair(f"q{i}", f"d{i}", source=str(i % 6)) for i in range(120)]
    batches = plan(pairs, 8, 2, by_source=True, sources_per_batch=4)
    assert len(batches) == 30
    for batch in batches:
        shares = [{pairs[draw.place].source for draw in batch[first : first + 2]} for first in range(0, 8, 2)]
        assert all(len(share) == 1 for share in shares)
    assert len({frozenset(pairs[draw.place].source for draw in batch) for batch in batches}) > 6
    assert len({draw for batch in batches for draw in batch}) == 240
    for by_source, parts in ((True, 3), (False, 2)):
        with pytest.raises(ConfigurationError, match="sources_per_batch"):
            plan(pairs, 8, 2, by_source=by_source, sources_per_batch=parts)


@pytest.mark.parametrize("sources", [4, 7])
def test_as_many_sources_as_are_asked_for_share_each_batch(sources: int):
    pairs = [Pair(f"q{i}", f"d{i}", source=str(i % sources)) for i in range(sources * 80)]
    batches = plan(pairs, 8, 2, by_source=True, sources_per_batch=4)
    assert len(batches) == sources * 80 * 2 / 8
    found = [Counter(pairs[draw.place].source for draw in batch) for batch in batches]
    assert sum(set(counts.values()) == {2} for counts in found) >= len(batches) - (0 if sources == 4 else 4)
    assert batches == plan(pairs, 8, 2, by_source=True, sources_per_batch=4)


def test_tasks_without_a_source_share_batches_too():
    pairs = [Pair(f"q{i}", f"d{i}", task=list(Task)[i % 2]) for i in range(80)]
    batches = plan(pairs, 8, 1, by_source=True, sources_per_batch=2)
    assert all(Counter(pairs[draw.place].task for draw in batch) == {Task.RETRIEVAL: 4, Task.BITEXT: 4} for batch in batches)


def test_what_a_large_source_has_too_much_is_spread_over_the_epoch():
    pairs = [Pair(f"q{i}", f"d{i}", source="small" if i % 5 == 0 else "large") for i in range(1000)]
    batches = plan(pairs, 10, 2, by_source=True, sources_per_batch=2)
    shared = [len({pairs[draw.place].source for draw in batch}) == 2 for batch in batches]
    assert (len(batches), sum(shared)) == (200, 80)
    assert [len({draw.epoch for draw in batch}) for batch in batches] == [1] * 200
    assert all(10 <= sum(shared[first : first + 50]) <= 30 for first in range(0, 200, 50))


@pytest.mark.parametrize("by_source", [False, True])
def test_draws_that_are_left_out_are_counted(by_source: bool):
    pairs = [Pair(f"q{i}", f"d{i}") for i in range(100)]
    pairs += [Pair(f"m{i}", f"label {i % 5}", task=Task.CLASSIFICATION, source="mail") for i in range(100)]
    batches = plan(pairs, 20, 1, by_source=by_source)
    left = left_out(pairs, batches, 1)
    assert left.total() + sum(map(len, batches)) == 200
    assert left["classification of mail"] == (100 if by_source else 100 - 5 * len(batches))
    assert left_out(PAIRS, plan(PAIRS, 5, 3), 3) == {"retrieval": 4}
    assert left_out(PAIRS, plan(PAIRS, 23, 3), 3) == {}


def test_too_few_pairs():
    with pytest.raises(TrainingDataError, match="batch_size"):
        plan([Pair("a", "b"), Pair("c", "b")], 2, 5)


def test_processes_see_together_what_one_sees():
    batches = plan(PAIRS, 6, 2)
    one, two = Batches(PAIRS, batches, 2, 0), Batches(PAIRS, batches, 2, 0, processes=2)
    assert len(two) == 2 * len(one)
    for step in range(len(one)):
        assert one[step] == two[2 * step] + two[2 * step + 1]
    with pytest.raises(TrainingDataError, match="4 processes"):
        Batches(PAIRS, batches, 2, 0, processes=4)


def test_negatives_are_drawn_anew_in_each_epoch_and_with_their_scores():
    pair = Pair("q", "d", ("w0", "w1", "w2", "w3", "w4"), extra={"scores": [9, 0, 1, 2, 3, 4]})
    data = Batches([pair], plan([pair], 1, 8), 2, seed=3, scores=[teacher_scores(pair)])
    drawn = [data[step][0] for step in range(8)]
    assert drawn == [data[step][0] for step in range(8)]
    assert len({example.negatives for example in drawn}) > 1
    for example in drawn:
        assert example.scores == (9.0, *(float(text[1:]) for text in example.negatives))
    assert Batches([pair], plan([pair], 1, 1), 2, 0)[0][0].scores is None


def test_what_an_embedder_reads(tiny: Path):
    template = EmbeddingTemplate(TextTokenizer.load(tiny), 64)
    pairs = [Pair("keys", "rotated", ("night",), "Find rules"), Pair("shift", "ninety days")]
    examples = [Batches(pairs, plan(pairs, 2, 1), 3, 0)[0][place] for place in range(2)]
    examples.sort(key=lambda example: example.pair.query)
    batch = embedder_batch(examples, template)
    assert batch.items[0] == template.queries(["keys"], "Find rules")[0].item
    assert batch.items[1] == template.queries(["shift"])[0].item
    assert [item.ids for item in batch.items[2:]] == [prompt.ids for prompt in template.documents(["rotated", "ninety days", "night"])]
    assert batch.documents == [document_number("rotated"), document_number("Ninety  days")]
    assert batch.negative_documents == [[document_number("night")], []]


def test_what_a_reranker_reads(tiny: Path):
    template = RerankTemplate(TextTokenizer.load(tiny), 500)
    pairs = [Pair("keys", "rotated", ("night", "shift"))]
    [example] = Batches(pairs, plan(pairs, 1, 1), 2, 0)[0]
    batch = reranker_batch([example], template)
    assert batch.counts == [3]
    assert batch.relevant == [True, False, False]
    assert batch.scores == [None]
    assert [item.ids for item in batch.items] == [prompt.ids for prompt in template.prompts("keys", ["rotated", *example.negatives])]
    assert len({item.beginning for item in batch.items}) == 1
