from __future__ import annotations

from pathlib import Path

import pytest

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.training.settings import EmbedderTraining, Merging, Schedule, read_settings

TOML = """
[embedder]
model = "nano"
pairs = ["a.jsonl"]
output = "runs/one"
learning_rate = 1e-4
[embedder.weak]
output = "runs/weak"
schedule = "cosine"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "train.toml"
    path.write_text(TOML, encoding="utf-8")
    return path


def test_options_win_over_stage_over_table_over_defaults(file: Path):
    settings = read_settings(EmbedderTraining, "embedder", file, "weak", {"epochs": 3, "model": None})
    assert (settings.model, settings.pairs, settings.output) == ("nano", (Path("a.jsonl"),), Path("runs/weak"))
    assert (settings.learning_rate, settings.schedule, settings.epochs, settings.batch_size) == (1e-4, Schedule.COSINE, 3, 32)
    assert read_settings(EmbedderTraining, "embedder", file, None, {}).output == Path("runs/one")


def test_the_file_of_the_working_folder_is_read(file: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(file.parent)
    assert read_settings(EmbedderTraining, "embedder", None, None, {}).model == "nano"


def test_everything_can_be_an_option(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    settings = read_settings(Merging, "merge", None, None, {"checkpoints": ["a", "b"], "output": "c"})
    assert settings.checkpoints == (Path("a"), Path("b"))


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"learnin_rate": 1}, "did you mean learning_rate"),
        ({"zzz": 1}, "known: model"),
        ({"batch_size": 0}, "batch_size: .*greater than or equal to 1"),
        ({"pairs": []}, "pairs"),
        ({"schedule": "sine"}, "'linear', 'cosine'"),
    ],
)
def test_faults(file: Path, options: dict[str, object], fault: str):
    with pytest.raises(ConfigurationError, match=fault):
        read_settings(EmbedderTraining, "embedder", file, None, options)


def test_files_that_cannot_be_read(tmp_path: Path, file: Path):
    with pytest.raises(ConfigurationError, match="--settings"):
        read_settings(EmbedderTraining, "embedder", tmp_path / "none.toml", None, {})
    with pytest.raises(ConfigurationError, match=r"no table \[embedder\.strong\]\. Known: weak"):
        read_settings(EmbedderTraining, "embedder", file, "strong", {})
    file.write_text("[reranker]\n")
    with pytest.raises(ConfigurationError, match="model is missing"):
        read_settings(EmbedderTraining, "embedder", file, None, {"pairs": ["x"], "output": "y"})
    file.write_text("embedder = 5\n")
    with pytest.raises(ConfigurationError, match="no table"):
        read_settings(EmbedderTraining, "embedder", file, None, {})
