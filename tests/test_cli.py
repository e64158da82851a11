"""Verbs, exit codes and JSON, as a script sees them. The model is the real nano."""

from __future__ import annotations

import inspect
import io
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result
from rich.console import Console
from typer.testing import CliRunner

from qwen3_rag import KnowledgeBase, Passage, Passages, cli, rendering
from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.reranker import Reranker
from tests.fakes import OverlapReranker

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command line in an empty working folder, with errors turned into exit codes as `main` does."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(cli.app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A knowledge base of three small files, made by the command line."""
    folder = tmp_path_factory.mktemp("cli")
    docs = folder / "docs"
    docs.mkdir()
    (docs / "keys.md").write_text(
        "---\nteam: platform\n---\n# Keys\n\n## Rotation\n\nSigning keys are rotated every ninety days.\n", encoding="utf-8"
    )
    (docs / "tea.txt").write_text("Tea is made with water just off the boil.\n", encoding="utf-8")
    (docs / "void.txt").write_bytes(b"")
    result = CliRunner().invoke(cli.app, ["ingest", str(docs), "--kb", str(folder / "kb"), "--embedder", "nano", "--json"])
    assert result.exit_code == 0, result.output
    assert (json.loads(result.stdout)["added"], json.loads(result.stdout)["skipped"]) == (2, 1)
    return folder / "kb"


def test_search_prints_hits(run: Run, kb: Path):
    result = run("search", "how often do we change the keys", "--kb", kb, "--explain")
    assert result.exit_code == 0
    assert "keys.md" in result.stdout
    assert "Rotation" in result.stdout
    assert "recall" in result.stdout


def test_search_prints_json(run: Run, kb: Path):
    hits = json.loads(run("search", "signing keys", "--kb", kb, "--top-k", 1, "--json").stdout)
    assert len(hits) == 1
    fields = {"document_id", "ordinal", "text", "start", "end", "headings", "source", "metadata", "score", "stages"}
    assert fields <= set(hits[0])
    assert hits[0]["headings"] == ["Rotation"]


def test_search_explains_itself_in_json_too(run: Run, kb: Path):
    answer = json.loads(run("search", "signing keys", "--kb", kb, "--json", "--explain").stdout)
    assert answer["hits"] == json.loads(run("search", "signing keys", "--kb", kb, "--json").stdout)
    trace = answer["trace"]
    assert (trace["query"], trace["mode"], trace["fusion"]) == ("signing keys", "hybrid", "completed")
    assert {"name", "seconds", "received", "returned", "note"} == set(trace["steps"][0])
    assert trace["seconds"] == pytest.approx(sum(step["seconds"] for step in trace["steps"]))


def test_search_among_passages_alone_does_not_say_that_there_is_nothing(run: Run, tmp_path: Path):
    with Passages.open(tmp_path / "kb", embedder="nano", reranker="off") as passages:
        passages.put([Passage("a", "Signing keys are rotated.", {"team": "a"})])
    filtered = run("search", "keys", "--rerank", "off", "--filter", "team=b").stdout
    assert "Nothing found" in filtered
    assert "no documents" not in filtered
    with Passages.open(tmp_path / "kb") as passages:
        passages.clear()
    assert "There are no documents in kb yet" in run("search", "keys", "--rerank", "off").stdout


@pytest.mark.parametrize(("team", "found"), [("platform", 1), ("kitchen", 0)])
def test_search_filters(run: Run, kb: Path, team: str, found: int):
    assert len(json.loads(run("search", "keys", "--kb", kb, "--filter", f"team={team}", "--json").stdout)) == found


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_search_modes(run: Run, kb: Path, mode: str):
    hits = json.loads(run("search", "water for tea", "--kb", kb, "--mode", mode, "--json").stdout)
    assert hits[0]["document_id"].endswith("tea.txt")


def test_every_option_of_a_search_has_a_flag(run: Run, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("COLUMNS", "200")
    shown = run("search", "--help").stdout
    taken = set(inspect.signature(KnowledgeBase.search).parameters) - {"self", "query", "filters"}
    assert [name for name in taken if f"--{name.replace('_', '-')}" not in shown] == []


def test_search_cuts_by_the_score_of_either_stage(run: Run, kb: Path):
    search = ("search", "are keys rotated", "--kb", kb, "--mode", "dense", "--json")
    best, second = (hit["score"] for hit in json.loads(run(*search).stdout))
    assert len(json.loads(run(*search, "--recall-threshold", (best + second) / 2).stdout)) == 1
    assert json.loads(run(*search, "--recall-threshold", 2).stdout) == []


def test_search_blends_both_stages(run: Run, kb: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(Reranker, "load", lambda *_, **__: OverlapReranker())
    search = ("search", "water for the keys", "--kb", kb, "--rerank", "overlap")
    alone = json.loads(run(*search, "--json").stdout)
    (first, second) = json.loads(run(*search, "--rerank-weight", 0.5, "--json").stdout)
    assert first["stages"]["blended"]["rank"] == 1
    assert first["stages"]["blended"]["score"] >= second["stages"]["blended"]["score"]
    assert {hit["document_id"]: hit["score"] for hit in alone} == {hit["document_id"]: hit["score"] for hit in (first, second)}
    assert all("blended" not in hit["stages"] for hit in alone)
    explained = run(*search, "--rerank-weight", 0.5, "--explain").stdout
    assert "blended #1" in explained
    assert "rerank_weight 0.5" in " ".join(explained.split())
    monkeypatch.setenv("QWEN3_RAG_RERANK_WEIGHT", "0.5")
    assert json.loads(run(*search, "--json").stdout) == [first, second]
    assert run(*search, "--rerank-weight", 2).exit_code == cli.Exit.ERROR


def test_status(run: Run, kb: Path):
    state = json.loads(run("status", "--kb", kb, "--json").stdout)
    assert (state["documents"], state["chunks"], state["points"], state["failures"]) == (2, 2, 2, 0)
    assert state["embedder"] == "nano"
    assert state["dim"] >= 32
    assert "nano" in run("status", "--kb", kb).stdout


def test_documents_and_failures(run: Run, kb: Path):
    rows = json.loads(run("documents", "--kb", kb, "--json").stdout)
    assert [Path(row["document_id"]).name for row in rows] == ["keys.md", "tea.txt"]
    assert json.loads(run("failures", "--kb", kb, "--json").stdout) == []
    assert "keys.md" in run("documents", "--kb", kb).stdout


def test_models(run: Run):
    names = [row["name"] for row in json.loads(run("models", "--json").stdout)]
    assert "nano" in names
    assert "Qwen/Qwen3-Embedding-0.6B" in names


def test_database_verbs(run: Run, kb: Path):
    versions = json.loads(run("db", "current", "--kb", kb, "--json").stdout)
    assert versions["current"] == versions["wanted"]
    assert run("db", "upgrade", "--kb", kb).exit_code == 0


@pytest.mark.parametrize("verb", ["current", "upgrade"])
def test_database_verbs_make_no_knowledge_base(run: Run, tmp_path: Path, verb: str):
    result = run("db", verb, "--kb", "nowhere")
    assert isinstance(result.exception, ConfigurationError)
    assert "There is no knowledge base in nowhere" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_deleting(run: Run, tmp_path: Path):
    (tmp_path / "a.txt").write_text("something to lose", encoding="utf-8")
    assert run("ingest", "a.txt", "--embedder", "nano").exit_code == 0
    assert json.loads(run("delete", "a.txt", "--json").stdout) == {"deleted": 1}
    assert json.loads(run("status", "--json").stdout)["points"] == 0


def test_failed_documents_have_their_own_exit_code(run: Run, tmp_path: Path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "good.txt").write_text("good", encoding="utf-8")
    (tmp_path / "docs" / "bad.ipynb").write_text('{"cells": [', encoding="utf-8")
    result = run("ingest", "docs", "--embedder", "nano")
    assert result.exit_code == cli.Exit.DOCUMENTS_FAILED
    assert "bad.ipynb" in result.stdout
    assert "bad.ipynb" in run("failures").stdout


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["search", "anything"], "qwen3-rag ingest PATH"),
        (["ingest", "nowhere", "--embedder", "nano"], "nowhere"),
        (["ingest", ".", "--embedder", "nano", "--dim", "7"], "dim"),
        (["ingest", ".", "--embedder", "no-such/model"], "nano"),
    ],
    ids=["no knowledge base", "no such path", "dim too small", "model out of reach"],
)
def test_errors_are_one_sentence_on_standard_error(arguments: list[str], said: str, tmp_path: Path):
    (tmp_path / "a.txt").write_text("text", encoding="utf-8")
    code = "from qwen3_rag.cli import main; main()"
    result = subprocess.run([sys.executable, "-c", code, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert result.returncode == cli.Exit.ERROR
    assert result.stdout == ""
    assert result.stderr.startswith("Error:")
    assert "Traceback" not in result.stderr
    assert said in " ".join(result.stderr.split())


def test_a_terminal_of_another_encoding_gets_what_it_can_show(tmp_path: Path):
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "a.md").write_text("Café · naïve", encoding="utf-8")
    code = "from qwen3_rag.cli import main; main()"

    def printed(*arguments: str) -> str:
        command = [sys.executable, "-c", code, *arguments, "--kb", "kb"]
        environment = {**os.environ, "PYTHONIOENCODING": "ascii"}
        return subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True).stdout

    printed("ingest", "docs", "--embedder", "nano")
    assert "Caf? ? na?ve" in printed("search", "cafe")
    assert json.loads(printed("search", "cafe", "--json"))[0]["text"] == "Café · naïve"


def test_wrong_usage_has_the_usual_exit_code(run: Run):
    assert run("search", "x", "--mode", "psychic").exit_code == cli.Exit.USAGE
    assert run("ingest").exit_code == cli.Exit.USAGE


def test_a_lenient_stream_stays_so(tmp_path: Path):
    code = "import sys; from qwen3_rag.cli import main; sys.argv[1:] = ['models']; main()"
    code = f"import sys\ntry:\n    {code}\nfinally:\n    print('\\udcff')"
    environment = {**os.environ, "PYTHONIOENCODING": "utf-8:surrogateescape"}
    result = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, check=False)
    assert b"\xff" in result.stdout


@pytest.mark.parametrize("option", ["--rerank-weight", "--rerank-threshold"])
def test_options_of_a_reranker_need_one(run: Run, kb: Path, option: str):
    result = run("search", "signing keys", "--kb", kb, option, 0.5)
    assert isinstance(result.exception, ConfigurationError)
    assert f"{option}, but there is no reranker" in str(result.exception)
    assert result.stdout == ""


@pytest.mark.parametrize("verb", [["status"], ["search", "x"], ["documents"], ["delete", "x"]])
def test_looking_into_a_database_makes_nothing_in_it(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: list[str]):
    monkeypatch.setenv("QWEN3_RAG_DATABASE_URL", f"sqlite:///{tmp_path / 'other.db'}")
    result = run(*verb, "--kb", str(tmp_path / "kb"))
    assert isinstance(result.exception, ConfigurationError)
    assert "no knowledge base in the database" in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_row_is_a_line_whatever_a_file_is_called():
    console = Console(file=io.StringIO(), width=80)
    rendering.show_table(console, ("document", "title"), [("a\nb\x1b[1m.md", "Über [x]"), ("c", None)])
    lines = [line.rstrip() for line in console.file.getvalue().splitlines()]
    assert lines == ["document        title", r"a\nb\x1b[1m.md  Über [x]", "c"]


def test_an_empty_folder_name_is_not_the_working_folder(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    result = run("status", "--kb", "")
    assert result.exit_code == cli.Exit.USAGE
    assert "a path is empty" in " ".join(result.stderr.split())


def test_a_reranker_is_named_as_in_the_settings(run: Run, kb: Path):
    assert run("search", "keys", "--kb", str(kb), "--reranker", "off").exit_code == 0


@pytest.mark.parametrize("verb", ["ingest", "search", "status", "documents", "delete", "failures", "models", "db"])
def test_every_verb_has_help(run: Run, verb: str):
    assert run(verb, "--help").exit_code == 0


def test_help_has_examples(run: Run):
    for verb in ("ingest", "search"):
        assert f"Example: qwen3-rag {verb}" in run(verb, "--help").stdout


def test_json_survives_an_output_of_few_characters(monkeypatch: pytest.MonkeyPatch):
    written = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(written, encoding="ascii"))
    rendering.print_json({"question": "Schlüssel 鍵"})
    assert json.loads(written.getvalue()) == {"question": "Schlüssel 鍵"}
