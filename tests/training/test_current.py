"""The network in training, as it is judged."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from qwen3_rag.models.budget import CPU_TOKENS
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.models.reranker import Reranker
from qwen3_rag.training.current import current_reranker
from qwen3_rag.training.network import Network
from tests.models.tiny_qwen3 import make_checkpoint

DOCUMENTS = [f"night shift {number}" for number in range(5)]


def test_long_documents_are_not_reranked_all_at_once(tiny: Path):
    network = Network.load(str(tiny), ModelKind.RERANKER)
    tokens: list[int] = []
    network.running.embed_tokens.register_forward_pre_hook(lambda _, inputs: tokens.append(inputs[0].shape[-1]))
    documents = [f"{number} " + "night shift passages answer query " * 400 for number in range(20)]
    assert len(current_reranker(network).score("q", documents)) == 20
    assert sum(tokens) > 2 * CPU_TOKENS
    assert max(tokens) <= CPU_TOKENS


@pytest.mark.parametrize("tied", [True, False])
def test_a_reranker_is_judged_by_the_head_that_is_trained(tmp_path: Path, tied: bool):
    base = make_checkpoint(tmp_path / "base", tied=tied)
    network = Network.load(str(base), ModelKind.RERANKER)
    before = Reranker.load(str(base), dtype="float32").score("q", DOCUMENTS)
    np.testing.assert_allclose(current_reranker(network).score("q", DOCUMENTS), before, atol=1e-5)
    rows = network.answer_rows(*map(network.tokenizer.word_id, ("yes", "no")))
    with torch.no_grad():
        for row in rows:
            row.neg_()
    if not tied:
        np.testing.assert_allclose(current_reranker(network).score("q", DOCUMENTS), 1 - np.asarray(before), atol=1e-5)
    assert not np.allclose(current_reranker(network).score("q", DOCUMENTS), before, atol=1e-5)
