"""Whole runs: several processes equal one, a killed run equals an unbroken one, and what a run writes can be used."""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from rich.console import Console
from safetensors.torch import load_file, save_file

from qwen3_rag.errors import ConfigurationError, TrainingDataError, TrainingError
from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.models.packing import Item
from qwen3_rag.models.reranker import Reranker
from qwen3_rag.training import run
from qwen3_rag.training.batches import Batches, plan
from qwen3_rag.training.embedder_trainer import EmbedderTrainer
from qwen3_rag.training.evaluation import Figures, judge_embedder
from qwen3_rag.training.network import Network
from qwen3_rag.training.pairs import Pair, Task, write_pairs
from qwen3_rag.training.run import train_embedder, train_reranker
from qwen3_rag.training.settings import EmbedderTraining, RerankerTraining
from qwen3_rag.training.trainer import PackedTrainer
from qwen3_rag.training.weights import read_record
from tests.models.tiny_qwen3 import make_checkpoint
from tests.training.runs import finish, losses, make_pairs, make_settings, start, told, weights

QUIET = Console(quiet=True)


def embedder_settings(folder: Path, model: Path, output: str, **changed: object) -> EmbedderTraining:
    return TypeAdapter(EmbedderTraining).validate_python(make_settings(folder, model, output, **changed))


def reranker_settings(folder: Path, model: Path, output: str, **changed: object) -> RerankerTraining:
    return TypeAdapter(RerankerTraining).validate_python(make_settings(folder, model, output, **changed))


def test_an_embedder_is_trained_and_can_be_loaded(tmp_path: Path, tiny: Path):
    settings = embedder_settings(tmp_path, tiny, "run", evaluate_every=1000)
    place = train_embedder(settings, QUIET)
    assert place == tmp_path / "run" / "model"
    lost = losses(tmp_path / "run")
    assert list(lost) == list(range(1, 16))
    assert np.mean([lost[step] for step in range(11, 16)]) < np.mean([lost[step] for step in range(1, 6)])
    vectors = Embedder.load(str(place)).embed_documents(["keys are rotated"])
    assert np.isfinite(vectors).all()
    assert not np.allclose(vectors, Embedder.load(str(tiny)).embed_documents(["keys are rotated"]), atol=1e-3)
    record = json.loads((place / "training.json").read_text())
    assert (record["kind"], record["base"], record["steps"], record["data"]["leaked"]) == ("embedder", str(tiny), 15, 0)
    assert record["dev"]["before"].keys() == record["dev"]["after"].keys() == {"ndcg@10", "recall@10", "questions"}
    before = (place / "model.safetensors").stat().st_mtime_ns
    assert train_embedder(settings, QUIET) == place
    assert (place / "model.safetensors").stat().st_mtime_ns == before
    with pytest.raises(ConfigurationError, match="other settings"):
        train_embedder(embedder_settings(tmp_path, tiny, "run", learning_rate=1e-4), QUIET)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_weights_have_rates_of_their_own(tmp_path: Path, tiny: Path, dtype: str):
    once = {"max_steps": 1, "weight_decay": 0.0, "warmup": 0.0, "schedule": "constant_with_warmup", "evaluate_every": 1000}
    rates = {"embed_tokens": 3.0, "layers.1.self_attn.q_": 0.0, "layers.1.": 2.0}
    place = train_embedder(embedder_settings(tmp_path, tiny, "run", rates=rates, dtype=dtype, **once), QUIET)
    before, after = (Network.load(str(folder), ModelKind.EMBEDDER).trained() for folder in (tiny, place))
    moved = {name.removeprefix("body."): float((after[name] - before[name]).abs().max()) for name in before}
    # AdamW's first step is the learning rate, whatever the gradient.
    assert moved["embed_tokens.weight"] == pytest.approx(3e-3, rel=0.05)
    assert moved["layers.0.self_attn.q_proj.weight"] == pytest.approx(1e-3, rel=0.05)
    assert moved["layers.1.self_attn.k_proj.weight"] == pytest.approx(2e-3, rel=0.05)
    assert moved["layers.1.self_attn.q_proj.weight"] == moved["layers.1.self_attn.q_norm.weight"] == 0


def test_frozen_weights_get_no_gradients_in_bfloat16(tiny: Path):
    network = Network.load(str(tiny), ModelKind.EMBEDDER)
    network.compute_in(torch.bfloat16)
    network.freeze(["body.embed_tokens.weight"])
    with network.step() as encode:
        encode([Item([1, 2, 3])]).float().sum().backward()
    assert [name for name, parameter in network.named_parameters() if parameter.grad is None] == ["body.embed_tokens.weight"]


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("rank", [0, 4])
def test_gradient_checkpointing_computes_layers_again(tmp_path: Path, tiny: Path, dtype: str, rank: int):
    network = Network.load(str(tiny), ModelKind.EMBEDDER)
    if rank:
        network.add_adapters(rank, None, 0.0, seed=0)
    network.compute_in(getattr(torch, dtype))
    pairs = make_pairs()
    settings = embedder_settings(tmp_path, tiny, "run", gradient_checkpointing=True)
    trainer = EmbedderTrainer(network, settings, Batches(pairs, plan(pairs, 8, 1), 2, 0))
    computed: list[bool] = []
    network.running.layers[0].mlp.register_forward_pre_hook(lambda *_: computed.append(True))
    trainer.training_step(network, {"examples": trainer.train_dataset[0]})
    assert len(computed) == 2
    assert network.eval().running.training is False


def test_a_rate_of_no_weight_is_named(tmp_path: Path, tiny: Path):
    with pytest.raises(ConfigurationError, match=r"has 'embeddings' in its name. Names are like 'body\."):
        train_embedder(embedder_settings(tmp_path, tiny, "run", rates={"embeddings": 0.5}), QUIET)
    with pytest.raises(ConfigurationError, match="above 0"):
        train_embedder(embedder_settings(tmp_path, tiny, "none", rates={"": 0.0}), QUIET)


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 256},
        {"dims": [9999]},
        {"rates": {"embeddings": 0.5}},
        {"distillation_weight": 1.0},
        {"sources_per_batch": 2},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_a_run_whose_settings_do_not_fit_leaves_its_folder_to_the_corrected_one(tmp_path: Path, tiny: Path, wrong: dict[str, object]):
    with pytest.raises((ConfigurationError, TrainingDataError)):
        train_embedder(embedder_settings(tmp_path, tiny, "run", max_steps=1, **wrong), QUIET)
    assert train_embedder(embedder_settings(tmp_path, tiny, "run", max_steps=1), QUIET).is_dir()


def test_a_run_says_what_it_does_not_draw(tmp_path: Path, tiny: Path):
    once = {"max_steps": 1, "evaluate_every": 1000}
    for classes, expected in ((0, "4 of 120 draws are left out: they do not fill a batch of 29."), (40, r"(95 classification of mail)")):
        settings = embedder_settings(tmp_path, tiny, f"run{classes}", batch_size=29, **once)
        labelled = [Pair(f"mail {number}", f"label {number % 5}", task=Task.CLASSIFICATION, source="mail") for number in range(classes)]
        write_pairs(tmp_path / "pairs.jsonl", [*make_pairs(), *labelled])
        console = Console(file=StringIO())
        train_embedder(settings, console)
        assert expected in console.file.getvalue()


def test_a_reranker_learns_what_it_is_taught(tmp_path: Path, tiny: Path):
    place = train_reranker(reranker_settings(tmp_path, tiny, "run", epochs=4, evaluate_every=1000, candidates=5), QUIET)
    lost = losses(tmp_path / "run")
    assert lost[max(lost)] < 0.8 * lost[1]
    scores = Reranker.load(str(place)).score("keys", ["keys", "days"])
    assert ((scores > 0) & (scores < 1)).all()


def test_a_reranker_follows_a_teachers_scores(tmp_path: Path, tiny: Path):
    changed = {"answer_weight": 0.0, "distillation_weight": 1.0, "max_steps": 1, "evaluate_every": 1000, "candidates": 5}
    lost = []
    for top in (0.0, 5.0):
        settings = reranker_settings(tmp_path, tiny, f"run{top}", **changed)
        write_pairs(tmp_path / "pairs.jsonl", [replace(pair, extra={"scores": [top] * (1 + len(pair.negatives))}) for pair in make_pairs()])
        train_reranker(settings, QUIET)
        lost.append(losses(tmp_path / f"run{top}")[1])
    assert lost[0] == pytest.approx(lost[1]) != 0
    write_pairs(tmp_path / "pairs.jsonl", [replace(pair, extra={"scores": [5.0] + [0.0] * len(pair.negatives)}) for pair in make_pairs()])
    train_reranker(reranker_settings(tmp_path, tiny, "other", **changed), QUIET)
    assert abs(losses(tmp_path / "other")[1] - lost[0]) > 0.1


@pytest.mark.parametrize("kind", ["embedder", "reranker"])
def test_a_head_of_its_own_and_low_rank_adapters(tmp_path: Path, kind: str):
    base = make_checkpoint(tmp_path / "untied", tied=False, context=1024, dtype=torch.bfloat16)
    changed = {"evaluate_every": 1000, "max_steps": 2, "dtype": "float32"}
    stored = load_file(base / "model.safetensors")
    for rank in (0, 4):
        if kind == "embedder":
            train_embedder(embedder_settings(tmp_path, base, f"run{rank}", lora_rank=rank, **changed), QUIET)
        else:
            train_reranker(reranker_settings(tmp_path, base, f"run{rank}", lora_rank=rank, **changed), QUIET)
        trained = weights(tmp_path / f"run{rank}")
        assert trained.keys() == stored.keys()
        assert {tensor.dtype for tensor in trained.values()} == {torch.bfloat16}
        moved = {name for name in stored if not torch.equal(stored[name], trained[name])}
        assert "model.layers.0.self_attn.q_proj.weight" in moved
        assert ("model.embed_tokens.weight" in moved) == (rank == 0)
        rows = (stored["lm_head.weight"] != trained["lm_head.weight"]).any(1).sum().item()
        assert rows == (2 if kind == "reranker" and rank == 0 else 0)


def test_what_was_stored_in_eight_bits_is_written_in_sixteen(tmp_path: Path, tiny: Path):
    stored = load_file(tiny / "model.safetensors")
    base = shutil.copytree(tiny, tmp_path / "eight")
    save_file({name: tensor.to(torch.float8_e4m3fn) for name, tensor in stored.items()}, base / "model.safetensors", {"format": "pt"})
    train_embedder(embedder_settings(tmp_path, base, "run", max_steps=2, learning_rate=1e-5, evaluate_every=1000), QUIET)
    trained = weights(tmp_path / "run")
    assert {tensor.dtype for tensor in trained.values()} == {torch.float16}
    moved = trained["model.layers.0.mlp.up_proj.weight"] - stored["model.layers.0.mlp.up_proj.weight"].to(torch.float8_e4m3fn).half()
    assert 0 < moved.abs().max() < 1e-4


def test_gradient_checkpointing_and_parts_change_nothing(tmp_path: Path, tiny: Path):
    changed = {"max_steps": 4, "evaluate_every": 1000}
    train_embedder(embedder_settings(tmp_path, tiny, "plain", **changed), QUIET)
    train_embedder(embedder_settings(tmp_path, tiny, "parts", part_tokens=100, gradient_checkpointing=True, **changed), QUIET)
    assert losses(tmp_path / "parts") == pytest.approx(losses(tmp_path / "plain"), abs=1e-5)


@pytest.mark.parametrize("rank", [0, 4])
def test_bfloat16_follows_float32_which_is_what_is_kept(tiny: Path, rank: int):
    items = [Item([1, 2, 3, 4, 5], 3), Item([1, 2, 3, 9], 3), Item(list(range(20, 60)))]
    gradients = []
    for dtype in (torch.float32, torch.bfloat16):
        network = Network.load(str(tiny), ModelKind.EMBEDDER)
        if rank:
            network.add_adapters(rank, None, 0.0, seed=1)
            for name, parameter in network.named_parameters():
                if "lora_B" in name:
                    torch.nn.init.constant_(parameter, 0.01)
        network.compute_in(dtype)
        with network.step() as encode:
            assert encode(items).dtype == dtype
            encode(items).float().pow(3).sum().backward()
        trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
        assert {parameter.dtype for parameter in trained} == {torch.float32}
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in trained]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.99


def test_a_run_in_bfloat16(tmp_path: Path, tiny: Path):
    changed = {"max_steps": 3, "evaluate_every": 2, "learning_rate": 1e-4}
    for dtype in ("float32", "bfloat16"):
        train_embedder(embedder_settings(tmp_path, tiny, dtype, dtype=dtype, **changed), QUIET)
    half, whole = losses(tmp_path / "bfloat16"), losses(tmp_path / "float32")
    assert half[1] == pytest.approx(whole[1], rel=0.05)
    assert half[1] != whole[1]
    moved = weights(tmp_path / "bfloat16")["model.embed_tokens.weight"] - weights(tmp_path / "float32")["model.embed_tokens.weight"]
    assert moved.abs().max() < 1e-3


def stop_at(monkeypatch: pytest.MonkeyPatch, wanted: int) -> None:
    """Interrupt the next run in its step after `wanted`."""
    step = PackedTrainer.training_step

    def interrupted(self: PackedTrainer, *arguments: Any) -> torch.Tensor:
        if self.state.global_step == wanted:
            monkeypatch.setattr(PackedTrainer, "training_step", step)
            raise KeyboardInterrupt
        return step(self, *arguments)

    monkeypatch.setattr(PackedTrainer, "training_step", interrupted)


def test_a_run_goes_on_behind_a_torn_log(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch):
    settings = embedder_settings(tmp_path, tiny, "run", max_steps=6, evaluate_every=1000)
    stop_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train_embedder(settings, QUIET)
    log = tmp_path / "run" / "log.jsonl"
    whole = log.read_text(encoding="utf-8")
    log.write_bytes(whole.encode() + b'{"step": 5, "sec\xc3\x00')
    train_embedder(settings, QUIET)
    assert list(losses(tmp_path / "run")) == [1, 2, 3, 4, 5, 6]
    assert log.read_text(encoding="utf-8").startswith("\n".join(whole.split("\n")[:3]))


@pytest.mark.parametrize("evaluate_every", [2, 1000])
def test_what_was_trained_is_judged_once(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch, evaluate_every: int):
    judged: list[Figures] = []

    def counted(*arguments: Any) -> Figures:
        judged.append(judge_embedder(*arguments))
        return judged[-1]

    monkeypatch.setattr(run, "judge_embedder", counted)
    settings = embedder_settings(tmp_path, tiny, "run", max_steps=4, evaluate_every=evaluate_every)
    record = read_record(train_embedder(settings, QUIET))
    assert len(judged) == (3 if evaluate_every == 2 else 2)
    assert record["dev"] == {"before": judged[0].to_dict(), "after": judged[-1].to_dict()}
    shutil.rmtree(tmp_path / "run" / "model")
    again = read_record(train_embedder(settings, QUIET))
    assert again["dev"] == record["dev"]


@pytest.mark.parametrize("evaluate_every", [1, 1000], ids=["judged", "its loss"])
@pytest.mark.parametrize(
    ("train", "settings"),
    [(train_embedder, embedder_settings), (train_reranker, reranker_settings)],
    ids=["embedder", "reranker"],
)
def test_a_run_that_diverges_names_the_learning_rate(
    tmp_path: Path, tiny: Path, train: Callable[..., Path], settings: Callable[..., Any], evaluate_every: int
):
    wild = {"learning_rate": 1e38, "clip": 0, "warmup": 0.0, "max_steps": 4, "evaluate_every": evaluate_every}
    step = 1 if evaluate_every == 1 else 2
    with pytest.raises(TrainingError, match=rf"step {step} with learning_rate 1e\+38.*Lower learning_rate"):
        train(settings(tmp_path, tiny, "run", **wild), QUIET)


def test_how_often_is_logged_and_saved_may_change_when_a_run_goes_on(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch):
    changed = {"max_steps": 9, "evaluate_every": 1000}
    stop_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train_embedder(embedder_settings(tmp_path, tiny, "run", log_every=1, save_every=3, **changed), QUIET)
    train_embedder(embedder_settings(tmp_path, tiny, "run", log_every=4, save_every=4, **changed), QUIET)
    assert list(losses(tmp_path / "run")) == [1, 2, 3, 4, 8, 9]
    assert {folder.name for folder in (tmp_path / "run").glob("checkpoint-*")} == {"checkpoint-8", "checkpoint-9"}


def test_copies_of_checkpoints_are_the_users_own(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch):
    changed = {"max_steps": 12, "save_every": 3, "evaluate_every": 1000}
    stop_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train_embedder(embedder_settings(tmp_path, tiny, "run", **changed), QUIET)
    run = tmp_path / "run"
    shutil.copytree(run / "checkpoint-3", run / "checkpoint-3-good")
    (run / "checkpoint-notes").mkdir()
    (run / "checkpoint-torn").write_text("a file", encoding="utf-8")
    train_embedder(embedder_settings(tmp_path, tiny, "run", **changed), QUIET)
    names = {path.name for path in run.glob("checkpoint-*")}
    assert names == {"checkpoint-3-good", "checkpoint-notes", "checkpoint-torn", "checkpoint-9", "checkpoint-12"}


def test_a_run_does_not_go_on_with_another_dev_set(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch):
    settings = embedder_settings(tmp_path, tiny, "run", max_steps=6, evaluate_every=1000)
    stop_at(monkeypatch, 4)
    with pytest.raises(KeyboardInterrupt):
        train_embedder(settings, QUIET)
    before = (tmp_path / "dev.jsonl").read_bytes()
    write_pairs(tmp_path / "dev.jsonl", [Pair("something else", "another passage")])
    with pytest.raises(ConfigurationError, match="dev questions"):
        train_embedder(settings, QUIET)
    (tmp_path / "dev.jsonl").write_bytes(before)
    train_embedder(settings, QUIET)


@pytest.mark.parametrize(
    ("kind", "changed"),
    [
        ("embedder", {}),
        ("embedder", {"distillation_weight": 0.5, "teacher": "nano", "part_tokens": 60, "lora_rank": 4, "learning_rate": 1e-3}),
        ("reranker", {"candidates": 5}),
    ],
    ids=["embedder", "distilled adapters in parts", "reranker"],
)
@pytest.mark.slow
def test_two_processes_equal_one(tmp_path: Path, tiny: Path, kind: str, changed: dict[str, object]):
    finish(tmp_path, kind, make_settings(tmp_path, tiny, "one", max_steps=6, **changed))
    finish(tmp_path, kind, make_settings(tmp_path, tiny, "two", max_steps=6, **changed), processes=2)
    assert losses(tmp_path / "two") == pytest.approx(losses(tmp_path / "one"), abs=1e-5)
    expected = weights(tmp_path / "one")
    for name, weight in weights(tmp_path / "two").items():
        torch.testing.assert_close(weight, expected[name], atol=1e-5, rtol=1e-5, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["embedder", "reranker"])
def test_a_killed_run_ends_as_an_unbroken_one(tmp_path: Path, tiny: Path, kind: str):
    changed = (
        {"lora_rank": 4, "lora_dropout": 0.1, "epochs": 4, "candidates": 5}
        if kind == "reranker"
        else {"epochs": 4, "rates": {"embed_tokens": 2.0, "layers.1": 0.0}}
    )
    finish(tmp_path, kind, make_settings(tmp_path, tiny, "unbroken", **changed))
    broken = make_settings(tmp_path, tiny, "broken", **changed)
    for wanted in ("log.jsonl", "checkpoint-6", "checkpoint-15/optimizer.pt"):
        child = start(tmp_path, kind, broken)
        while child.poll() is None and not (tmp_path / "broken" / wanted).exists():
            time.sleep(0.002)
        child.send_signal(signal.SIGKILL)
        assert child.wait() == -signal.SIGKILL, told(broken).read_text()
    said = finish(tmp_path, kind, broken)
    assert "goes on from checkpoint-" in said
    assert losses(tmp_path / "broken") == pytest.approx(losses(tmp_path / "unbroken"), abs=1e-6)
    expected = weights(tmp_path / "unbroken")
    for name, weight in weights(tmp_path / "broken").items():
        torch.testing.assert_close(weight, expected[name], atol=1e-6, rtol=1e-6)


def test_compiling_and_computing_again_exclude_each_other(tmp_path: Path, tiny: Path):
    settings = embedder_settings(tmp_path, tiny, "run", compiled=True, gradient_checkpointing=True)
    with pytest.raises(ConfigurationError, match="`compiled` keeps activations"):
        train_embedder(settings, QUIET)


@pytest.mark.filterwarnings("ignore:.*torch.jit.script_method:DeprecationWarning")
def test_a_compiled_run_learns_what_another_does(tmp_path: Path, tiny: Path):
    runs = [embedder_settings(tmp_path, tiny, name, compiled=compiled) for name, compiled in (("plain", False), ("compiled", True))]
    with torch.compiler.set_stance("force_eager"):
        plain, compiled = (losses(train_embedder(settings, QUIET).parent) for settings in runs)
    assert compiled == pytest.approx(plain, abs=1e-4)
