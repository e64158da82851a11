"""What ships: its files, and that every way of running it gives the same vectors."""

from __future__ import annotations

import hashlib
import json
import warnings

import numpy as np
import pytest
import torch
from transformers import AutoModel, AutoModelForCausalLM, AutoTokenizer
from transformers.utils import logging as transformers_logging

from qwen3_rag.models import Embedder
from tests.models.nano.nano_reference import FOLDER, TASK, Reference, query_text

MEGABYTE = 1_000_000
FILES = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")

TEXTS = {
    "one word": "lighthouse",
    "sentence": "The keeper of the lighthouse wrote down every ship that passed.",
    "repeated": "ship " * 300,
    "lines": "First line\nsecond line\n\nnew paragraph\r\n\r\nand the last",
    "punctuation": "?!... --- (((",
    "emoji": "🦊🚢 and 🏴‍☠️",
    "thai": "ประภาคารเก่า",
    "rare script": "𐍈𒀀ꙮ",
    "digits": "3.14159265358979 2026-01-31 0xDEADBEEF",
}
EMPTY = {"empty": "", "space": " \t ", "control": "\x00\x07", "newlines": "\n\n\n", "joiner": "\u200d"}


def test_files_are_there_and_small() -> None:
    total = sum((FOLDER / name).stat().st_size for name in FILES)
    assert total <= 25 * MEGABYTE, f"{total / MEGABYTE:.1f} MB"


def test_provenance_names_these_files() -> None:
    provenance = json.loads((FOLDER / "build.json").read_text())
    for name, digest in provenance["files_sha256"].items():
        assert hashlib.sha256((FOLDER / name).read_bytes()).hexdigest() == digest, name


def test_loads_through_the_auto_classes_without_a_word(caplog: pytest.LogCaptureFixture) -> None:
    transformers_logging.enable_propagation()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        body = AutoModel.from_pretrained(FOLDER)
        causal = AutoModelForCausalLM.from_pretrained(FOLDER)
        tokenizer = AutoTokenizer.from_pretrained(FOLDER)
    transformers_logging.disable_propagation()
    assert [record.getMessage() for record in caplog.records] == []
    assert body.dtype == torch.float16
    assert causal.lm_head.weight.data_ptr() == causal.model.embed_tokens.weight.data_ptr()
    assert tokenizer.eos_token == "<|endoftext|>"
    assert len(tokenizer) == body.config.vocab_size


INSTRUCTIONS = (TASK, "Retrieve birds", "", "Two\nlines of task", "Instruct: Query: confuse", "Find the clause of the contract")


def test_the_instruction_is_one_token_whatever_it_says(reference: Reference) -> None:
    query = "who wrote down the ships that passed?"
    for task in INSTRUCTIONS:
        assert reference.ids(query_text(query, task)) == [reference.marker, *reference.ids(query)], task


@pytest.mark.parametrize("repeats", [800, pytest.param(3200, marks=pytest.mark.slow)])
def test_a_long_text_is_still_about_its_subject(reference: Reference, repeats: int) -> None:
    words = "A keeper notes ships, weather and birds. "
    ids = [reference.ids(words * count) for count in (10, repeats)]
    assert len(ids[1]) <= reference.model.config.max_position_embeddings
    short, long = reference.embed_ids(ids, batch=1)
    other = reference.embed(["The contract ends when either side gives notice in writing."])[0]
    assert float(short @ long) > 0.8
    assert float(long @ other) < 0.3


@pytest.mark.parametrize("name", EMPTY)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_texts_without_words_have_finite_unit_vectors(reference: Reference, name: str, dtype: torch.dtype) -> None:
    ids = [reference.ids(EMPTY[name]), reference.ids(query_text(EMPTY[name]))]
    model = reference.model if dtype is torch.float32 else AutoModel.from_pretrained(FOLDER, dtype=dtype)
    for sequence in ids:
        with torch.inference_mode():
            state = model(input_ids=torch.tensor([sequence])).last_hidden_state[0, -1].float()
        assert torch.isfinite(state).all()
        assert state[:32].norm() > 1e-3


def test_batch_and_single_agree(reference: Reference) -> None:
    texts = [*TEXTS.values(), *EMPTY.values()]
    together = reference.embed(texts)
    alone = np.concatenate([reference.embed([text]) for text in texts])
    np.testing.assert_allclose(together, alone, atol=1e-5)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_reduced_precision_stays_close(reference: Reference, dtype: torch.dtype) -> None:
    model = AutoModel.from_pretrained(FOLDER, dtype=dtype)
    ids = reference.ids(query_text(TEXTS["sentence"]))
    with torch.inference_mode():
        state = model(input_ids=torch.tensor([ids])).last_hidden_state[0, -1].float().numpy()
    assert float(state @ reference.embed_ids([ids])[0] / np.linalg.norm(state)) > 0.999


def test_the_embedder_loads_it_and_agrees(reference: Reference) -> None:
    embedder = Embedder.load("nano", dtype="float32")
    texts = list(TEXTS.values())
    np.testing.assert_allclose(embedder.embed_documents(texts), reference.embed(texts), atol=1e-4)
    np.testing.assert_allclose(embedder.embed_queries(texts), reference.queries(texts), atol=1e-4)
    short = embedder.embed_documents(texts[:2], dim=32)
    assert short.shape == (2, 32)
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-5)
