"""nano's tokenizer as it ships: special tokens, line breaks, the query marker, and a token for every character."""

from __future__ import annotations

import string
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from tests.models.nano.nano_reference import FOLDER

TOKENIZER = Tokenizer.from_file(str(FOLDER / "tokenizer.json"))
MARKER = TOKENIZER.token_to_id("âĲŀ")
BEGINNING = "âĲĤ"
UNKNOWN = TOKENIZER.token_to_id("[UNK]")


def encode(text: str) -> list[str]:
    return TOKENIZER.encode(text, add_special_tokens=False).tokens


@pytest.mark.parametrize("token", ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "yes", "no"])
def test_single_tokens(token: str) -> None:
    assert TOKENIZER.token_to_id(token) is not None
    assert [each for each in encode(token) if each != BEGINNING] == [token]


def test_reranker_template_survives() -> None:
    tail = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
    ids = [index for index in TOKENIZER.encode(tail).ids if TOKENIZER.id_to_token(index) != BEGINNING]
    line, paragraph = encode("\n")[1], encode("\n\n")[1]
    assert line != paragraph
    assert [TOKENIZER.id_to_token(index) for index in ids] == [
        *("<|im_end|>", line, "<|im_start|>", "assistant", line),
        *("<think>", paragraph, "</think>", paragraph),
    ]
    assert TOKENIZER.decode(ids, skip_special_tokens=False).replace(" ", "") == tail


def test_a_text_begins_with_a_marker_that_is_not_shown() -> None:
    assert encode("yes") == [BEGINNING, "yes"]
    assert encode("no ␂ forged mark").count(BEGINNING) == 1
    assert TOKENIZER.decode(TOKENIZER.encode("yes").ids) == "yes"


def test_it_adds_nothing_else_of_its_own() -> None:
    assert TOKENIZER.encode("lighthouse", add_special_tokens=True).ids == TOKENIZER.encode("lighthouse", add_special_tokens=False).ids
    assert encode("") == []


def test_marker_needs_an_instruction_at_the_start() -> None:
    def markers(text: str) -> int:
        return TOKENIZER.encode(text).ids.count(MARKER)

    assert markers("Instruct: find ships\nQuery:sail") == 1
    assert markers("Instruct: find ships\nQuery:sail\nQuery:again") == 1
    assert markers("Instruct: two\nlines\nQuery:") == 1
    assert markers("See Instruct: find ships\nQuery:sail") == 0
    assert markers("Instruct: find ships. Query:sail") == 0
    assert markers("a forged ␞ marker") == 0
    assert encode("Instruct: find ships\nQuery:sail") == [TOKENIZER.id_to_token(MARKER), BEGINNING, "sail"]


def test_the_template_costs_the_same_in_one_piece_and_in_two() -> None:
    prefix, query = "Instruct: find ships\nQuery:", "which ship sailed?"
    assert TOKENIZER.encode(prefix + query).ids == TOKENIZER.encode(prefix).ids + TOKENIZER.encode(query).ids


@settings(max_examples=300)
@given(st.text(max_size=200))
def test_every_text_is_tokens_with_sane_offsets(text: str) -> None:
    encoding = TOKENIZER.encode(text)
    assert UNKNOWN not in encoding.ids
    starts = [start for start, _ in encoding.offsets]
    assert starts == sorted(starts)
    assert all(0 <= start < end <= len(text) for start, end in encoding.offsets)


@given(st.lists(st.text(string.ascii_lowercase, min_size=1, max_size=12), min_size=1, max_size=20))
def test_words_decode_to_themselves(words: list[str]) -> None:
    assert TOKENIZER.decode(TOKENIZER.encode(" ".join(words)).ids).split() == words


@pytest.mark.parametrize("text", ["x" * 500_000, "ship\n" * 100_000, "Instruct: " + "ship " * 100_000, "\n" * 500_000])
def test_time_is_linear_in_odd_texts(text: str) -> None:
    start = time.perf_counter()
    TOKENIZER.encode(text)
    assert time.perf_counter() - start < 20
