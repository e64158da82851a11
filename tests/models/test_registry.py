from __future__ import annotations

from pathlib import Path

import pytest

from qwen3_rag.models.hub import ModelKind, nano_folder
from qwen3_rag.models.registry import default_reranker_for, known_models
from tests.models.test_loading import cache_as


@pytest.mark.usefixtures("empty_cache")
def test_the_official_models_are_known_with_their_sizes() -> None:
    models = {model.name: model for model in known_models()}
    dims = {name: model.dim for name, model in models.items() if model.kind is ModelKind.EMBEDDER and name != "nano"}
    assert dims == {"Qwen/Qwen3-Embedding-0.6B": 1024, "Qwen/Qwen3-Embedding-4B": 2560, "Qwen/Qwen3-Embedding-8B": 4096}
    rerankers = [name for name, model in models.items() if model.kind is ModelKind.RERANKER]
    assert rerankers == [f"Qwen/Qwen3-Reranker-{size}" for size in ("0.6B", "4B", "8B")]
    assert not any(models[name].cached for name in [*dims, *rerankers])


def test_cached_models_are_marked(tiny: Path, empty_cache: Path) -> None:
    folder = cache_as(empty_cache, "Qwen/Qwen3-Embedding-0.6B", tiny)
    assert [model.name for model in known_models() if model.cached and model.name != "nano"] == ["Qwen/Qwen3-Embedding-0.6B"]
    (folder / "tokenizer.json").unlink()
    assert not any(model.cached for model in known_models() if model.name != "nano")


@pytest.mark.skipif(not (nano_folder() / "model.safetensors").is_file(), reason="nano is not built")
def test_nano_is_known_and_always_here() -> None:
    (nano,) = (model for model in known_models() if model.name == "nano" and model.kind is ModelKind.EMBEDDER)
    assert nano.cached
    assert nano.dim is not None


def test_official_embedders_have_a_default_reranker_and_others_none() -> None:
    for size in ("0.6B", "4B", "8B"):
        assert default_reranker_for(f"Qwen/Qwen3-Embedding-{size}") == "Qwen/Qwen3-Reranker-0.6B"
    for name in ("nano", "/some/folder", "Qwen/Qwen3-Reranker-0.6B"):
        assert default_reranker_for(name) is None
