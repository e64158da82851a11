"""`qwen3-rag fidelity`, as a person and a script see it. The model is the real nano."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from qwen3_rag import cli, rendering
from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.fidelity import FidelityReport, ScoreFidelity, VectorFidelity

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli.app, ["fidelity", *(str(argument) for argument in arguments)])


def test_built_in_texts(run: Run):
    result = run("--embedder", "nano", "--json")
    assert result.exit_code == 0, result.output
    (report,) = json.loads(result.stdout)
    assert (report["model"], report["quantization"], report["texts"]) == ("nano", "int8", 40)
    assert report["mean"] >= 0.98
    assert report["speed"] > 0


def test_table_and_verdict(run: Run):
    result = run("--embedder", "nano")
    assert result.exit_code == 0, result.output
    assert "overlap at 10" in result.stdout
    assert "times float32" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("int8 ")


def test_another_format(run: Run):
    result = run("--embedder", "nano", "--dtype", "bfloat16")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines()[-1].startswith("bfloat16 stays close to float32")


def test_texts_of_a_file(run: Run, tmp_path: Path):
    (tmp_path / "lines.txt").write_text("one text\n\nanother text\nand a third\n", encoding="utf-8")
    (report,) = json.loads(run("--embedder", "nano", "--texts", "lines.txt", "--json").stdout)
    assert report["texts"] == 3


def test_texts_and_embedder_of_a_knowledge_base(run: Run, tmp_path: Path):
    (tmp_path / "docs").mkdir()
    for name in ("tea", "keys", "rain"):
        (tmp_path / "docs" / f"{name}.txt").write_text(f"A text about {name}.\n", encoding="utf-8")
    made = CliRunner().invoke(cli.app, ["ingest", "docs", "--kb", "kb", "--embedder", "nano", "--json"])
    assert made.exit_code == 0, made.output
    (report,) = json.loads(run("--kb", "kb", "--json").stdout)
    assert (report["model"], report["texts"]) == ("nano", 3)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--texts", "absent.txt"), "absent.txt cannot be read"),
        (("--texts", "short.txt"), "at least two texts"),
        (("--kb", "nowhere"), "There is no knowledge base"),
        (("--quantization", "int3"), "no quantization 'int3'"),
        (("--dtype", "float8"), "no dtype 'float8'"),
        (("--dtype", "bfloat16", "--quantization", "int8"), "quantization='int8' computes everything else in float32"),
    ],
)
def test_errors_are_ours(run: Run, tmp_path: Path, arguments: tuple[str, ...], message: str):
    (tmp_path / "short.txt").write_text("only one\n", encoding="utf-8")
    result = run("--embedder", "nano", *arguments)
    assert isinstance(result.exception, ConfigurationError)
    assert message in str(result.exception)


def test_two_sources_of_texts_are_wrong_usage(run: Run):
    assert run("--texts", "a", "--kb", "b").exit_code == cli.Exit.USAGE


@pytest.mark.parametrize(
    ("fidelity", "speed", "verdict"),
    [
        (VectorFidelity(40, 0.999, 0.99, 0.98, 0.95), 1.9, "int8 stays close to float32 and is 1.9 times as fast here: use it."),
        (VectorFidelity(40, 0.95, 0.9, 0.8, 0.5), 1.9, "int8 strays from float32 and is 1.9 times as fast here: stay with float32."),
        (ScoreFidelity(160, 0.99, 0.01), 0.8, "int8 stays close to float32 and is slower here: it saves memory only."),
    ],
)
def test_verdicts(fidelity: VectorFidelity | ScoreFidelity, speed: float, verdict: str, capsys: pytest.CaptureFixture[str]):
    from rich.console import Console

    rendering.show_fidelity(Console(width=200), [FidelityReport("model", "float32", "int8", fidelity, speed)])
    assert verdict in capsys.readouterr().out
