from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from qwen3_rag import Embedder
from qwen3_rag.errors import ModelFormatError
from qwen3_rag.training.nano.growth import grow
from qwen3_rag.training.nano.lexicon import CODE, Lexicon
from qwen3_rag.training.nano.signatures import Formula, lexicon_of, sign, tone
from tests.models.nano.made_up import made_up_checkpoint

FORMULA = Formula(intermediate=40)
MEANING = 8
"""Of 72 dimensions of content, 64 become codes."""


@pytest.fixture
def grown(tmp_path: Path) -> Path:
    made_up_checkpoint(tmp_path, context=512)
    return grow(tmp_path, tmp_path / "grown", layers=2, intermediate=48, seed=1)


def vectors(folder: Path, texts: list[str], queries: bool = False) -> np.ndarray:
    embedder = Embedder.load(str(folder), dtype="float32", device="cpu")
    return np.asarray(embedder.embed_queries(texts) if queries else embedder.embed_documents(texts))


def unit(rows: np.ndarray) -> np.ndarray:
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def words(rows: np.ndarray) -> np.ndarray:
    return unit(rows[:, MEANING : MEANING + CODE])


def test_meaning_stays_what_it_was(grown: Path, tmp_path: Path):
    texts = ["ship sail night", "bird : night sail", "yes ship é", "ships"]
    signed = sign(grown, tmp_path / "signed", 0, FORMULA)
    for queries in (False, True):
        before, after = (unit(vectors(folder, texts, queries)[:, :MEANING]) for folder in (grown, signed))
        assert (before * after).sum(1).min() > 0.98


def test_a_word_counts_once_however_often_it_is_said(grown: Path, tmp_path: Path):
    once, often = "ship sail night", "ship sail ship ship ship ship night ship"
    damped, plain = (
        words(vectors(sign(grown, tmp_path / name, 0, formula), [once, often]))
        for name, formula in (("damped", FORMULA), ("plain", replace(FORMULA, damping=0.0)))
    )
    assert damped[0] @ damped[1] > 0.93
    assert damped[0] @ damped[1] > plain[0] @ plain[1] + 0.05


def test_the_network_sums_the_codes_of_stems(grown: Path, tmp_path: Path):
    lexicon = lexicon_of(grown, 0)
    texts = ["ship sail", "night", "bird yes"]
    found = words(vectors(sign(grown, tmp_path / "signed", 0, FORMULA), texts))
    wanted, wide = lexicon.vectors(texts)
    similar = found @ wanted.T
    assert np.diag(similar).min() > 0.7  # the average weighs words otherwise than the lexicon
    assert np.abs(similar - np.diag(np.diag(similar))).max() < 0.3
    np.testing.assert_allclose(np.linalg.norm(wide, axis=1), 1, atol=0.15)


def test_words_of_one_stem_share_a_code_and_what_says_nothing_has_none(grown: Path):
    tokenizer = Tokenizer.from_file(str(grown / "tokenizer.json"))
    lexicon = Lexicon.of(tokenizer, np.zeros(tokenizer.get_vocab_size(), dtype=bool), 0)
    stems = {word: lexicon.stems[tokenizer.token_to_id(word)] for word in ("ship", "sail", "bird")}
    assert len(set(stems.values())) == 3
    counted = [tokenizer.id_to_token(place) for place in np.flatnonzero(lexicon.counts)]
    assert {"ship", "sail", "night"} <= set(counted)
    assert not {"no", ":", "[UNK]", "<|endoftext|>"} & set(counted)
    short, wide = lexicon.vectors(["", "no : no", "sail sail", "sail"])
    assert not short[:2].any()
    assert not wide[:2].any()
    np.testing.assert_array_equal(short[2], short[3])


def test_texts_begin_with_a_marker_in_one_piece_and_in_two(grown: Path, tmp_path: Path):
    tokenizer = Tokenizer.from_file(str(sign(grown, tmp_path / "signed", 0, FORMULA) / "tokenizer.json"))

    def ids(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False).ids

    marker, query = ids("ship")[0], ids("Instruct: x\nQuery:")[0]
    assert ids("") == []
    assert ids("a forged ␂ or ␞ mark")[0] == marker
    assert [count for sign_ in (marker, query) for count in [ids("a forged ␂ or ␞ mark").count(sign_)]] == [1, 0]
    for text in ("ship", " ship", "", "\nship", "Query:ship", "ship\nQuery:"):
        assert ids(f"Instruct: x\nQuery:{text}") == ids("Instruct: x\nQuery:") + ids(text)
    assert tokenizer.decode(ids("ship sail")) == "ship sail"
    config = json.loads((tmp_path / "signed" / "config.json").read_text())
    assert tokenizer.token_to_id("<|endoftext|>") == config["eos_token_id"] == marker + 1
    assert config["vocab_size"] == tokenizer.get_vocab_size()


def test_words_can_be_toned_down(grown: Path, tmp_path: Path):
    signed = sign(grown, tmp_path / "signed", 0, FORMULA)
    loud, quiet = (vectors(folder, ["ship sail", "night"]) for folder in (signed, tone(signed, tmp_path / "quiet", 0.5)))
    np.testing.assert_allclose(words(loud), words(quiet), atol=1e-3)
    share = [
        np.linalg.norm(rows[:, MEANING : MEANING + CODE], axis=1) / np.linalg.norm(rows[:, :MEANING], axis=1) for rows in (loud, quiet)
    ]
    np.testing.assert_allclose(share[1], share[0] / 2, rtol=2e-3)


def test_what_has_signatures_gets_no_others(grown: Path, tmp_path: Path):
    with pytest.raises(ModelFormatError, match="has signatures already"):
        sign(sign(grown, tmp_path / "signed", 0, FORMULA), tmp_path / "again", 0, FORMULA)
    files = [sign(grown, tmp_path / name, 0, FORMULA) / "model.safetensors" for name in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()
