from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from qwen3_rag import Embedder
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.models.nano.checkpoint import TokenTable, save_checkpoint
from qwen3_rag.models.nano.vocabulary import build_vocabulary, save_tokenizer
from qwen3_rag.training.nano.growth import grow
from qwen3_rag.training.network import Network

WORDS = ["[UNK]", "[CLS]", "ship", "##s", "sail", "yes", "no", ":", "query", "night"]
TEXTS = ["ships sail", "sail : the night", "night " * 40]


def constructed(folder: Path) -> Path:
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    vocabulary = build_vocabulary(folder / "vocab.txt")
    generator = np.random.default_rng(5)
    directions = generator.normal(size=(len(vocabulary), 72))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    table = TokenTable(directions, generator.uniform(-8, 0, len(vocabulary)), vocabulary.marker_id, vocabulary.end_of_text_id)
    save_tokenizer(vocabulary, folder, 512)
    save_checkpoint(table, folder, seed=3)
    return folder


def test_a_grown_checkpoint_gives_the_same_vectors(tmp_path: Path):
    old = Embedder.load(str(constructed(tmp_path)), dtype="float32", device="cpu")
    new = Embedder.load(str(grow(tmp_path, tmp_path / "grown", layers=3, intermediate=48, seed=1)), dtype="float32", device="cpu")
    np.testing.assert_allclose(np.asarray(new.embed_documents(TEXTS)), np.asarray(old.embed_documents(TEXTS)), atol=1e-6)
    np.testing.assert_allclose(np.asarray(new.embed_queries(TEXTS)), np.asarray(old.embed_queries(TEXTS)), atol=1e-6)


def test_the_new_layers_can_learn(tmp_path: Path):
    network = Network.load(str(grow(constructed(tmp_path), tmp_path / "grown", layers=2, intermediate=48, seed=1)), ModelKind.EMBEDDER)
    assert len(network.body.layers) == 4
    items = [prompt.item for prompt in Embedder.load(str(tmp_path / "grown"), device="cpu")._template.documents(TEXTS)]
    network(items)[:, 0].sum().backward()
    for layer in network.body.layers[1:3]:
        for output in (layer.self_attn.o_proj, layer.mlp.down_proj):
            assert torch.count_nonzero(output.weight) == 0
            assert output.weight.grad is not None
            assert torch.count_nonzero(output.weight.grad) > 0


def test_it_is_the_same_every_time(tmp_path: Path):
    source = constructed(tmp_path)
    files = [grow(source, tmp_path / name, 2, 48, seed=1) / "model.safetensors" for name in ("one", "two")]
    assert files[0].read_bytes() == files[1].read_bytes()
    assert (grow(source, tmp_path / "three", 2, 48, seed=2) / "model.safetensors").read_bytes() != files[0].read_bytes()
