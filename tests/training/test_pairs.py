from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag.errors import ConfigurationError, TrainingDataError
from qwen3_rag.training.leakage import LeakageCheck, Part
from qwen3_rag.training.pairs import Pair, Task, deduplicated, fingerprint, held_back, read_pairs, teacher_scores, write_pairs

PAIRS = [
    Pair("how are keys rotated?", "Keys are rotated every 90 days.", ("Lunch is at noon.",), "Find the rule", language="en", source="a.md"),
    Pair("wann ist Pause?", "Lunch is at noon.", task=Task.BITEXT, extra={"score": 0.5}),
]


def test_what_is_written_is_read(tmp_path: Path):
    path = tmp_path / "new" / "pairs.jsonl"
    assert write_pairs(path, PAIRS) == 2
    assert list(read_pairs(path, path)) == PAIRS + PAIRS
    assert [item.name for item in path.parent.iterdir()] == ["pairs.jsonl"]


texts = st.text(min_size=1).filter(lambda text: text.strip() and text.isprintable())


@given(st.builds(Pair, texts, texts, st.lists(texts).map(tuple), st.none() | texts, st.sampled_from(Task)))
def test_any_pair_survives_its_line(pair: Pair):
    assert json.loads(pair.to_line())["query"] == pair.query
    assert "\n" not in pair.to_line()


def test_a_failed_write_leaves_what_was_there(tmp_path: Path):
    path = tmp_path / "pairs.jsonl"
    write_pairs(path, PAIRS)

    def failing():
        yield PAIRS[0]
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pairs(path, failing())
    assert list(read_pairs(path)) == PAIRS


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        ("{", "not JSON"),
        ("[]", "not list"),
        ('{"query": "a"}', "'positive' is missing"),
        ('{"query": " ", "positive": "b"}', "'query' is missing or empty"),
        ('{"query": "a", "positive": "b", "negatives": "c"}', "list of texts"),
        ('{"query": "a", "positive": "b", "negatives": [""]}', "list of texts"),
        ('{"query": "a", "positive": "b", "task": "cooking"}', "Known: retrieval, bitext"),
        ('{"query": "a", "positive": "b", "instruction": 5}', "'instruction' is a text"),
        (r'{"query": "a \ud83d", "positive": "b"}', r"\\ud83d is half of a character"),
        (r'{"query": "a", "positive": "b", "note": ["\uDE00"]}', r"\\ude00 is half of a character"),
    ],
)
def test_faults_name_file_and_line(tmp_path: Path, line: str, fault: str):
    path = tmp_path / "pairs.jsonl"
    path.write_text(f"{PAIRS[0].to_line()}\n\n{line}\n{PAIRS[1].to_line()}\n", encoding="utf-8")
    pairs = read_pairs(path)
    assert next(pairs) == PAIRS[0]
    with pytest.raises(TrainingDataError, match=fault) as caught:
        next(pairs)
    assert "pairs.jsonl, line 3" in str(caught.value)


def test_whole_characters_may_be_escaped(tmp_path: Path):
    (tmp_path / "pairs.jsonl").write_text(r'{"query": "a \ud83d\ude00", "positive": "b \\ud83d"}', encoding="utf-8")
    assert list(read_pairs(tmp_path / "pairs.jsonl")) == [Pair("a 😀", r"b \ud83d")]


@pytest.mark.parametrize("place", ["folder", "pairs.jsonl/x.jsonl"])
def test_where_pairs_cannot_be_written(tmp_path: Path, place: str):
    (tmp_path / "folder").mkdir()
    (tmp_path / "pairs.jsonl").touch()
    with pytest.raises(ConfigurationError, match=r"cannot be written: .*Name another file"):
        write_pairs(tmp_path / place, PAIRS)


def test_files_that_cannot_be_read(tmp_path: Path):
    with pytest.raises(TrainingDataError, match="No such file"):
        list(read_pairs(tmp_path / "none.jsonl"))
    (tmp_path / "latin.jsonl").write_bytes(b'{"query": "\xe4"}')
    with pytest.raises(TrainingDataError, match="not UTF-8"):
        list(read_pairs(tmp_path / "latin.jsonl"))


def test_a_split_goes_by_document_and_is_stable():
    pairs = [Pair(f"question {number}", f"document {number % 500}") for number in range(1000)]
    kept = held_back(0.2, seed=7)
    dev = [pair for pair in pairs if kept(pair)]
    assert 140 < len(dev) < 260
    assert {pair.document for pair in dev}.isdisjoint(pair.document for pair in pairs if not kept(pair))
    assert dev == [pair for pair in pairs if held_back(0.2, seed=7)(pair)]
    assert dev != [pair for pair in pairs if held_back(0.2, seed=8)(pair)]
    assert not any(map(held_back(0.0), pairs))
    assert all(map(held_back(1.0), pairs))


def test_duplicates_and_negatives_that_are_the_positive_go():
    pairs = [Pair("A  question", "An answer", ("an ANSWER", "other", "other")), Pair("a question", "An  answer"), Pair("a question", "b")]
    assert list(deduplicated(pairs)) == [Pair("A  question", "An answer", ("other",)), pairs[2]]
    assert fingerprint("a  B") == fingerprint("A b") != fingerprint("ab")


@pytest.mark.parametrize(
    ("negatives", "scores", "kept"),
    [
        (("a", "b", "a"), [3, 1, 0, 1], (3.0, 1.0, 0.0)),
        (("a", "P", "b"), [3, 1, 9, 0], (3.0, 1.0, 0.0)),
        (("a", "A"), [3, 1, 2], (3.0, 1.0, 2.0)),
    ],
)
def test_scores_go_with_their_negatives(negatives: tuple[str, ...], scores: list[float], kept: tuple[float, ...]):
    [pair] = deduplicated([Pair("q", "p", negatives, extra={"scores": scores, "id": 1})])
    assert (teacher_scores(pair), pair.extra["id"]) == (kept, 1)


@pytest.mark.parametrize("scores", [[1], [3, 1, float("nan")], "3, 1, 0", [3, 1, None]])
def test_scores_are_a_number_each(scores: object):
    with pytest.raises(TrainingDataError, match=r"query 'q' is not a list of 3 numbers"):
        teacher_scores(Pair("q", "p", ("a", "b"), extra={"scores": scores}))
    assert teacher_scores(Pair("q", "p", ("a", "b"))) is None


LONG = "the quick brown fox jumps over the lazy dog while the sun sets behind the old stone bridge near the river"


def test_leaks_exact_near_and_none():
    check = LeakageCheck(["how are keys rotated in our system?"], [LONG])
    pairs = [
        Pair("How are keys rotated in our System?", "something else"),
        Pair("how are keys rotated in our old system?", "nothing"),
        Pair("unrelated", LONG.replace("river", "lake"), ("far away",)),
        Pair("unrelated", "fine", (LONG.upper(),)),
        Pair("unrelated", LONG[:40]),
    ]
    found = [(leak.pair, leak.part, leak.likeness == 1.0) for leak in check.leaks(pairs)]
    assert found == [(pairs[0], Part.QUERY, True), (pairs[2], Part.POSITIVE, False), (pairs[3], Part.NEGATIVE, True)]
    assert list(check.clean(pairs)) == [pairs[1], pairs[4]]


def test_likeness_is_the_jaccard_index():
    check = LeakageCheck(documents=["a b c d e f"], near=0.1)
    [leak] = check.leaks([Pair("q", "b c d e f g")])
    assert leak.likeness == pytest.approx(3 / 5)


@pytest.mark.slow
def test_the_pairs_at_hand_do_not_leak_into_the_evaluation_sets(shared_data: Path):
    documents, queries = [], []
    for name in ("xquad-en", "msmarco-mini"):
        for file, texts in (("corpus.jsonl", documents), ("queries.jsonl", queries)):
            lines = (shared_data / name / file).read_text(encoding="utf-8").splitlines()
            texts += [json.loads(line)["text"] for line in lines]
    check = LeakageCheck(queries, documents)
    leaks = {path.name: len(list(check.leaks(read_pairs(path)))) for path in sorted((shared_data / "pairs").glob("*.jsonl"))}
    assert len(leaks) >= 4
    assert not any(leaks.values()), leaks
