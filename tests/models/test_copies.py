from __future__ import annotations

import copy
import pickle
from dataclasses import replace

import numpy as np
import pytest

from qwen3_rag import Embedder
from qwen3_rag.errors import EmbeddingSpaceError
from qwen3_rag.models.embedder import _loaded_again


def test_a_deep_copy_of_what_holds_a_model_shares_it():
    embedder = Embedder.load("nano")
    assert copy.deepcopy({"model": embedder})["model"] is embedder
    assert copy.copy(embedder) is embedder


def test_a_pickled_model_is_loaded_again_by_its_name_as_it_was():
    embedder = Embedder.load("nano", dim=64, dtype="float32", device="cpu", quantization="int8")
    pickled = pickle.dumps(embedder)
    assert len(pickled) < 1000
    loaded = pickle.loads(pickled)
    assert loaded.space == embedder.space
    np.testing.assert_array_equal(loaded.embed_documents(["keys are rotated"]), embedder.embed_documents(["keys are rotated"]))
    how = {"dtype": "auto", "device": "auto", "quantization": "none"}
    with pytest.raises(EmbeddingSpaceError, match="weights of another revision"):
        _loaded_again(Embedder, "nano", 64, how, "0" * 32)


def test_a_model_that_no_name_leads_to_stays_in_its_process():
    embedder = Embedder(replace(Embedder.load("nano")._loaded, asked=None))
    with pytest.raises(TypeError, match=r"no name to load it by.*Embedder\.load"):
        pickle.dumps(embedder)
