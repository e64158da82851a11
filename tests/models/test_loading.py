"""Names become models, or an error that says what to do, and quickly."""

from __future__ import annotations

import importlib.util
import json
import logging
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from qwen3_rag.errors import ConfigurationError, MissingExtraError, ModelFormatError, ModelNotFoundError
from qwen3_rag.models import hub
from qwen3_rag.models.checkpoint import Checkpoint
from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.reranker import Reranker

SECONDS = 5


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A copy of the tiny checkpoint to break."""
    return Path(shutil.copytree(tiny, tmp_path / "model"))


def cache_as(cache: Path, name: str, tiny: Path) -> Path:
    """Lay a checkpoint into the Hugging Face cache as if it had been downloaded."""
    repository = cache / f"models--{name.replace('/', '--')}"
    commit = "0123456789" * 4
    (repository / "refs").mkdir(parents=True)
    (repository / "refs" / "main").write_text(commit)
    return Path(shutil.copytree(tiny, repository / "snapshots" / commit))


@pytest.mark.usefixtures("no_network", "empty_cache")
def test_an_unreachable_hub_is_told_quickly_with_the_ways_out() -> None:
    started = time.perf_counter()
    with pytest.raises(ModelNotFoundError, match=r"Qwen/Qwen3-Embedding-0\.6B.*hf download.*--local-dir.*'nano'"):
        Embedder.load("Qwen/Qwen3-Embedding-0.6B")
    with pytest.raises(ModelNotFoundError, match=r"Qwen/Qwen3-Reranker-0\.6B.*hf download.*--local-dir.*off.*'nano'"):
        Reranker.load("Qwen/Qwen3-Reranker-0.6B")
    assert time.perf_counter() - started < SECONDS


@pytest.mark.usefixtures("empty_cache")
def test_a_hub_that_does_not_answer_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: time.sleep(3))
    monkeypatch.setattr(hub, "REACH_SECONDS", 0.2)
    started = time.perf_counter()
    with pytest.raises(ModelNotFoundError, match=r"no answer within 0\.2 s"):
        Embedder.load("acme/embedding")
    assert time.perf_counter() - started < 2


@pytest.mark.usefixtures("empty_cache")
def test_a_model_unknown_to_the_hub_is_called_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.errors import RepositoryNotFoundError

    def refuse(*_: object, **__: object) -> None:
        raise RepositoryNotFoundError.__new__(RepositoryNotFoundError)

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", refuse)
    with pytest.raises(ModelNotFoundError, match="the hub does not have it"):
        Embedder.load("acme/embedding")


def test_a_reachable_hub_is_asked_for_the_files_that_are_read(tiny: Path, empty_cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from huggingface_hub.utils.tqdm import are_progress_bars_disabled

    asked: list[tuple[str, list[str], bool]] = []

    def download(repository: str, *, allow_patterns: list[str]) -> str:
        asked.append((repository, allow_patterns, are_progress_bars_disabled()))
        return str(cache_as(empty_cache, repository, tiny))

    monkeypatch.setattr("huggingface_hub.HfApi.model_info", lambda *_, **__: None)
    monkeypatch.setattr("huggingface_hub.snapshot_download", download)
    before = are_progress_bars_disabled()
    for _ in range(2):
        assert Embedder.load("acme/embedding", device="cpu").model == "acme/embedding"
    files = ["config.json", "tokenizer.json", "model.safetensors.index.json", "*.safetensors"]
    assert asked == [("acme/embedding", files, True)]
    assert are_progress_bars_disabled() == before


@pytest.mark.parametrize("name", ["./missing", "/missing/folder", "missing", "a/b/c", "~/missing-folder"])
def test_a_missing_folder_is_not_looked_up_on_the_hub(name: str, no_network: list[object]) -> None:
    with pytest.raises(ModelNotFoundError, match=r"no folder.*missing|no folder.*a/b/c"):
        Embedder.load(name)
    assert no_network == []


@pytest.mark.parametrize("name", ["", None, 7])
def test_a_model_must_have_a_name(name: str) -> None:
    with pytest.raises(ConfigurationError, match="by its name"):
        Embedder.load(name)


def test_a_local_folder_needs_no_network(tiny: Path, no_network: list[object]) -> None:
    Embedder.load(str(tiny), device="cpu").embed_documents(["keys"])
    Reranker.load(str(tiny), device="cpu").score("keys", ["locks"])
    assert no_network == []


def test_a_relative_folder_is_named_absolutely(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tiny.parent)
    assert Embedder.load(tiny.name, device="cpu").model == str(tiny)


def test_a_cached_model_needs_no_network_and_is_the_same_as_its_local_copy(tiny: Path, empty_cache: Path, no_network: list[object]) -> None:
    cache_as(empty_cache, "acme/embedding", tiny)
    cached, local = Embedder.load("acme/embedding", device="cpu"), Embedder.load(str(tiny), device="cpu")
    assert cached.model == "acme/embedding"
    assert cached.fingerprint == local.fingerprint
    assert no_network == []


@pytest.mark.usefixtures("no_network")
def test_half_a_cached_model_is_not_taken(tiny: Path, empty_cache: Path) -> None:
    (cache_as(empty_cache, "acme/embedding", tiny) / "model.safetensors").unlink()
    with pytest.raises(ModelNotFoundError, match="could not be fetched"):
        Embedder.load("acme/embedding")


def test_loading_is_quiet_and_leaves_the_settings_of_transformers(
    tiny: Path, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    from transformers.utils import logging as transformers_logging

    before = transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()
    with caplog.at_level(logging.WARNING):
        Reranker.load(str(tiny), device="cpu")
    out, err = capfd.readouterr()
    assert (out, err, caplog.text) == ("", "", "")
    assert (transformers_logging.get_verbosity(), transformers_logging.is_progress_bar_enabled()) == before


def rewrite(folder: Path, change: Callable[[dict[str, torch.Tensor]], dict[str, torch.Tensor]]) -> None:
    save_file(change(load_file(folder / "model.safetensors")), folder / "model.safetensors", metadata={"format": "pt"})


def configure(folder: Path, **values: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **values}))


def split_into_shards(folder: Path) -> None:
    tensors = sorted(load_file(folder / "model.safetensors").items())
    (folder / "model.safetensors").unlink()
    parts = {"model-00001-of-00002.safetensors": tensors[::2], "model-00002-of-00002.safetensors": tensors[1::2]}
    for name, part in parts.items():
        save_file(dict(part), folder / name, metadata={"format": "pt"})
    weight_map = {key: name for name, part in parts.items() for key, _ in part}
    (folder / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no-config": (lambda folder: (folder / "config.json").unlink(), r"config\.json is missing"),
    "damaged-config": (lambda folder: (folder / "config.json").write_text("{"), r"config\.json cannot be read as JSON"),
    "list-config": (lambda folder: (folder / "config.json").write_text("[]"), r"config\.json does not hold a JSON object"),
    "other-model": (lambda folder: configure(folder, model_type="bert"), r"config\.json describes a model of type 'bert'"),
    "config-of-wrong-type": (lambda folder: configure(folder, num_hidden_layers="two"), "cannot be loaded"),
    "no-tokenizer": (lambda folder: (folder / "tokenizer.json").unlink(), r"tokenizer\.json is missing"),
    "damaged-tokenizer": (lambda folder: (folder / "tokenizer.json").write_text('{"model": 3}'), r"tokenizer\.json is not a tokenizer"),
    "no-weights": (lambda folder: (folder / "model.safetensors").unlink(), r"neither model\.safetensors nor"),
    "empty-weights": (lambda folder: (folder / "model.safetensors").write_bytes(b""), r"model\.safetensors is damaged"),
    "pointer-instead-of-weights": (
        lambda folder: (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0"),
        r"model\.safetensors is damaged",
    ),
    "cut-weights": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes()[:-100]),
        r"model\.safetensors is damaged or incomplete: it has \d+ bytes and should have \d+",
    ),
    "longer-weights": (
        lambda folder: (folder / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes() + b"x"),
        r"model\.safetensors is damaged",
    ),
    "missing-tensor": (
        lambda folder: rewrite(folder, lambda tensors: {name: tensors[name] for name in tensors if "layers.1.mlp.up" not in name}),
        r"missing or of another shape: .*layers\.1\.mlp\.up_proj",
    ),
    "misshapen-tensor": (
        lambda folder: rewrite(folder, lambda tensors: tensors | {"model.norm.weight": torch.ones(32)}),
        "norm.weight",
    ),
    "no-embeddings": (
        lambda folder: rewrite(folder, lambda tensors: {name: tensors[name] for name in tensors if "embed" not in name}),
        "no token embeddings",
    ),
    "small-vocabulary": (
        lambda folder: rewrite(
            folder, lambda tensors: tensors | {"model.embed_tokens.weight": tensors["model.embed_tokens.weight"][:99].clone()}
        ),
        "the weights know 99",
    ),
    "missing-shard": (
        lambda folder: (split_into_shards(folder), (folder / "model-00002-of-00002.safetensors").unlink()),
        r"lacks model-00002-of-00002\.safetensors",
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_folder_is_refused_by_the_name_of_the_file(folder: Path, case: str) -> None:
    destroy, message = BROKEN[case]
    destroy(folder)
    with pytest.raises(ModelFormatError, match=message) as caught:
        Embedder.load(str(folder), device="cpu")
    assert str(folder) in str(caught.value)


def test_shards_are_read_and_have_the_same_revision(tiny: Path, folder: Path) -> None:
    split_into_shards(folder)
    whole, split = Embedder.load(str(tiny), device="cpu"), Embedder.load(str(folder), device="cpu")
    np.testing.assert_array_equal(whole.embed_documents(["keys"]), split.embed_documents(["keys"]))
    assert whole.fingerprint == split.fingerprint


def test_revision_follows_the_weights_and_nothing_else(tiny: Path, folder: Path) -> None:
    revision = Checkpoint.open(tiny).revision
    (folder / "README.md").write_text("changed")
    assert Checkpoint.open(folder).revision == revision
    name = "model.layers.1.self_attn.k_norm.weight"
    rewrite(folder, lambda tensors: tensors | {name: tensors[name] + 1e-3})
    assert Checkpoint.open(folder).revision != revision


def test_revision_of_a_large_file_is_sampled_and_still_sees_training(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen3_rag.models.checkpoint._WHOLE", 0)
    folder = Path(shutil.copytree(tiny, tmp_path / "large"))
    name = "model.embed_tokens.weight"
    rewrite(folder, lambda tensors: tensors | {name: torch.zeros(2048, 64)})
    before = Checkpoint.open(folder).revision
    rewrite(folder, lambda tensors: tensors | {name: tensors[name] + 1e-6})
    assert Checkpoint.open(folder).revision != before


def test_a_known_model_is_refused_for_what_it_is_not(no_network: list[object]) -> None:
    with pytest.raises(ConfigurationError, match=r"cannot be used as reranker.*'Qwen/Qwen3-Reranker-4B'"):
        Reranker.load("Qwen/Qwen3-Embedding-4B")
    with pytest.raises(ConfigurationError, match="cannot be used as embedder"):
        Embedder.load("Qwen/Qwen3-Reranker-4B")
    assert no_network == []


def test_the_built_in_reranker_says_how_it_is_built_where_it_is_not_there(
    tmp_path: Path, no_network: list[object], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("qwen3_rag.models.registry.nano_folder", lambda kind: tmp_path / kind)
    with pytest.raises(ConfigurationError, match=r"not part of this installation.*reranker_build --output.*off"):
        Reranker.load("nano")
    assert no_network == []


def test_without_torch_the_extra_is_named(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "torch" else real(name, *rest))
    with pytest.raises(MissingExtraError, match=r"qwen3-rag\[torch\]"):
        Embedder.load(str(tiny))


def test_the_room_is_light_until_a_model_is_loaded() -> None:
    code = (
        "import sys, qwen3_rag.models as m\n"
        "m.known_models, m.default_reranker_for, m.Embedder, m.Reranker\n"
        "m.known_models()\n"
        "print([name for name in ('torch', 'transformers', 'langchain', 'llama_index') if name in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
