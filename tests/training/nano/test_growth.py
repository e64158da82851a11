from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from qwen3_rag import Embedder
from qwen3_rag.errors import ModelFormatError
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.training.nano.growth import grow
from qwen3_rag.training.network import Network
from tests.models.nano.made_up import made_up_checkpoint

TEXTS = ["ships sail", "sail : the night", "night " * 40]


@pytest.fixture
def constructed(tmp_path: Path) -> Path:
    made_up_checkpoint(tmp_path, context=512)
    return tmp_path


def test_a_grown_checkpoint_gives_the_same_vectors(constructed: Path, tmp_path: Path):
    old = Embedder.load(str(constructed), dtype="float32", device="cpu")
    new = Embedder.load(str(grow(constructed, tmp_path / "grown", layers=3, intermediate=48, seed=1)), dtype="float32", device="cpu")
    np.testing.assert_allclose(np.asarray(new.embed_documents(TEXTS)), np.asarray(old.embed_documents(TEXTS)), atol=1e-6)
    np.testing.assert_allclose(np.asarray(new.embed_queries(TEXTS)), np.asarray(old.embed_queries(TEXTS)), atol=1e-6)


def test_the_new_layers_can_learn(constructed: Path, tmp_path: Path):
    network = Network.load(str(grow(constructed, tmp_path / "grown", layers=2, intermediate=48, seed=1)), ModelKind.EMBEDDER)
    assert len(network.body.layers) == 3
    items = [prompt.item for prompt in Embedder.load(str(tmp_path / "grown"), device="cpu")._template.documents(TEXTS)]
    network(items)[:, 0].sum().backward()
    for layer in network.body.layers[:2]:
        for output in (layer.self_attn.o_proj, layer.mlp.down_proj):
            assert torch.count_nonzero(output.weight) == 0
            assert output.weight.grad is not None
            assert torch.count_nonzero(output.weight.grad) > 0


def test_what_has_grown_is_not_grown_again(constructed: Path, tmp_path: Path):
    grown = grow(constructed, tmp_path / "grown", 2, 48, seed=1)
    with pytest.raises(ModelFormatError, match=r"3 layers. Give a checkpoint of qwen3_rag\.models\.nano\.build"):
        grow(grown, tmp_path / "again", 2, 48, seed=1)


def test_it_is_the_same_every_time(constructed: Path, tmp_path: Path):
    files = [grow(constructed, tmp_path / name, 2, 48, seed=1) / "model.safetensors" for name in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert (grow(constructed, tmp_path / "three", 2, 48, seed=2) / "model.safetensors").read_bytes() != files[0].read_bytes()
