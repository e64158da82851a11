"""The reranker equals the reference; its template is never cut and never written by a text."""

from __future__ import annotations

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from qwen3_rag.errors import ConfigurationError, ModelFormatError, NonFiniteError
from qwen3_rag.models.base import RerankerLike
from qwen3_rag.models.reranker import Reranker, sigmoid
from tests.models.qwen3_reference import Reference
from tests.models.scripts import AWKWARD, SCRIPTS
from tests.models.tiny_qwen3 import make_checkpoint, make_tokenizer

TOLERANCE = 1e-4


@pytest.fixture(scope="module")
def reranker(tiny: Path) -> Reranker:
    return Reranker.load(str(tiny), dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def reference(tiny: Path) -> Reference:
    return Reference(tiny, max_tokens=512)


@pytest.mark.parametrize("padding", ["none", "left", "right"])
def test_scores_equal_the_reference(reranker: Reranker, reference: Reference, padding: str) -> None:
    documents = [*AWKWARD.values(), *SCRIPTS.values(), "The keys are rotated. " * 300]
    expected = [reference.score("how are keys rotated?", document, padding=padding) for document in documents]
    scores = reranker.score("how are keys rotated?", documents)
    np.testing.assert_allclose(scores, expected, atol=TOLERANCE)
    assert scores.dtype == np.float32
    assert np.ptp(scores) > 0.01


def test_any_query_equals_the_reference(reranker: Reranker, reference: Reference) -> None:
    for query in [*AWKWARD.values(), *SCRIPTS.values()]:
        expected = [reference.score(query, document) for document in ("keys", "")]
        np.testing.assert_allclose(reranker.score(query, ["keys", ""]), expected, atol=TOLERANCE)


def test_instruction_is_per_call(reranker: Reranker, reference: Reference) -> None:
    expected = reference.score("keys", "locks", "Find the night shift")
    np.testing.assert_allclose(reranker.score("keys", ["locks"], "Find the night shift")[0], expected, atol=TOLERANCE)


def test_an_untied_head_is_used(tmp_path: Path) -> None:
    folder = make_checkpoint(tmp_path, tied=False, adds_end=False)
    expected = [Reference(folder, max_tokens=512).score("keys", document) for document in ("locks", "the night shift")]
    np.testing.assert_allclose(
        Reranker.load(str(folder), dtype="float32", device="cpu").score("keys", ["locks", "the night shift"]), expected, atol=TOLERANCE
    )


def test_one_by_one_equals_any_batch(reranker: Reranker) -> None:
    documents = ["key " * count for count in (1, 200, 2, 40, 0, 41, 120, 7)]
    alone = np.concatenate([reranker.score("keys", [document]) for document in documents])
    np.testing.assert_allclose(reranker.score("keys", documents), alone, atol=TOLERANCE)


def test_only_the_document_is_cut(reranker: Reranker) -> None:
    documents = ["short", "The keys are rotated. " * 500]
    short, long = reranker._template.prompts("keys?", documents)
    prefix, suffix = reranker._template._prefix, reranker._template._suffix
    assert len(long.ids) == reranker.max_tokens
    for prompt in (short, long):
        assert prompt.ids[: len(prefix)] == prefix
        assert prompt.ids[-len(suffix) :] == suffix
    assert (short.truncated, long.truncated) == (False, True)


def test_truncation_is_visible(reranker: Reranker, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        scores = reranker.score("keys?", ["short", "The keys are rotated. " * 500, "short too"])
    assert scores.truncated is not None
    assert scores.truncated.tolist() == [False, True, False]
    assert [record.getMessage()[:6] for record in caplog.records] == ["1 of 3"]


@pytest.mark.parametrize("word", ["key ", "ключ ", "👩‍👩‍👧‍👦", "鍵", "a\u0301"])
def test_an_over_long_query_is_cut_to_its_cap_in_whole_characters(reranker: Reranker, reference: Reference, word: str) -> None:
    query = word * 1000
    kept = reranker._loaded.tokenizer.head(query, reranker.max_query_tokens)
    assert query.startswith(kept)
    assert reranker.max_query_tokens - 8 <= len(reference.ids(kept)) <= reranker.max_query_tokens
    scores = reranker.score(query, ["locks", "keys"])
    np.testing.assert_allclose(scores, [reference.score(kept, document) for document in ("locks", "keys")], atol=TOLERANCE)
    assert scores.truncated is not None
    assert scores.truncated.all()


def test_over_long_query_and_document_together_leave_the_template_whole(reranker: Reranker) -> None:
    (prompt,) = reranker._template.prompts("key " * 5000, ["lock " * 5000])
    assert len(prompt.ids) == reranker.max_tokens
    assert prompt.ids[-len(reranker._template._suffix) :] == reranker._template._suffix


def test_texts_cannot_write_the_template(reranker: Reranker) -> None:
    tokenizer = reranker._loaded.tokenizer
    special = set(tokenizer.special.values())
    honest = reranker._template.prompts("q", ["d"], "i")[0].ids
    for name in tokenizer.special:
        forged = reranker._template.prompts(f"q{name}", [f"d{name}"], f"i{name}")[0].ids
        assert [token for token in forged if token in special] == [token for token in honest if token in special]


def test_no_documents_give_no_scores(reranker: Reranker) -> None:
    scores = reranker.score("keys", [])
    assert scores.shape == (0,)
    assert scores.truncated is not None


@pytest.mark.parametrize("documents", ["keys", None, 7, ["keys", None]])
def test_documents_must_be_a_list_of_strings(reranker: Reranker, documents: list[str]) -> None:
    with pytest.raises(ConfigurationError, match="list of strings"):
        reranker.score("keys", documents)


def test_the_query_must_be_a_string(reranker: Reranker) -> None:
    with pytest.raises(ConfigurationError, match="query"):
        reranker.score(["keys"], ["locks"])  # type: ignore[arg-type]


def test_an_instruction_that_fills_the_context_is_refused(reranker: Reranker) -> None:
    with pytest.raises(ConfigurationError, match="instruction"):
        reranker.score("keys", ["locks"], "find the keys " * 500)


async def test_async_twin_gives_the_same(reranker: Reranker) -> None:
    first, second = await asyncio.gather(reranker.ascore("keys", ["locks"], "Find"), reranker.ascore("keys", ["doors"]))
    np.testing.assert_allclose(first, reranker.score("keys", ["locks"], "Find"), atol=1e-6)
    np.testing.assert_allclose(second, reranker.score("keys", ["doors"]), atol=1e-6)


def test_threads_do_not_disturb_each_other(reranker: Reranker) -> None:
    documents = [["key " * (count % 37), f"text {count}"] for count in range(24)]
    alone = [reranker.score("keys", pair) for pair in documents]
    with ThreadPoolExecutor(6) as pool:
        together = pool.map(lambda pair: reranker.score("keys", pair), documents)
        for expected, got in zip(alone, together, strict=True):
            np.testing.assert_allclose(got, expected, atol=1e-6)


def test_it_is_what_the_other_rooms_expect(reranker: Reranker, tiny: Path) -> None:
    assert isinstance(reranker, RerankerLike)
    assert reranker.model == str(tiny)


def test_a_checkpoint_without_head_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelFormatError, match="no language-model head"):
        Reranker.load(str(make_checkpoint(tmp_path, head=False)), device="cpu")


def test_a_tokenizer_without_the_answers_is_refused(tmp_path: Path) -> None:
    make_checkpoint(tmp_path)
    make_tokenizer(tmp_path, adds_end=False, answers=False)
    with pytest.raises(ModelFormatError, match="no single token for the word 'yes'"):
        Reranker.load(str(tmp_path), device="cpu")


def test_a_tokenizer_without_the_template_is_refused(tmp_path: Path) -> None:
    path = make_checkpoint(tmp_path) / "tokenizer.json"
    path.write_text(path.read_text(encoding="utf-8").replace("<|im_start|>", "<|other|>"), encoding="utf-8")
    with pytest.raises(ModelFormatError, match=r"no token '<\|im_start\|>'"):
        Reranker.load(str(tmp_path), device="cpu")


def test_non_finite_output_is_an_error(tiny: Path) -> None:
    reranker = Reranker.load(str(tiny), device="cpu")
    reranker._loaded.inference.model.norm.weight[3] = float("inf")
    with pytest.raises(NonFiniteError):
        reranker.score("keys", ["locks"])


def test_sigmoid_does_not_overflow() -> None:
    logits = np.array([-1e4, -80, 0, 80, 1e4], dtype=np.float32)
    np.testing.assert_allclose(sigmoid(logits), [0, 0, 0.5, 1, 1], atol=1e-6)
    assert sigmoid(logits).dtype == np.float32
