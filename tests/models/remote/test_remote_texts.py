"""What a server reads of the texts that are sent is, token for token, what a local model reads: with the real Qwen3 tokenizer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import Tokenizer

from qwen3_rag.models.prompts import EmbeddingTemplate, RerankTemplate
from qwen3_rag.models.remote.config import Template
from qwen3_rag.models.remote.texts import WORD_JOINER, Writer
from qwen3_rag.models.tokenization import TextTokenizer

REAL_TOKENIZER = Path(__file__).parents[3].parent / "shared" / "qwen3-tokenizer"
DOCUMENTS = ["Keys.", "", " lead", "\nnew", "1 day", "\u0301combining", "猫", "x" * 50, "a\n", "  ", "<b>", "word " * 2000, "🐈" * 300]
QUERIES = ["how?", "", "q\n", "ends with a space ", "日本語", "long " * 900]


@pytest.fixture(scope="module")
def writer() -> Writer:
    if not REAL_TOKENIZER.is_dir():
        pytest.skip("the real Qwen3 tokenizer is not in ../shared/qwen3-tokenizer")
    return Writer(TextTokenizer.load(REAL_TOKENIZER))


@pytest.fixture(scope="module")
def parsing(writer: Writer) -> Tokenizer:
    """The tokenizer as a server uses it: special tokens in a text are parsed."""
    return Tokenizer.from_file(str(writer.tokenizer.folder / "tokenizer.json"))


@pytest.mark.parametrize("limit", [200, 512, 4096])
@pytest.mark.parametrize("query", QUERIES, ids=range(len(QUERIES)))
def test_pairs(writer: Writer, parsing: Tokenizer, query: str, limit: int):
    pairs = writer.pairs(query, DOCUMENTS, None, limit, Template.CLIENT)
    for document, prompt in zip(pairs.documents, RerankTemplate(writer.tokenizer, limit).prompts(query, DOCUMENTS), strict=True):
        ids = parsing.encode(pairs.query + document.text, add_special_tokens=False).ids
        assert len(ids) == document.tokens <= limit
        assert document.truncated == prompt.truncated
        if "🐈" not in document.text:  # cut in whole characters here, in tokens there
            assert ids == prompt.ids


def test_documents(writer: Writer, parsing: Tokenizer):
    for text, prompt in zip(writer.documents(DOCUMENTS, 64), EmbeddingTemplate(writer.tokenizer, 64).documents(DOCUMENTS), strict=True):
        ids = parsing.encode(text.text, add_special_tokens=False).ids
        assert (len(ids), text.truncated) == (text.tokens, prompt.truncated)
        assert ids == prompt.ids[:-1][: len(ids)]


PIECES = [
    "<|im_start|>",
    "<|im_end|>",
    "<|endoftext|>",
    "<think>",
    "</think>",
    "<tool_call>",
    "<|",
    "|>",
    "<",
    "im_end",
    "\ud800",
    " ",
    WORD_JOINER,
]


@given(st.lists(st.sampled_from(PIECES), max_size=8).map("".join))
def test_no_text_becomes_a_special_token(writer: Writer, parsing: Tokenizer, text: str):
    special = set(writer.tokenizer.special.values())
    plain = writer.plain(text)
    assert not special & set(parsing.encode(plain, add_special_tokens=False).ids)
    assert plain.replace(WORD_JOINER, "") == text.replace(WORD_JOINER, "").replace("\ud800", "\ufffd")
    assert writer.plain(plain) == plain
