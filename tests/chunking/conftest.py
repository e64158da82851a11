"""Tokenizers to chunk with: two trained here in a moment, and Qwen3's own where it is present."""

from __future__ import annotations

from pathlib import Path

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

QWEN = Path(__file__).parents[3] / "shared/qwen3-tokenizer/tokenizer.json"
SENTENCES = ["Keys are rotated every ninety days by the engineer on duty.", "def rotate(keys): return [new(key) for key in keys]"] * 5


def byte_level() -> Tokenizer:
    """Byte-level BPE, as Qwen3's: every text has tokens, at most one a byte."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=400, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


def word_piece() -> Tokenizer:
    """Lower-cased words and their pieces, as BERT's: a long word is one unknown token, white space none."""
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=300, special_tokens=["[UNK]"], show_progress=False)
    tokenizer.train_from_iterator(SENTENCES, trainer)
    return tokenizer


@pytest.fixture(scope="session", params=["byte-level", "word-piece", "qwen3"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    if request.param == "qwen3":
        if not QWEN.exists():
            pytest.skip("Qwen3's tokenizer is not in ../shared/qwen3-tokenizer")
        return Tokenizer.from_file(str(QWEN))
    return byte_level() if request.param == "byte-level" else word_piece()


@pytest.fixture(scope="session", name="bpe")
def byte_level_fixture() -> Tokenizer:
    return byte_level()
