from __future__ import annotations

import json
from pathlib import Path

import pytest

from qwen3_rag.errors import TrainingDataError, TrainingError
from qwen3_rag.training.synthesis.journal import Completion, Journal, key_of

ANSWERS = {
    "a": Completion('{"query": "né\u2028x"}', "stop", 10, 2),
    "b": Completion("", "length", 5, 0),
    "c": Completion("三\r\n", "stop", 1, 1),
}


def written(path: Path) -> bytes:
    with Journal(path) as journal:
        for key, completion in ANSWERS.items():
            journal.put(key, completion)
    return path.read_bytes()


def test_what_was_put_is_there_again(tmp_path: Path):
    path = tmp_path / "new" / "j.jsonl"
    written(path)
    with Journal(path) as journal:
        assert len(journal) == 3
        assert {key: journal.get(key) for key in ANSWERS} == ANSWERS
        assert journal.get("d") is None


def test_an_answer_is_on_disk_before_put_returns(tmp_path: Path):
    with Journal(tmp_path / "j.jsonl") as journal:
        journal.put("a", ANSWERS["a"])
        assert (tmp_path / "j.jsonl").read_bytes().endswith(b"\n")


def test_torn_at_any_byte_it_loses_the_last_answer_only(tmp_path: Path):
    path = tmp_path / "j.jsonl"
    content = written(path)
    kept = content[: content.rindex(b"\n", 0, -1) + 1]
    for length in range(len(kept), len(content)):
        path.write_bytes(content[:length])
        with Journal(path) as journal:
            assert len(journal) == 2
            journal.put("c", ANSWERS["c"])
        assert path.read_bytes() == content


def test_garbage_after_a_power_cut_is_cut_off(tmp_path: Path):
    path = tmp_path / "j.jsonl"
    content = written(path)
    path.write_bytes(content + b"\0" * 40 + b"\n")
    with Journal(path) as journal:
        assert len(journal) == 3
    assert path.read_bytes() == content


def test_what_a_server_answered_oddly_is_read_as_what_can_be_used(tmp_path: Path):
    path = tmp_path / "j.jsonl"
    odd = [
        {"key": "a", "text": [{"type": "text"}], "finish": "stop", "prompt_tokens": 5, "completion_tokens": None},
        {"key": "b", "text": "cut \ud83d", "finish": "length", "prompt_tokens": 1, "completion_tokens": 2},
    ]
    path.write_bytes("".join(json.dumps(line) + "\n" for line in odd).encode())
    with Journal(path) as journal:
        assert journal.get("a") == Completion("", "stop", 5, 0)
        assert journal.get("b") == Completion("cut ?", "length", 1, 2)


def test_a_damaged_line_in_between_is_named(tmp_path: Path):
    path = tmp_path / "j.jsonl"
    path.write_bytes(b'{"key": 5\n' + written(path))
    with pytest.raises(TrainingDataError, match="line 1: this is no answer"):
        Journal(path)
    path.write_bytes(path.read_bytes().split(b"\n", 1)[1])
    with Journal(path) as journal:  # and the failed one has let go of it
        assert len(journal) == 3


def test_two_at_a_time_would_pay_twice(tmp_path: Path):
    with Journal(tmp_path / "j.jsonl"), pytest.raises(TrainingError, match="Another process writes into"):
        Journal(tmp_path / "j.jsonl")
    Journal(tmp_path / "j.jsonl").close()


def test_keys_tell_questions_apart():
    assert key_of(messages=[{"a": "b"}], seed=1) == key_of(seed=1, messages=[{"a": "b"}])
    assert key_of(messages=[{"a": "b"}], seed=1) != key_of(messages=[{"a": "b"}], seed=2)
