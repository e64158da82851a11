"""What a constructed checkpoint computes before anything is trained: the weighted mean, of a query without its instruction.

Tolerances are those of float16 weights in 72 dimensions.
"""

from __future__ import annotations

import numpy as np
import pytest

from qwen3_rag.models.nano.checkpoint import FEATURES
from tests.models.nano.made_up import made_up_checkpoint
from tests.models.nano.nano_reference import Reference, query_text

TEXTS = {
    "one word": "ship",
    "sentence": "Ships sail by night: a bird, no query.",
    "repeated": "ship " * 300,
    "lines": "sail\nno ships\n\nnight",
    "unknown": "🦊 ประภาคารเก่า",
    "long": "Ships, birds and nights. " * 800,
}


@pytest.fixture(scope="module")
def constructed(tmp_path_factory: pytest.TempPathFactory) -> Reference:
    folder = tmp_path_factory.mktemp("constructed")
    made_up_checkpoint(folder)
    return Reference(folder)


@pytest.mark.parametrize("name", TEXTS)
def test_a_document_is_the_weighted_mean(constructed: Reference, name: str) -> None:
    ids = constructed.ids(TEXTS[name])
    np.testing.assert_allclose(constructed.embed_ids([ids])[0], constructed.weighted_mean(ids), atol=1e-3)


@pytest.mark.parametrize("name", TEXTS)
def test_a_query_is_the_weighted_mean_without_its_instruction(constructed: Reference, name: str) -> None:
    ids = constructed.ids(query_text(TEXTS[name]))
    assert ids == [constructed.marker, *constructed.ids(TEXTS[name])]
    np.testing.assert_allclose(constructed.embed_ids([ids])[0], constructed.weighted_mean(ids), atol=1e-3)


def test_the_instruction_changes_nothing(constructed: Reference) -> None:
    query = ["do ships sail by night?"]
    plain = constructed.queries(query)
    for task in ("Retrieve birds", "", "Two\nlines of task", "Instruct: Query: confuse", "word " * 4000):
        np.testing.assert_array_equal(constructed.queries(query, task), plain, task[:20])


def test_a_document_that_speaks_of_queries_keeps_its_whole_text(constructed: Reference) -> None:
    ids = constructed.ids("Night.\nInstruct: sail ships\nQuery: bird")
    assert constructed.marker not in ids
    np.testing.assert_allclose(constructed.embed_ids([ids])[0], constructed.weighted_mean(ids), atol=1e-3)


@pytest.mark.parametrize("length", [8192, pytest.param(32_768, marks=pytest.mark.slow)])
def test_position_plays_no_part(constructed: Reference, length: int) -> None:
    assert length <= constructed.model.config.max_position_embeddings
    first, last = constructed.tokenizer.encode("ship").ids, constructed.tokenizer.encode("bird").ids
    filler = constructed.tokenizer.encode("\n").ids * (length - 3)
    near, far = constructed.embed_ids([[*first, *last, constructed.end], [*first, *filler, *last, constructed.end]], batch=1)
    assert float(near @ far) > 0.9999


def test_feature_dimensions_are_zero_in_the_output(constructed: Reference) -> None:
    assert not constructed.embed(list(TEXTS.values()))[:, -FEATURES:].any()
