"""What the trainers put together of losses, teachers and batches."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from torch.nn import functional

from qwen3_rag.errors import ConfigurationError, MissingExtraError, TrainingDataError
from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.training.batches import Batches, EmbedderBatch, RerankerBatch, plan
from qwen3_rag.training.embedder_trainer import EmbedderTrainer, contrast_of, matryoshka_dims
from qwen3_rag.training.losses import ABSENT, contrastive_loss, vector_distillation_loss
from qwen3_rag.training.network import Network, require_training, select_training_dtype
from qwen3_rag.training.pairs import Pair
from qwen3_rag.training.reranker_trainer import RerankerTrainer
from qwen3_rag.training.settings import EmbedderTraining, RerankerTraining
from qwen3_rag.training.teachers import ModelTeacher, StoredTeacher, open_teacher
from tests.training.runs import make_pairs, make_settings

BATCH = EmbedderBatch([], [11, 12, 13], [[21], [], [31, 32]])


def vectors(count: int, dim: int = 64, seed: int = 0) -> torch.Tensor:
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed))


def embedder_settings(folder: Path, model: Path, **changed: object) -> EmbedderTraining:
    return TypeAdapter(EmbedderTraining).validate_python(make_settings(folder, model, "run", **changed))


def test_ragged_negatives_are_where_they_belong():
    rows = vectors(9).requires_grad_()
    contrast = contrast_of(rows, BATCH)
    assert torch.equal(contrast.queries, rows[:3])
    assert torch.equal(contrast.positives, rows[3:6])
    assert contrast.negative_documents.tolist() == [[21, ABSENT], [ABSENT, ABSENT], [31, 32]]
    assert torch.equal(contrast.negatives[0, 0], rows[6])
    assert torch.equal(contrast.negatives[2], rows[7:9])
    assert not contrast.negatives[1].any()
    contrastive_loss(contrast, 0.1).backward()
    assert torch.isfinite(rows.grad).all()
    assert contrast_of(vectors(6), EmbedderBatch([], [1, 2, 3], [[], [], []])).negatives.shape == (3, 0, 64)


def test_the_embedders_loss_is_its_weighted_terms(tmp_path: Path, tiny: Path):
    settings = embedder_settings(
        tmp_path,
        tiny,
        dims=[64, 32],
        dim_weights=[1, 0.5],
        contrastive_weight=2,
        distillation_weight=0.25,
        direct_weight=3,
        temperature=0.1,
    )
    pairs = make_pairs()
    network = Network.load(str(tiny), ModelKind.EMBEDDER)
    trainer = EmbedderTrainer(network, settings, Batches(pairs, plan(pairs, 8, 1), 2, 0))
    rows, taught = vectors(9), vectors(6, seed=1)
    contrast = contrast_of(rows, BATCH)
    expected = torch.zeros(())
    for dim, weight in ((64, 1.0), (32, 0.5)):
        expected += 2 * weight * contrastive_loss(contrast.at(dim), 0.1)
        expected += 0.25 * weight * vector_distillation_loss(rows[:6, :dim], taught, 0.05, 3)
    torch.testing.assert_close(trainer.loss(rows, BATCH, taught), expected, atol=1e-5, rtol=1e-5)
    alike = torch.cat([taught, vectors(6, seed=2)], dim=1)
    other = sum(vector_distillation_loss(rows[:6, :dim], taught, 0.05, 3, alike) * weight for dim, weight in ((64, 1.0), (32, 0.5)))
    same = sum(vector_distillation_loss(rows[:6, :dim], taught, 0.05, 3) * weight for dim, weight in ((64, 1.0), (32, 0.5)))
    torch.testing.assert_close(trainer.loss(rows, BATCH, taught, alike), expected + 0.25 * (other - same), atol=1e-5, rtol=1e-5)


def test_the_rerankers_loss_is_its_weighted_terms(tmp_path: Path, tiny: Path):
    values = make_settings(tmp_path, tiny, "run", answer_weight=2, distillation_weight=0.5, distillation_temperature=2)
    pairs = make_pairs()
    network = Network.load(str(tiny), ModelKind.RERANKER)
    data = Batches(pairs, plan(pairs, 8, 1), 2, 0)
    trainer = RerankerTrainer(network, TypeAdapter(RerankerTraining).validate_python(values), data)
    batch = RerankerBatch([], [2, 1, 3], [True, False, True, True, False, False], [(3.0, 1.0), None, (2.0, 0.0, -1.0)])
    states = vectors(6)
    yes, no = (network.body.embed_tokens.weight[network.tokenizer.word_id(word)] for word in ("yes", "no"))
    logits = (states @ (yes - no)).detach()
    expected = torch.zeros(())
    for logit, label in zip(logits, batch.relevant, strict=True):
        expected -= 2 / 6 * torch.log(torch.sigmoid(logit if label else -logit))
    for mine, scores in ((logits[:2], batch.scores[0]), (logits[3:], batch.scores[2])):
        wanted = functional.softmax(torch.tensor(scores) / 2, 0)
        expected += 0.5 / 2 * (wanted * (wanted / functional.softmax(mine / 2, 0)).log()).sum()
    torch.testing.assert_close(trainer.loss(states, batch).detach(), expected, atol=1e-5, rtol=1e-5)


def test_the_teacher_is_asked_as_the_embedder_is(tmp_path: Path, tiny: Path):
    pairs = [Pair(f"q{number}", f"d{number}", instruction="Find rules" if number % 2 else None) for number in range(8)]
    data = Batches(pairs, plan(pairs, 8, 1), 2, 0)
    network = Network.load(str(tiny), ModelKind.EMBEDDER)
    itself = ModelTeacher(Embedder.load(str(tiny), dtype="float32"))
    settings = embedder_settings(tmp_path, tiny, dims=[64], contrastive_weight=0, distillation_weight=1)
    items, loss = EmbedderTrainer(network, settings, data, itself).prepared(data[0])
    assert loss(network(items)).item() == pytest.approx(0, abs=1e-4)


def test_prefixes(tmp_path: Path, tiny: Path):
    assert dict(matryoshka_dims(embedder_settings(tmp_path, tiny), 320)) == {320: 1.0, 160: 1.0, 80: 1.0, 40: 1.0}
    assert dict(matryoshka_dims(embedder_settings(tmp_path, tiny), 64)) == {64: 1.0, 32: 1.0}
    for wrong in ({"dims": [128]}, {"dims": [64, 32], "dim_weights": [1]}):
        with pytest.raises(ConfigurationError, match="at most 64"):
            matryoshka_dims(embedder_settings(tmp_path, tiny, **wrong), 64)


def test_teachers(tmp_path: Path, tiny: Path):
    embedder = Embedder.load(str(tiny))
    asked = (("a", None), ("b", "Find b"), ("c", None), ("a", "Find b"))
    found = ModelTeacher(embedder)([Pair(query, f"d{place}", instruction=wanted) for place, (query, wanted) in enumerate(asked)])
    expected = [embedder.embed_queries([query], wanted)[0] for query, wanted in asked]
    np.testing.assert_allclose(found[:4], np.stack(expected), atol=1e-5)
    np.testing.assert_allclose(found[4:], embedder.embed_documents(["d0", "d1", "d2", "d3"]), atol=1e-5)
    assert not np.allclose(found[0], found[3], atol=1e-3)
    texts, rows = tmp_path / "texts.jsonl", tmp_path / "rows.npy"
    lines = (json.dumps(text, ensure_ascii=False) + "\n" for text in ("one\ntext", "an\u2028ot\u0085h\u2029er"))
    texts.write_text("".join(lines), encoding="utf-8")
    np.save(rows, np.array([[1, 2], [3, 4]], dtype=np.float16))
    teacher = StoredTeacher(texts, rows)
    np.testing.assert_array_equal(teacher([Pair("An ot h er", "one text")]), np.array([[3, 4], [1, 2]], dtype=np.float32))
    with pytest.raises(TrainingDataError, match="no vector of 'third'"):
        teacher.vectors_of(["third"])
    np.save(rows, np.zeros((3, 2)))
    with pytest.raises(TrainingDataError, match="Each line needs a row"):
        StoredTeacher(texts, rows)
    with pytest.raises(TrainingDataError, match="cannot be read"):
        StoredTeacher(texts, tmp_path / "none.npy")
    assert open_teacher(embedder_settings(tmp_path, tiny, teacher="nano")) is None
    with pytest.raises(ConfigurationError, match="needs a `teacher`"):
        open_teacher(embedder_settings(tmp_path, tiny, distillation_weight=1))


def test_what_is_computed_in():
    cpu = torch.device("cpu")
    assert select_training_dtype("auto", cpu, "F16") == select_training_dtype("float32", cpu, "BF16") == torch.float32
    assert select_training_dtype("bfloat16", cpu, "F32") == torch.bfloat16
    with pytest.raises(ConfigurationError, match="auto, float32, bfloat16"):
        select_training_dtype("float16", cpu, "F16")


def test_the_door(monkeypatch: pytest.MonkeyPatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *rest: None if name == "peft" else real(name, *rest))
    with pytest.raises(MissingExtraError, match=r"qwen3-rag\[train\]"):
        require_training()


def test_the_command_line_does_not_import_torch():
    told = "import sys, qwen3_rag.cli; print([name for name in ('torch', 'transformers', 'peft', 'openai') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_pairs_without_any_to_learn_from(tmp_path: Path, tiny: Path):
    from qwen3_rag.training.data import open_data
    from qwen3_rag.training.pairs import write_pairs

    settings = embedder_settings(tmp_path, tiny)
    write_pairs(tmp_path / "dev.jsonl", [Pair(pair.query, "other") for pair in make_pairs()])
    with pytest.raises(TrainingDataError, match="none is left"):
        open_data(settings)
    write_pairs(tmp_path / "dev.jsonl", [Pair(pair.query, "other") for pair in make_pairs()[:10]])
    data = open_data(settings)
    assert (len(data.pairs) + data.leaked, data.leaked >= 10) == (40, True)


def test_scores_are_read_where_they_are_learned_from(tmp_path: Path, tiny: Path):
    from qwen3_rag.training.data import open_data
    from qwen3_rag.training.pairs import write_pairs

    plain, taught = (
        TypeAdapter(RerankerTraining).validate_python(make_settings(tmp_path, tiny, "run", distillation_weight=weight)) for weight in (0, 1)
    )
    write_pairs(tmp_path / "pairs.jsonl", [Pair("a", "b", ("c", "c"), extra={"scores": [3, 1, 1]}), Pair("d", "e")])
    assert open_data(taught).scores == [(3.0, 1.0), None]
    assert open_data(plain).scores is open_data(embedder_settings(tmp_path, tiny)).scores is None
    write_pairs(tmp_path / "pairs.jsonl", [Pair("d", "e"), Pair("a", "b", ("c", "c"), extra={"scores": [3, 1]})])
    with pytest.raises(TrainingDataError, match="query 'a' is not a list of 3 numbers"):
        open_data(taught)
    assert len(open_data(plain).pairs) == len(open_data(embedder_settings(tmp_path, tiny)).pairs) == 2
