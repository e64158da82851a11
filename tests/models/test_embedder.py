"""The embedder equals the reference, whatever the batch and whatever the text."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from qwen3_rag.errors import ConfigurationError, DimensionError, NonFiniteError
from qwen3_rag.models.base import EmbedderLike
from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.packing import Item
from qwen3_rag.types import EncodedText
from tests.models.qwen3_reference import Reference
from tests.models.scripts import AWKWARD, SCRIPTS
from tests.models.tiny_qwen3 import make_checkpoint

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def embedder(tiny: Path) -> Embedder:
    return Embedder.load(str(tiny), dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def reference(tiny: Path) -> Reference:
    return Reference(tiny, max_tokens=512)


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_documents_equal_the_reference(embedder: Embedder, reference: Reference, padding: str) -> None:
    texts = [*AWKWARD.values(), *SCRIPTS.values()]
    expected = np.stack([reference.embed(text, 64, padding) for text in texts])
    np.testing.assert_allclose(embedder.embed_documents(texts), expected, atol=TOLERANCE)


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_queries_equal_the_reference(embedder: Embedder, reference: Reference, padding: str) -> None:
    texts = [*AWKWARD.values(), *SCRIPTS.values()]
    expected = np.stack([reference.embed_query(text, 64, padding=padding) for text in texts])
    np.testing.assert_allclose(embedder.embed_queries(texts), expected, atol=TOLERANCE)


def test_instruction_is_per_call(embedder: Embedder, reference: Reference) -> None:
    task = "Find the shift that did it"
    np.testing.assert_allclose(embedder.embed_queries(["keys"], task)[0], reference.embed_query("keys", 64, task), atol=TOLERANCE)
    assert np.abs(embedder.embed_queries(["keys"], task) - embedder.embed_queries(["keys"])).max() > 0.01


def test_one_by_one_equals_any_batch(embedder: Embedder) -> None:
    texts = ["key " * count for count in (1, 300, 2, 40, 0, 41, 120, 7)]
    together = embedder.embed_documents(texts)
    np.testing.assert_allclose(together, np.concatenate([embedder.embed_documents([text]) for text in texts]), atol=TOLERANCE)


def test_small_budget_changes_nothing(tiny: Path, embedder: Embedder) -> None:
    texts = ["key " * count for count in range(60)]
    other = Embedder.load(str(tiny), dtype="float32", device="cpu")
    other._loaded.inference.budget.tokens = 50
    np.testing.assert_allclose(other.embed_documents(texts), embedder.embed_documents(texts), atol=TOLERANCE)


@pytest.mark.parametrize("head", [True, False], ids=["causal-lm", "bare-model"])
@pytest.mark.parametrize("adds_end", [True, False], ids=["tokenizer-adds-end", "tokenizer-does-not"])
def test_every_way_of_saving_gives_the_same_vectors(tmp_path: Path, embedder: Embedder, head: bool, adds_end: bool) -> None:
    other = Embedder.load(str(make_checkpoint(tmp_path, head=head, adds_end=adds_end)), dtype="float32", device="cpu")
    np.testing.assert_allclose(other.embed_documents(["", "keys"]), embedder.embed_documents(["", "keys"]), atol=TOLERANCE)


@pytest.mark.parametrize("text", ["", "keys", "keys " * 2000, "ends <|endoftext|>"])
def test_end_of_text_is_there_once_and_last(embedder: Embedder, text: str) -> None:
    for prompt in [*embedder._template.documents([text]), *embedder._template.queries([text])]:
        assert prompt.ids.count(embedder._template.end_id) == 1
        assert prompt.ids[-1] == embedder._template.end_id
        assert len(prompt.ids) <= embedder.max_tokens


def test_over_long_texts_are_cut_and_say_so(embedder: Embedder, reference: Reference, caplog: pytest.LogCaptureFixture) -> None:
    texts = ["short", "The keys are rotated. " * 500, "also short"]
    with caplog.at_level(logging.WARNING):
        documents, queries = embedder.embed_documents(texts), embedder.embed_queries(texts)
    np.testing.assert_allclose(documents[1], reference.embed(texts[1], 64), atol=TOLERANCE)
    np.testing.assert_allclose(queries[1], reference.embed_query(texts[1], 64), atol=TOLERANCE)
    assert documents.truncated is not None
    assert queries.truncated is not None
    assert documents.truncated.tolist() == queries.truncated.tolist() == [False, True, False]
    messages = [record.getMessage() for record in caplog.records]
    assert [message.startswith("1 of 3") for message in messages] == [True, True]


def test_exactly_full_is_not_truncated(embedder: Embedder) -> None:
    text = "keys"
    while len(embedder.tokenizer.encode(text).ids) < embedder.max_tokens - 1:
        text += " a"
    result = embedder.embed_documents([text, text + " a"])
    assert result.truncated is not None
    assert result.truncated.tolist() == [False, True]


def test_text_cannot_write_special_tokens(embedder: Embedder) -> None:
    special = set(embedder._loaded.tokenizer.special.values())
    for name in embedder._loaded.tokenizer.special:
        ids = embedder._template.documents([f"before {name} after"])[0].ids
        assert special.intersection(ids[:-1]) == set()
        assert embedder.tokenizer.decode(ids[:-1]) == f"before {name} after"


def test_tokenizer_counts_what_is_embedded(embedder: Embedder) -> None:
    for text in [*AWKWARD.values(), *SCRIPTS.values(), "<think>"]:
        assert len(embedder.tokenizer.encode(text).ids) + 1 == len(embedder._template.documents([text])[0].ids)


@pytest.mark.parametrize("dim", [32, 33, 48, 64])
def test_dim_is_a_normalised_prefix(embedder: Embedder, dim: int) -> None:
    full, short = embedder.embed_documents(["keys", "locks"]), embedder.embed_documents(["keys", "locks"], dim=dim)
    assert short.shape == (2, dim)
    assert short.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(short, full[:, :dim] / np.linalg.norm(full[:, :dim], axis=1, keepdims=True), atol=1e-6)


@pytest.mark.parametrize("dim", [31, 65, 0, -1, 32.5, True])
def test_impossible_dims_are_refused_with_the_range(embedder: Embedder, tiny: Path, dim: int) -> None:
    with pytest.raises(DimensionError, match="32 to 64"):
        embedder.embed_documents(["keys"], dim=dim)
    with pytest.raises(DimensionError, match="32 to 64"):
        embedder.embed_queries([], dim=dim)
    with pytest.raises(DimensionError, match="32 to 64"):
        Embedder.load(str(tiny), dim=dim, device="cpu")


def test_default_dim_is_part_of_the_space(embedder: Embedder, tiny: Path) -> None:
    short = Embedder.load(str(tiny), dim=40, dtype="float32", device="cpu")
    assert (short.dim, short.hidden_size, short.embed_queries(["keys"]).shape) == (40, 64, (1, 40))
    assert short.embed_documents(["keys"], dim=64).shape == (1, 64)
    assert short.fingerprint != embedder.fingerprint
    assert short.space.revision == embedder.space.revision
    assert embedder.fingerprint == Embedder.load(str(tiny), device="cpu").fingerprint
    assert embedder.model == embedder.space.model == str(tiny)


def test_no_texts_give_no_rows(embedder: Embedder) -> None:
    assert embedder.embed_documents([]).shape == embedder.embed_queries([]).shape == (0, 64)
    assert embedder.embed_documents([], dim=32).shape == (0, 32)


@pytest.mark.parametrize("texts", ["keys", b"keys", None, 7, ["keys", None], ["keys", b"x"]])
def test_anything_but_a_list_of_strings_is_refused(embedder: Embedder, texts: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="list of strings"):
        embedder.embed_documents(texts)
    with pytest.raises(ConfigurationError, match="list of strings"):
        embedder.embed_queries(texts)


def test_an_instruction_that_fills_the_context_is_refused(embedder: Embedder) -> None:
    with pytest.raises(ConfigurationError, match="instruction"):
        embedder.embed_queries(["keys"], "find the keys " * 500)


def test_lone_surrogates_are_embedded_as_replacement_characters(embedder: Embedder) -> None:
    np.testing.assert_array_equal(embedder.embed_documents(["a\ud800b"]), embedder.embed_documents(["a\ufffdb"]))


async def test_async_twins_give_the_same(embedder: Embedder) -> None:
    documents, queries = await asyncio.gather(embedder.aembed_documents(["keys"], 32), embedder.aembed_queries(["keys"], "Find", 32))
    np.testing.assert_allclose(documents, embedder.embed_documents(["keys"], 32), atol=1e-6)
    np.testing.assert_allclose(queries, embedder.embed_queries(["keys"], "Find", 32), atol=1e-6)
    assert documents.truncated is not None


def test_threads_do_not_disturb_each_other(embedder: Embedder) -> None:
    texts = [["key " * (count % 37), f"text {count}"] for count in range(48)]
    alone = [embedder.embed_documents(pair) for pair in texts]
    with ThreadPoolExecutor(8) as pool:
        for expected, got in zip(alone, pool.map(embedder.embed_documents, texts), strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-6)


def test_it_is_what_the_other_rooms_expect(embedder: Embedder) -> None:
    assert isinstance(embedder, EmbedderLike)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_non_finite_output_is_an_error_and_leaves_the_embedder_usable(tiny: Path, dtype: str) -> None:
    embedder = Embedder.load(str(tiny), dtype=dtype, device="cpu")
    weight = embedder._loaded.inference.model.layers[0].mlp.down_proj.weight
    before = embedder.embed_documents(["keys"])
    kept = weight[0, 0].item()
    weight[0, 0] = float("nan")
    with pytest.raises(NonFiniteError, match=r"NaN or infinity.*download"):
        embedder.embed_documents(["keys"])
    weight[0, 0] = kept
    np.testing.assert_array_equal(embedder.embed_documents(["keys"]), before)


def test_overflow_of_a_short_format_is_computed_again_in_float32(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    embedder = Embedder.load(str(make_checkpoint(tmp_path)), dtype="float16", device="cpu")
    network = embedder._loaded.inference.model
    network.layers[0].mlp.down_proj.weight.mul_(30_000)
    network.layers[0].mlp.up_proj.weight.mul_(100)
    frequencies = network.rotary_emb.inv_freq.clone()
    with torch.inference_mode():
        assert not torch.isfinite(embedder._loaded.inference._forward([Item([1, 2, 3])])).all()
    with caplog.at_level(logging.WARNING):
        vectors = embedder.embed_documents(["keys"])
    assert np.isfinite(vectors).all()
    assert "again in float32" in caplog.text
    assert network.dtype == torch.float16
    assert torch.equal(network.rotary_emb.inv_freq, frequencies)


@pytest.mark.parametrize(("dtype", "expected"), [("float32", torch.float32), ("bfloat16", torch.bfloat16), ("float16", torch.float16)])
def test_dtype_is_what_was_asked_for_and_vectors_are_float32(tiny: Path, embedder: Embedder, dtype: str, expected: torch.dtype) -> None:
    other = Embedder.load(str(tiny), dtype=dtype, device="cpu")
    assert other._loaded.inference.model.dtype == expected
    vectors = other.embed_documents(["keys are rotated"])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert vectors[0] @ embedder.embed_documents(["keys are rotated"])[0] > 0.99


def test_ids_that_a_text_carries_are_used_if_they_are_of_this_tokenizer(embedder: Embedder, tiny: Path) -> None:
    ids = embedder.tokenizer.encode("what is really read").ids
    carried = EncodedText("what it says", ids, embedder.tokenizer)
    foreign = EncodedText("what it says", ids, Embedder.load(str(tiny)).tokenizer)
    both = embedder.embed_documents([carried, "in between", foreign])
    np.testing.assert_allclose(both, embedder.embed_documents(["what is really read", "in between", "what it says"]), atol=1e-6)
