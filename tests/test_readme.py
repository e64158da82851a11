"""The README's snippets are run, and its commands exist."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

import pytest
from typer.testing import CliRunner

from qwen3_rag.cli import app

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def snippets(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)


@pytest.fixture
def _working_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(ROOT / "examples" / "handbook" / "security", tmp_path / "docs")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("_working_folder")
@pytest.mark.parametrize("snippet", snippets("python"), ids=lambda snippet: snippet.splitlines()[0])
def test_python_snippets_run(snippet: str, capsys: pytest.CaptureFixture[str]):
    exec(compile(snippet, "README.md", "exec"), {})
    assert "docs/" in capsys.readouterr().out


@pytest.mark.usefixtures("_working_folder")
def test_commands_run():
    lines = [line for snippet in snippets("sh") for line in snippet.splitlines() if line.startswith("qwen3-rag ")]
    assert len(lines) >= 3
    for line in lines:
        result = CliRunner().invoke(app, shlex.split(line)[1:])
        assert result.exit_code == 0, f"{line}: {result.output}"


@pytest.mark.parametrize("target", re.findall(r"^make ([\w-]+)", README, flags=re.MULTILINE))
def test_make_targets_exist(target: str):
    assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)


@pytest.mark.parametrize("link", re.findall(r"\]\((?!http)([^)#]+)\)", README))
def test_links_lead_somewhere(link: str):
    assert (ROOT / link).exists()
