from __future__ import annotations

import socket
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from transformers import Qwen3Config, Qwen3Model

from tests.models.tiny_qwen3 import make_checkpoint

REAL_TOKENIZER = Path(__file__).parents[2].parent / "shared" / "qwen3-tokenizer" / "tokenizer.json"


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tied checkpoint with its head, and a tokenizer that adds the end-of-text token itself."""
    return make_checkpoint(tmp_path_factory.mktemp("tiny"))


@pytest.fixture(scope="session")
def official_shape() -> Iterator[Path]:
    """Random weights of the official 0.6B shape with two layers, stored in bfloat16, and the real tokenizer."""
    if not REAL_TOKENIZER.is_file():
        pytest.skip("the real Qwen3 tokenizer is not in ../shared/qwen3-tokenizer")
    config = Qwen3Config(
        vocab_size=151_669,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=2,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=1024,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        dtype=torch.bfloat16,
    )
    with torch.device("meta"):
        shapes = {f"model.{name}": parameter.shape for name, parameter in Qwen3Model(config).named_parameters()}
    torch.manual_seed(11)
    std = torch.tensor(config.initializer_range)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        weights = {key: torch.ones(shape) if len(shape) == 1 else torch.randn(shape) * std for key, shape in shapes.items()}
        save_file({key: weight.to(torch.bfloat16) for key, weight in weights.items()}, folder / "model.safetensors", {"format": "pt"})
        config.save_pretrained(folder)
        (folder / "tokenizer.json").write_bytes(REAL_TOKENIZER.read_bytes())
        yield folder


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """Every attempt to look up a name or to connect fails, and is listed."""
    attempts: list[object] = []

    def refuse(*args: Any, **_: Any) -> None:
        attempts.append(args)
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    return attempts


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty Hugging Face cache."""
    from huggingface_hub import constants

    cache = tmp_path / "hub"
    cache.mkdir()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    return cache
