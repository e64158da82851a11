from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModel

from qwen3_rag import Embedder
from qwen3_rag.models.nano.checkpoint import FEATURES, Feature
from qwen3_rag.training.nano.eight_bits import EIGHT_BITS, in_eight_bits
from qwen3_rag.training.nano.growth import grow
from qwen3_rag.training.nano.signatures import sign
from tests.models.nano.made_up import made_up_checkpoint

TEXTS = ["ship sail night", "bird : night sail", "yes ship é", "ships", ""]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """As if it were: earlier layers say something, and log weights are no round numbers."""
    made_up_checkpoint(tmp_path, context=512)
    folder = sign(grow(tmp_path, tmp_path / "grown", layers=2, intermediate=48, seed=1), tmp_path / "signed", 0)
    random = torch.Generator().manual_seed(3)
    tensors = load_file(folder / "model.safetensors")
    for name, tensor in tensors.items():
        if name.startswith(("layers.0.", "layers.1.", "layers.2.")) and name.endswith(("o_proj.weight", "down_proj.weight")):
            tensor += 0.02 * torch.randn(tensor.shape, generator=random).half()
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


def vectors(folder: Path) -> np.ndarray:
    return np.asarray(Embedder.load(str(folder), dtype="float32", device="cpu").embed_documents(TEXTS))


def test_vectors_stay_what_they_were(trained: Path, tmp_path: Path):
    before, after = vectors(trained), vectors(in_eight_bits(trained, tmp_path / "eight"))
    assert (before * after).sum(1).min() > 0.985  # a trained nano's are 0.9986 on average, wider sums than these of 72 dimensions


def test_log_weights_are_kept_to_two_hundredths(trained: Path, tmp_path: Path):
    rows, kept = (
        load_file(folder / "model.safetensors")["embed_tokens.weight"].float()[:, -FEATURES:]
        for folder in (trained, in_eight_bits(trained, tmp_path / "eight"))
    )
    assert (kept[:, Feature.LOG_WEIGHT_SINE] - rows[:, Feature.LOG_WEIGHT_SINE]).abs().max() > 0.01
    for exact, rest in (
        (Feature.LOG_WEIGHT_SINE, Feature.LOG_WEIGHT_SINE_REST),
        (Feature.LOG_WEIGHT_COSINE, Feature.LOG_WEIGHT_COSINE_REST),
    ):
        torch.testing.assert_close(kept[:, exact] + kept[:, rest], rows[:, exact], atol=2e-3, rtol=0)


def test_it_is_half_the_size_and_transformers_reads_it(trained: Path, tmp_path: Path):
    folder = in_eight_bits(trained, tmp_path / "eight")
    stored = load_file(folder / "model.safetensors")
    last = json.loads((folder / "config.json").read_text())["num_hidden_layers"] - 1
    assert {tensor.dtype for name, tensor in stored.items() if tensor.ndim == 1 or name.startswith(f"layers.{last}.self_attn.")} == {
        torch.float16
    }
    assert stored["embed_tokens.weight"].dtype == stored["layers.0.mlp.up_proj.weight"].dtype == EIGHT_BITS
    for dtype in (torch.float32, "auto"):
        model = AutoModel.from_pretrained(folder, dtype=dtype)
        torch.testing.assert_close(model.embed_tokens.weight.detach().float(), stored["embed_tokens.weight"].float(), atol=0, rtol=0)
