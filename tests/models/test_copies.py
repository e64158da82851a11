from __future__ import annotations

import copy

from qwen3_rag import Embedder


def test_a_deep_copy_of_what_holds_a_model_shares_it():
    embedder = Embedder.load("nano")
    assert copy.deepcopy({"model": embedder})["model"] is embedder
