"""Merging, the gate, and that an export means the same to transformers, sentence-transformers and this project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from io import StringIO
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console
from safetensors.torch import load_file, save_file
from transformers import AutoModel, AutoTokenizer
from typer.testing import CliRunner

from qwen3_rag import cli
from qwen3_rag.errors import ConfigurationError, ModelNotFoundError, WorseModelError
from qwen3_rag.models.checkpoint import Checkpoint
from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.hub import ModelKind, nano_folder
from qwen3_rag.models.prompts import query_text
from qwen3_rag.models.reranker import Reranker
from qwen3_rag.training.export import export_model, merge_models
from qwen3_rag.training.merge import slerp
from qwen3_rag.training.pairs import Pair, write_pairs
from qwen3_rag.training.settings import Exporting, Merging
from qwen3_rag.training.weights import copy_description
from tests.models.tiny_qwen3 import make_checkpoint

QUIET = Console(quiet=True)
QUERIES = ["how are keys rotated?", "x", "wann wird gegessen"]
DOCUMENTS = ["Signing keys are rotated every ninety days.", "Lunch is at noon. " * 30, "é 漢字", "a"]
ENCODE = """
import json, sys
from sentence_transformers import SentenceTransformer
model = SentenceTransformer(sys.argv[1], device="cpu")
texts = json.load(open(sys.argv[2]))
found = {role: model.encode(texts[role], prompt_name=role).astype("float32").tolist() for role in ("query", "document")}
json.dump({"vectors": found, "ids": model.tokenizer(["a b"])["input_ids"][0]}, open(sys.argv[3], "w"))
"""


@pytest.fixture(scope="module")
def dev(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("dev") / "dev.jsonl"
    write_pairs(path, [Pair("how are keys rotated?", DOCUMENTS[0], (DOCUMENTS[1],)), Pair("when is lunch", DOCUMENTS[1])])
    return path


@pytest.fixture
def ruined(tmp_path: Path) -> Path:
    """nano with one vector for all tokens: it cannot tell texts apart."""
    folder = tmp_path / "ruined"
    folder.mkdir()
    copy_description(nano_folder(), folder)
    tensors = load_file(nano_folder() / "model.safetensors")
    words = tensors["embed_tokens.weight"]
    tensors["embed_tokens.weight"] = words[5000].expand_as(words).contiguous()
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder


def base(name: str, folder: Path) -> Path:
    """A checkpoint to export: nano, or one whose tokenizer already ends each text, or does not."""
    return nano_folder() if name == "nano" else make_checkpoint(folder / "base", adds_end=name == "ends texts", head=False)


def exported(source: Path, folder: Path, dev: Path) -> Path:
    settings = Exporting(checkpoint=source, output=folder / "export", base=str(source), dev=(dev,), licence="MIT", data="made up")
    return export_model(settings, QUIET)


def cosines(ours: np.ndarray, theirs: np.ndarray) -> np.ndarray:
    return (ours * theirs).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(theirs, axis=1)


@pytest.mark.parametrize("name", ["nano", "ends texts", "does not"])
def test_transformers_computes_the_same(name: str, tmp_path: Path, dev: Path):
    folder = exported(base(name, tmp_path), tmp_path, dev)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder, dtype=torch.float32)
    texts = [query_text(text) for text in QUERIES] + DOCUMENTS
    batch = tokenizer(texts, padding=True, return_tensors="pt")
    lengths = batch["attention_mask"].sum(1)
    with torch.no_grad():
        states = model(**batch).last_hidden_state
    last = lengths - 1 if tokenizer.padding_side == "right" else torch.full_like(lengths, -1)
    theirs = states[torch.arange(len(texts)), last].numpy()
    embedder = Embedder.load(str(folder), dtype="float32")
    ours = np.concatenate([embedder.embed_queries(QUERIES), embedder.embed_documents(DOCUMENTS)])
    assert cosines(ours, theirs).min() > 0.9999


@pytest.mark.parametrize("name", ["nano", "ends texts", "does not"])
def test_sentence_transformers_computes_the_same(name: str, tmp_path: Path, dev: Path):
    python = os.environ.get("QWEN3_RAG_TEST_SENTENCE_TRANSFORMERS", sys.executable)
    if python == sys.executable:
        pytest.importorskip("sentence_transformers", reason="sentence-transformers is not installed here (make bench installs it)")
    folder = exported(base(name, tmp_path), tmp_path, dev)
    texts, found = tmp_path / "texts.json", tmp_path / "found.json"
    texts.write_text(json.dumps({"query": QUERIES, "document": DOCUMENTS}), encoding="utf-8")
    subprocess.run([python, "-c", ENCODE, str(folder), str(texts), str(found)], check=True, capture_output=True)
    theirs = json.loads(found.read_text())
    embedder = Embedder.load(str(folder))
    assert cosines(np.asarray(embedder.embed_queries(QUERIES)), np.array(theirs["vectors"]["query"])).min() > 0.9999
    assert cosines(np.asarray(embedder.embed_documents(DOCUMENTS)), np.array(theirs["vectors"]["document"])).min() > 0.9999
    assert theirs["ids"].count(embedder.tokenizer.token_to_id("<|endoftext|>") or theirs["ids"][-1]) == 1


def test_a_folder_that_is_not_there_is_named(tmp_path: Path, dev: Path):
    with pytest.raises(ConfigurationError, match=r"There is no folder .*typo"):
        export_model(Exporting(checkpoint=tmp_path / "typo", output=tmp_path / "out", dev=(dev,)), QUIET)


def test_an_export_is_the_checkpoint_with_a_card(tmp_path: Path, dev: Path):
    folder = exported(nano_folder(), tmp_path, dev)
    assert (folder / "model.safetensors").read_bytes() == (nano_folder() / "model.safetensors").read_bytes()
    ours, before = Embedder.load(str(folder)).embed_queries(QUERIES), Embedder.load("nano").embed_queries(QUERIES)
    np.testing.assert_array_equal(ours, before)
    card = (folder / "README.md").read_text(encoding="utf-8")
    assert 'license: "MIT"' in card
    assert "| dev | 2 | 1.0000 | 1.0000 |" in card
    assert "made up" in card
    assert not list(folder.glob("*.py"))


def test_a_worse_model_is_written_by_force_only(tmp_path: Path, ruined: Path, dev: Path):
    settings = Exporting(checkpoint=ruined, output=tmp_path / "out", base="nano", dev=(dev,))
    with pytest.raises(WorseModelError, match=r"worse than nano on dev.*--force"):
        export_model(settings, QUIET)
    assert not (tmp_path / "out").exists()
    export_model(settings, QUIET, force=True)
    assert "exported all the same" in (tmp_path / "out" / "README.md").read_text()
    with pytest.raises(ConfigurationError, match="exists already"):
        export_model(settings, QUIET)


def test_a_general_set_is_a_gate_too(tmp_path: Path, ruined: Path):
    general = tmp_path / "general"
    general.mkdir()
    rows = [{"_id": name, "text": f"All about {name}."} for name in ("keys", "lunch", "bicycles", "salaries", "holidays", "printers")]
    for name in ("corpus", "queries"):  # whatever order a model without sense has, it is no good for most of them
        (general / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (general / "qrels.tsv").write_text("\n".join(["q\td\tg", *(f"{row['_id']}\t{row['_id']}\t1" for row in rows)]))
    one = tmp_path / "one.jsonl"
    write_pairs(one, [Pair("anything", "the only document")])
    settings = Exporting(checkpoint=ruined, output=tmp_path / "out", base="nano", dev=(one,), general=(general,))
    with pytest.raises(WorseModelError, match="on general,"):
        export_model(settings, QUIET)


def test_a_reranker_is_exported(tmp_path: Path, tiny: Path, dev: Path):
    (tmp_path / "trained").mkdir()
    copy_description(tiny, tmp_path / "trained")
    (tmp_path / "trained" / "model.safetensors").write_bytes((tiny / "model.safetensors").read_bytes())
    (tmp_path / "trained" / "training.json").write_text(json.dumps({"kind": "reranker", "origin": {"model": str(tiny), "revision": "r"}}))
    folder = export_model(Exporting(checkpoint=tmp_path / "trained", output=tmp_path / "out", dev=(dev,)), QUIET)
    assert not (folder / "modules.json").exists()
    assert Reranker.load(str(folder)).score("a", ["b"]) == Reranker.load(str(tiny)).score("a", ["b"])


def test_what_an_export_must_be_told(tmp_path: Path, dev: Path):
    with pytest.raises(ConfigurationError, match="--base"):
        export_model(Exporting(checkpoint=nano_folder(), output=tmp_path / "out"), QUIET)
    with pytest.raises(ConfigurationError, match="--dev"):
        export_model(Exporting(checkpoint=nano_folder(), output=tmp_path / "out", base="nano"), QUIET)


def test_merging_records_what_was_merged(tmp_path: Path):
    folders = [make_checkpoint(tmp_path / name) for name in ("a", "b")]
    for folder, revision in zip(folders, ("r", "r"), strict=True):
        (folder / "training.json").write_text(json.dumps({"kind": "embedder", "origin": {"model": "nano", "revision": revision}}))
    place = merge_models(Merging(checkpoints=tuple(folders), output=tmp_path / "merged", weights=(3.0, 1.0)))
    record = json.loads((place / "training.json").read_text())
    assert (record["origin"]["model"], [part["weight"] for part in record["merged"]]) == ("nano", [3.0, 1.0])
    (folders[1] / "training.json").write_text(json.dumps({"kind": "embedder", "origin": {"model": "nano", "revision": "other"}}))
    with pytest.raises(ConfigurationError, match="did not start from the same"):
        merge_models(Merging(checkpoints=tuple(folders), output=tmp_path / "again"))


def test_the_model_a_training_started_from_is_merged_by_its_name(tmp_path: Path, ruined: Path):
    origin = {"model": "nano", "revision": Checkpoint.open(nano_folder()).revision}
    (ruined / "training.json").write_text(json.dumps({"kind": "embedder", "origin": origin}))
    place = merge_models(Merging(checkpoints=(ruined, Path("nano")), output=tmp_path / "merged", weights=(1.0, 3.0)))
    before, after, merged = (load_file(folder / "model.safetensors") for folder in (nano_folder(), ruined, place))
    for name, tensor in merged.items():
        torch.testing.assert_close(tensor, slerp(after[name], before[name], 0.75))
    assert [part["checkpoint"] for part in json.loads((place / "training.json").read_text())["merged"]] == [str(ruined), "nano"]
    with pytest.raises(ModelNotFoundError, match="no folder"):
        merge_models(Merging(checkpoints=(ruined, tmp_path / "nowhere"), output=tmp_path / "again"))


def test_what_has_no_record_must_be_what_the_others_started_from(tmp_path: Path, tiny: Path):
    origin = {"model": "tiny", "revision": Checkpoint.open(tiny).revision}
    trained = [make_checkpoint(tmp_path / name, context=1024) for name in ("a", "b")]
    for folder in trained:
        (folder / "training.json").write_text(json.dumps({"kind": "embedder", "origin": origin}))
    copy, other = tmp_path / "copy", tmp_path / "other"
    for folder in (copy, other):
        shutil.copytree(tiny, folder)
    merge_models(Merging(checkpoints=(*trained, copy), output=tmp_path / "merged"))
    tensors = {name: torch.randn_like(tensor) for name, tensor in load_file(tiny / "model.safetensors").items()}
    save_file(tensors, other / "model.safetensors", {"format": "pt"})
    with pytest.raises(ConfigurationError, match=r"other has no training\.json, and its weights are not those of tiny.*Leave it out"):
        merge_models(Merging(checkpoints=(*trained, other), output=tmp_path / "again"))
    assert not (tmp_path / "again").exists()


def test_nano_among_rerankers_is_the_reranker(tmp_path: Path, tiny: Path, monkeypatch: pytest.MonkeyPatch):
    trained = make_checkpoint(tmp_path / "trained", context=1024)
    record = {"kind": "reranker", "origin": {"model": "nano", "revision": Checkpoint.open(tiny).revision}}
    (trained / "training.json").write_text(json.dumps(record))
    monkeypatch.setattr("qwen3_rag.models.hub.nano_folder", lambda kind: tiny if kind is ModelKind.RERANKER else nano_folder())
    place = merge_models(Merging(checkpoints=(trained, Path("nano")), output=tmp_path / "merged"))
    assert json.loads((place / "training.json").read_text())["kind"] == "reranker"


def test_an_export_says_when_the_model_before_has_changed(tmp_path: Path, dev: Path):
    copy = tmp_path / "copy"
    copy.mkdir()
    copy_description(nano_folder(), copy)
    shutil.copyfile(nano_folder() / "model.safetensors", copy / "model.safetensors")
    now = Checkpoint.open(nano_folder()).revision
    for revision in (now, "earlier"):
        record = {"kind": "embedder", "base_revision": "of a stage", "origin": {"model": "nano", "revision": revision}}
        (copy / "training.json").write_text(json.dumps(record))
        console = Console(file=StringIO(), width=1000)
        place = export_model(Exporting(checkpoint=copy, output=tmp_path / revision, dev=(dev,)), console)
        assert ("nano has other weights now than when" in console.file.getvalue()) == (revision == "earlier")
        assert json.loads((place / "training.json").read_text())["base_revision"] == now


def test_the_verbs_from_pairs_to_export(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Two trainings, a merge and an export of nano by the command line; the export is a knowledge base's embedder."""
    monkeypatch.chdir(tmp_path)
    pairs = [Pair(f"where is box {number}", f"Box number {number} stands in hall {number % 7}.") for number in range(60)]
    write_pairs("pairs.jsonl", pairs)
    Path("train.toml").write_text(
        '[embedder]\nmodel = "nano"\npairs = ["pairs.jsonl"]\ndev_share = 0.3\nbatch_size = 8\nmax_steps = 3\nlearning_rate = 1e-6\n'
        'device = "cpu"\n[embedder.a]\noutput = "runs/a"\n[embedder.b]\nmodel = "runs/a/model"\noutput = "runs/b"\nlora_rank = 2\n'
        '[merge]\ncheckpoints = ["runs/a/model", "runs/b/model"]\noutput = "runs/merged"\n'
        '[export]\ncheckpoint = "runs/merged"\noutput = "boxes"\n',
        encoding="utf-8",
    )
    for command in (["embedder", "--stage", "a"], ["embedder", "--stage", "b"], ["merge"], ["export", "--force"]):
        result = CliRunner().invoke(cli.app, ["train", *command])
        assert result.exit_code == 0, (command, result.output, result.exception)
    assert "No general set" in result.output
    assert json.loads(Path("boxes/training.json").read_text(encoding="utf-8"))["base"] == "nano"
    assert "Merged by slerp" in Path("boxes/README.md").read_text(encoding="utf-8")
    cosine = Embedder.load("boxes").embed_queries(["box"]) @ Embedder.load("nano").embed_queries(["box"]).T
    assert 0.9 < cosine.item() <= 1.0001
