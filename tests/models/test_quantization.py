"""int8 linear layers: close to float32, smaller, blind to what shares the batch, and refused where they cannot work."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import Qwen3Model

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models import quantization
from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.models.loading import load
from qwen3_rag.models.quantization import Int8Linear, ModelQuantization, has_int8_engine, quantize_linears
from qwen3_rag.models.sample_texts import SAMPLE_TEXTS

XQUAD = Path(__file__).parents[2].parent / "shared" / "data" / "xquad-en" / "corpus.jsonl"

needs_engine = pytest.mark.skipif(not has_int8_engine(), reason="torch has no int8 engine on this platform")


def linear(inputs: int, outputs: int, *, bias: bool = False) -> nn.Linear:
    torch.manual_seed(3)
    return nn.Linear(inputs, outputs, bias=bias).requires_grad_(False)


def states(rows: int, width: int) -> torch.Tensor:
    """Rows of very different size, as after attention."""
    generator = torch.Generator().manual_seed(5)
    return torch.randn(rows, width, generator=generator) * torch.logspace(-2, 2, rows)[:, None]


def small(folder: Path) -> Qwen3Model:
    return Qwen3Model.from_pretrained(folder, dtype=torch.float32).eval()


def texts() -> list[str]:
    if not XQUAD.is_file():
        return list(SAMPLE_TEXTS[:18])
    lines = XQUAD.read_text(encoding="utf-8").splitlines()[:60]
    return [f"{item['title']} {item['text']}" for item in map(json.loads, lines)]


def quantized(model: str) -> Embedder:
    loaded = load(model, ModelKind.EMBEDDER, "float32", "cpu")
    quantize_linears(loaded.inference.model)
    return Embedder(loaded)


def cosines(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.sum(np.asarray(first) * np.asarray(second), axis=1)


@needs_engine
@pytest.mark.parametrize(("inputs", "outputs"), [(1024, 2048), (3072, 1024), (64, 40), (33, 7)])
def test_layer_is_close(inputs: int, outputs: int):
    plain = linear(inputs, outputs, bias=True)
    x = states(50, inputs)
    error = (Int8Linear(plain)(x) - plain(x)).norm(dim=1) / plain(x).norm(dim=1)
    assert error.max() < 0.03


@needs_engine
def test_layer_does_not_saturate():
    """All products as large as can be: pairs of them that are added in 16 bits would be cut."""
    plain = linear(256, 16)
    plain.weight.fill_(0.5)
    x = torch.ones(4, 256)
    torch.testing.assert_close(Int8Linear(plain)(x), plain(x))
    torch.testing.assert_close(Int8Linear(plain)(-x), plain(-x))


@needs_engine
def test_a_row_does_not_depend_on_its_neighbours():
    layer, x = Int8Linear(linear(256, 128)), states(700, 256)
    whole = layer(x)
    for rows in (slice(0, 1), slice(350, 353), slice(699, 700), slice(100, 400)):
        torch.testing.assert_close(layer(x[rows]), whole[rows], rtol=0, atol=0)


@needs_engine
def test_odd_rows():
    layer, x = Int8Linear(linear(64, 32)), states(4, 64).view(2, 2, 64)
    x[0, 0], x[0, 1, 3], x[1, 0, 5] = 0.0, torch.nan, torch.inf
    result = layer(x)
    assert result.shape == (2, 2, 32)
    assert torch.equal(result[0, 0], torch.zeros(32))
    assert torch.isfinite(result).all(-1).tolist() == [[True, False], [False, True]]
    assert layer(x[:0]).shape == (0, 2, 32)


@needs_engine
def test_a_channel_of_zeros():
    plain = linear(64, 32)
    plain.weight[3] = 0.0
    assert torch.equal(Int8Linear(plain)(states(5, 64))[:, 3], torch.zeros(5))


@needs_engine
def test_threads_share_a_layer():
    layer, x = Int8Linear(linear(128, 64)), states(200, 128)

    def run(_: int) -> torch.Tensor:
        with torch.inference_mode():
            return layer(x)

    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(run, range(16)))
    assert all(torch.equal(result, results[0]) for result in results)


@needs_engine
def test_narrow_weights(monkeypatch: pytest.MonkeyPatch):
    """As on a processor that saturates."""
    monkeypatch.setattr(quantization, "_weight_limit", lambda: 64)
    plain, x = linear(1024, 512), states(50, 1024)
    error = (Int8Linear(plain)(x) - plain(x)).norm(dim=1) / plain(x).norm(dim=1)
    assert error.max() < 0.03


@needs_engine
def test_replaces_linear_layers_only(tiny: Path):
    model = small(tiny)
    quantize_linears(model)
    left = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    assert left == [f"layers.{index}.self_attn.k_proj" for index in range(len(model.layers))]
    assert sum(isinstance(module, Int8Linear) for module in model.modules()) == 6 * len(model.layers)
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert isinstance(model.embed_tokens, nn.Embedding)
    layers = [module for module in model.modules() if isinstance(module, Int8Linear)]
    quantize_linears(model)
    assert layers == [module for module in model.modules() if isinstance(module, Int8Linear)]


@needs_engine
def test_weights_shrink(tiny: Path):
    model = small(tiny)
    keys = {layer.self_attn.k_proj for layer in model.layers}
    before = sum(layer.weight.nbytes for layer in model.modules() if isinstance(layer, nn.Linear) and layer not in keys)
    quantize_linears(model)
    layers = [layer for layer in model.modules() if isinstance(layer, Int8Linear)]
    assert sum(layer.weight.numel() * layer.weight.element_size() for layer in layers) * 4 == before


@needs_engine
def test_nano_on_real_texts():
    sample = texts()
    expected = Embedder.load("nano", dtype="float32", device="cpu").embed_documents(sample)
    similar = cosines(expected, quantized("nano").embed_documents(sample))
    assert similar.mean() >= 0.985
    assert similar.min() >= 0.97


@needs_engine
def test_embeddings_do_not_depend_on_the_batch():
    embedder, sample = quantized("nano"), texts()[:16]
    together = np.asarray(embedder.embed_documents(sample))
    alone = np.vstack([embedder.embed_documents([text]) for text in sample])
    # Attention is float32 and may add in another order; a value at the edge then rounds to the other int8.
    assert cosines(together, alone).min() > 0.9995


@needs_engine
def test_official_shape(official_shape: Path):
    sample = list(SAMPLE_TEXTS[::4])
    expected = Embedder.load(str(official_shape), dtype="float32", device="cpu").embed_documents(sample)
    similar = cosines(expected, quantized(str(official_shape)).embed_documents(sample))
    assert similar.min() >= 0.995


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_other_dtypes_are_refused(tiny: Path, dtype: torch.dtype):
    model = small(tiny).to(dtype)
    with pytest.raises(ConfigurationError, match=f"{str(dtype)[6:]}.*dtype='float32'"):
        quantize_linears(model)
    assert isinstance(model.layers[0].mlp.up_proj, nn.Linear)


def test_other_devices_are_refused(tiny: Path):
    with pytest.raises(ConfigurationError, match=r"on meta.*device='cpu'"):
        quantize_linears(small(tiny).to("meta"))


def test_missing_engine_is_told(tiny: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(quantization.platform, "machine", lambda: "riscv64")
    assert not has_int8_engine()
    with pytest.raises(ConfigurationError, match=r"riscv64.*quantization='none'"):
        quantize_linears(small(tiny))


def test_names():
    assert [str(item) for item in ModelQuantization] == ["none", "int8"]
