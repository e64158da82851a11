from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from qwen3_rag.training.nano import teaching
from qwen3_rag.training.nano.teaching import joined, kept_vectors, less_mean, texts_of, turned, write_teacher
from qwen3_rag.training.pairs import Pair
from qwen3_rag.training.teachers import StoredTeacher

TEXTS = [f"text {number} of several" for number in range(10)]


class Embed:
    def __init__(self) -> None:
        self.asked: list[str] = []

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        self.asked += texts
        return np.array([[int(text.split()[1]), 1.0] for text in texts], dtype=np.float32)


def quiet(_: str) -> None:
    pass


def test_texts_are_embedded_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(teaching, "BLOCK", 4)
    first, second = Embed(), Embed()
    kept_vectors(TEXTS[:6], first, tmp_path, quiet)
    vectors = kept_vectors(TEXTS, second, tmp_path, quiet)
    assert sorted(first.asked) == TEXTS[:6]
    assert sorted(second.asked) == TEXTS[6:]
    assert vectors.tolist() == [[number, 1] for number in range(10)]


def test_what_was_embedded_before_a_crash_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(teaching, "BLOCK", 4)
    embed = Embed()

    def failing(texts: Sequence[str]) -> np.ndarray:
        if len(embed.asked) == 4:
            raise KeyboardInterrupt
        return embed(texts)

    with pytest.raises(KeyboardInterrupt):
        kept_vectors(TEXTS, failing, tmp_path, quiet)
    kept_vectors(TEXTS, embed, tmp_path, quiet)
    assert sorted(embed.asked) == TEXTS


def test_a_rotated_teacher_is_turned_back():
    generator = np.random.default_rng(3)
    student = generator.normal(size=(400, 5)).astype(np.float32)
    student -= student.mean(0)
    rotation = np.linalg.qr(generator.normal(size=(8, 8)))[0][:5]
    teacher = student @ rotation.astype(np.float32)
    found = turned(teacher / np.linalg.norm(teacher, axis=1, keepdims=True), student, range(400), 7)
    expected = student / np.linalg.norm(student, axis=1, keepdims=True)
    assert found.shape == (400, 7)
    assert not found[:, 5:].any()
    assert np.sum(found[:, :5] * expected, axis=1).min() > 0.97  # the unit vectors' mean is not quite zero


def test_meaning_and_words_are_joined_so_that_both_are_similar():
    generator = np.random.default_rng(3)
    rows = [generator.normal(size=(6, width)).astype(np.float32) for width in (5, 9)]
    meaning, words = (part / np.linalg.norm(part, axis=1, keepdims=True) for part in rows)
    found = joined(meaning, words, 0.25, 20)
    assert found.shape == (6, 20)
    np.testing.assert_allclose(found @ found.T, (meaning @ meaning.T + 0.25 * words @ words.T) / 1.25, atol=1e-6)
    words[0] = 0
    np.testing.assert_allclose(joined(meaning, words, 0.25, 14)[0, :5], meaning[0], atol=1e-6)
    assert abs(less_mean(meaning + 3).mean()) < abs((meaning + 3).mean()) / 10


def test_training_reads_what_is_written(tmp_path: Path):
    lines, rows = tmp_path / "texts.jsonl", tmp_path / "vectors.npy"
    write_teacher(['one "text"', "two\nlines"], np.array([[1, 0.5], [0, 2]], np.float32), lines, rows)
    assert StoredTeacher(lines, rows).vectors_of(["two\nlines", 'ONE "text"']).tolist() == [[0, 2], [1, 0.5]]
    assert [json.loads(line) for line in lines.read_text().splitlines()] == ['one "text"', "two\nlines"]


def test_texts_of_pairs_are_each_there_once():
    pairs = [Pair("a question", "An answer"), Pair("A  question", "another answer"), Pair("an answer", "a question")]
    assert sorted(" ".join(text.casefold().split()) for text in texts_of(pairs)) == ["a question", "an answer", "another answer"]
