"""Against the reference at the official 0.6B shape (two layers, random weights) with the real tokenizer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.prompts import RerankTemplate
from qwen3_rag.models.reranker import Reranker
from qwen3_rag.models.tokenization import TextTokenizer
from tests.models.qwen3_reference import PREFIX, SUFFIX, Reference
from tests.models.scripts import AWKWARD, SCRIPTS

TOLERANCE = 1e-4
CONTEXT = 1024
LONG = {
    "one-token-short": "key " * 1022 + "s",
    "over-long": "The keys are rotated every ninety days. " * 200,
    "over-long-emoji": "👩‍👩‍👧‍👦" * 300,
}
TEXTS = [*AWKWARD.values(), *SCRIPTS.values(), *LONG.values()]


@pytest.fixture(scope="module")
def reference(official_shape: Path) -> Reference:
    return Reference(official_shape, max_tokens=CONTEXT)


@pytest.fixture(scope="module")
def embedder(official_shape: Path) -> Embedder:
    return Embedder.load(str(official_shape), dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def reranker(official_shape: Path) -> Reranker:
    return Reranker.load(str(official_shape), dtype="float32", device="cpu")


@pytest.fixture(scope="module")
def vectors(embedder: Embedder) -> np.ndarray:
    """All texts in one call."""
    return embedder.embed_documents(TEXTS)


def test_there_are_forty_scripts() -> None:
    assert len(SCRIPTS) >= 40


def test_a_batch_of_documents_equals_the_reference(reference: Reference, vectors: np.ndarray) -> None:
    np.testing.assert_allclose(vectors, np.stack([reference.embed(text, 1024) for text in TEXTS]), atol=TOLERANCE)


@pytest.mark.parametrize("padding", ["left", "right"])
def test_padding_of_the_reference_does_not_matter(reference: Reference, vectors: np.ndarray, padding: str) -> None:
    few = [0, 5, 20, 40, len(TEXTS) - 2]
    np.testing.assert_allclose(vectors[few], np.stack([reference.embed(TEXTS[index], 1024, padding) for index in few]), atol=TOLERANCE)


def test_single_equals_batch(embedder: Embedder, vectors: np.ndarray) -> None:
    few = [0, 5, 20, 40, len(TEXTS) - 1]
    np.testing.assert_allclose(vectors[few], np.concatenate([embedder.embed_documents([TEXTS[i]]) for i in few]), atol=TOLERANCE)


def test_queries_equal_the_reference(embedder: Embedder, reference: Reference) -> None:
    texts = [*AWKWARD.values(), *list(SCRIPTS.values())[::6], LONG["over-long"]]
    expected = np.stack([reference.embed_query(text, 256) for text in texts])
    np.testing.assert_allclose(embedder.embed_queries(texts, dim=256), expected, atol=TOLERANCE)


def test_scores_equal_the_reference(reranker: Reranker, reference: Reference) -> None:
    documents = [*AWKWARD.values(), *list(SCRIPTS.values())[::9], LONG["over-long"]]
    scores = reranker.score("密钥多久轮换一次？", documents)
    np.testing.assert_allclose(scores, [reference.score("密钥多久轮换一次？", document) for document in documents], atol=TOLERANCE)
    assert scores.truncated is not None
    assert scores.truncated.tolist() == [False] * (len(documents) - 1) + [True]


def test_template_ids_are_those_of_the_real_tokenizer(official_shape: Path, reference: Reference) -> None:
    tokenizer = TextTokenizer.load(official_shape)
    template = RerankTemplate(tokenizer, CONTEXT)
    assert (template.yes_id, template.no_id, tokenizer.special_id("<|endoftext|>")) == (9693, 2152, 151643)
    assert (template._prefix, template._suffix) == (reference.ids(PREFIX), reference.ids(SUFFIX))
    for query in TEXTS[:-3]:
        prompts = template.prompts(query, TEXTS[:-3], "Find it")
        bodies = [reference.ids(f"<Instruct>: Find it\n<Query>: {query}\n<Document>: {document}") for document in TEXTS[:-3]]
        assert [prompt.ids for prompt in prompts] == [[*template._prefix, *body, *template._suffix] for body in bodies]


def test_plain_text_has_the_ids_of_the_real_tokenizer(official_shape: Path, reference: Reference) -> None:
    assert TextTokenizer.load(official_shape).encode_all(TEXTS) == [reference.ids(text) for text in TEXTS]


def test_no_text_becomes_a_special_token_of_the_real_tokenizer(official_shape: Path) -> None:
    tokenizer = TextTokenizer.load(official_shape)
    assert len(tokenizer.special) > 20
    for name in tokenizer.special:
        ids = tokenizer.encode(f"a {name}{name} b")
        assert not set(ids).intersection(tokenizer.special.values())
        assert tokenizer.plain.decode(ids) == f"a {name}{name} b"
