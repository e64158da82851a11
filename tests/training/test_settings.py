from __future__ import annotations

from pathlib import Path

import pytest

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.training.settings import EmbedderTraining, Merging, Schedule, read_settings
from qwen3_rag.training.synthesis.settings import FilterSettings, ServerSettings, SynthesisSettings

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
        ({"device": "cuda:1"}, "device: .*CUDA_VISIBLE_DEVICES=1, and give device = 'cuda'"),
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


@pytest.mark.parametrize(
    ("kind", "table", "text", "fault"),
    [
        (EmbedderTraining, "embedder", "[embedder]\nrate = { embed_tokens = 0 }", r"rate is not a setting \(did you mean rates\?\)"),
        (EmbedderTraining, "embedder", "[embedder.weak]\nepoch = 2", r"\[embedder\.weak\].*did you mean epochs"),
        (EmbedderTraining, "embedder", "[embedder.weak.rate]\nembed_tokens = 0", r"\[embedder\.weak\].*did you mean rates"),
        (ServerSettings, "server", "[server]\nextras = { top_k = 20 }", "did you mean extra"),
        (ServerSettings, "server", "[server.fast]\nconcurrency = 64", "fast is not a setting"),
        (FilterSettings, "filter", "[filters]\nleast_similarity = 0.2", r"'filters' in .* nothing reads: did you mean \[filter\]"),
        (FilterSettings, "filter", "least_similarity = 0.2", r"setting outside of a table that nothing reads: Tables are \[synthesize\]"),
        (
            SynthesisSettings,
            "synthesize",
            "[synthesize.filter]\nleast_similarity = 0.2",
            r"not read. Write it as a table of its own: \[filter\]",
        ),
        (SynthesisSettings, "synthesize", "[synthesize.server]\nurl = 'x'", r"not read. Write it as a table of its own: \[server\]"),
        (SynthesisSettings, "synthesize", "[synthesize.mine]\nfirst_rank = 2", r"not read. Write it as a table of its own: \[mine\]"),
    ],
)
def test_nothing_is_passed_over_in_silence(tmp_path: Path, kind: type, table: str, text: str, fault: str):
    file = tmp_path / "train.toml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=fault):
        read_settings(kind, table, file, None, {"model": "nano", "pairs": ["x"], "output": "y"} if table == "embedder" else {})


def test_a_fault_of_an_option_is_not_looked_for_in_a_file_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigurationError, match=r"missing.*Correct them among the options\.$"):
        read_settings(Merging, "merge", None, None, {"output": "y"})


def test_stages_count_only_where_they_are_asked_for(tmp_path: Path):
    file = tmp_path / "train.toml"
    file.write_text("[embedder]\nmodel = 'nano'\n[embedder.warm]\npairs = ['a']\noutput = 'o'\nrates = { norm = 0 }\n", encoding="utf-8")
    assert read_settings(EmbedderTraining, "embedder", file, "warm", {}).rates == {"norm": 0}
    assert read_settings(EmbedderTraining, "embedder", file, None, {"pairs": ["b"], "output": "p"}).rates == {}
    with pytest.raises(ConfigurationError, match=r"output is missing; of its stages \(warm\) --stage takes one"):
        read_settings(EmbedderTraining, "embedder", file, None, {})
    file.write_text("[merge.reranker]\ncheckpoints = ['a', 'b']\noutput = 'o'\n", encoding="utf-8")
    assert read_settings(Merging, "merge", file, "reranker", {}).output == Path("o")
