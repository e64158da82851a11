from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qwen3_rag.errors import ConfigurationError, RemoteUnavailableError
from qwen3_rag.training.cli import train_app
from qwen3_rag.training.pairs import read_pairs
from tests.models.remote.server import InferenceServer, Reply
from tests.training.synthesis.chat_server import ChatModel


def run(*arguments: str) -> str:
    result = CliRunner().invoke(train_app, arguments, catch_exceptions=False)
    assert result.exit_code == 0, result.output
    return result.output


@pytest.fixture
def settings(tmp_path: Path, chat: InferenceServer, passages_file: Path) -> Path:
    path = tmp_path / "train.toml"
    path.write_text(
        f"""
        [synthesize]
        passages = "{passages_file}"
        output = "{tmp_path / "synthetic.jsonl"}"
        embedder = "nano"
        languages = ["en"]

        [synthesize.more]
        per_passage = 2

        [server]
        url = "{chat.url}/v1"
        model = "small"
        retries = 0

        [server.extra]
        chat_template_kwargs = {{ enable_thinking = false }}

        [filter]
        least_similarity = 0.1

        [mine]
        pairs = ["{tmp_path / "synthetic.jsonl"}"]
        passages = "{passages_file}"
        embedder = "nano"
        output = "{tmp_path / "mined.jsonl"}"
        first_rank = 1
        """,
        encoding="utf-8",
    )
    return path


def test_one_files_settings_from_passages_to_negatives(settings: Path, model: ChatModel, tmp_path: Path):
    report = json.loads(run("synthesize", "--settings", str(settings), "--json"))
    assert report["calls"] == model.calls == 24
    assert all(body["chat_template_kwargs"] == {"enable_thinking": False} for body in model.conversations)
    more = run("synthesize", "--settings", str(settings), "--stage", "more")
    assert "calls remembered 24" in " ".join(more.split())
    assert model.calls == 48
    assert "hard negatives in" in run("mine", "--settings", str(settings), "--negatives", "3")
    mined = list(read_pairs(tmp_path / "mined.jsonl"))
    assert [pair.query for pair in mined] == [pair.query for pair in read_pairs(tmp_path / "synthetic.jsonl")]
    assert max(len(pair.negatives) for pair in mined) == 3
    assert all(pair.positive not in pair.negatives for pair in mined)


def test_a_report_names_passages_that_were_refused(settings: Path, chat: InferenceServer):
    chat.faults.replies = [Reply(413, {"error": "too long"})]
    assert "refused, passage p" in run("synthesize", "--settings", str(settings))
    chat.faults.replies = [Reply(413, {"error": "too long"})]
    report = json.loads(run("synthesize", "--settings", str(settings), "--json"))
    assert list(report["refused"].values()) == ["""HTTP 413: '{"error": "too long"}'"""]


def test_a_dry_run_shows_prompts(settings: Path, model: ChatModel):
    shown = run("synthesize", "--settings", str(settings), "--dry-run")
    assert "kettle" in shown
    assert "12 passages, 12 pairs, 24 calls" in shown
    planned = json.loads(run("synthesize", "--settings", str(settings), "--dry-run", "--json"))
    assert [planned[name] for name in ("passages", "pairs", "calls")] == [12, 12, 24]
    assert [message["role"] for message in planned["prompts"][0]] == ["system", "user"]
    assert model.calls == 0


def test_faults_of_the_settings_are_named(settings: Path, tmp_path: Path):
    settings.write_text(settings.read_text() + "\nfirst_rnk = 3\n", encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"first_rnk is not a setting .did you mean first_rank"):
        run("mine", "--settings", str(settings))
    with pytest.raises(ConfigurationError, match="Say which pairs"):
        run("mine", "--passages", str(tmp_path / "x"))
    with pytest.raises(RemoteUnavailableError, match="cannot be reached"):
        run("synthesize", "--settings", str(settings), "--url", "http://127.0.0.1:9/v1")
