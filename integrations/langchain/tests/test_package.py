"""The public names, the README's snippet, the example, the smoke script, and what importing must not cost."""

from __future__ import annotations

import doctest
import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

import langchain_qwen3_rag

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
README = (HERE.parent / "README.md").read_text(encoding="utf-8")


def test_public_names():
    names = ["Qwen3Embeddings", "Qwen3RecordManager", "Qwen3Reranker", "Qwen3Retriever", "Qwen3VectorStore"]
    assert langchain_qwen3_rag.__all__ == names
    assert all(f"`{name}`" in README for name in names)
    assert not any("get_lc_namespace" in vars(getattr(langchain_qwen3_rag, name)) for name in names)


def test_importing_loads_no_model_code_and_no_other_framework(tmp_path: Path):
    code = "import langchain_qwen3_rag, sys; print([n for n in ('torch', 'transformers', 'llama_index') if n in sys.modules])"
    printed = subprocess.run([sys.executable, "-W", "error", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_dependencies():
    project = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert [re.split(r"[<>=]", dependency)[0] for dependency in project["dependencies"]] == ["langchain-core", "qwen3-rag"]


def test_the_readmes_snippet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    [snippet] = re.findall(r"^```python\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    for added, skipped in ((2, 0), (0, 2)):
        exec(compile(snippet, "README.md", "exec"), {})
        printed = capsys.readouterr().out
        assert f"'num_added': {added}" in printed
        assert f"'num_skipped': {skipped}" in printed
        assert "Keys are rotated every 90 days." in printed
        assert "noon" not in printed


@pytest.mark.parametrize("name", ["embeddings", "vector_stores"])
def test_examples_of_the_docstrings(name: str):
    module = sys.modules[f"langchain_qwen3_rag.{name}"]
    failed, tried = doctest.testmod(module)
    assert (failed, tried > 0) == (0, True)


def test_the_example(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    example = ROOT / "examples" / "langchain_chat_over_docs.py"
    lines = example.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60
    assert ".venv/bin/python examples/langchain_chat_over_docs.py" in lines[0]
    monkeypatch.setattr(sys, "argv", [str(example)])
    runpy.run_path(str(example), run_name="__main__")
    printed = capsys.readouterr().out
    assert "It may be opened only by two wardens together" in printed
    assert "A retired sealing key is never destroyed" in printed
    assert "security/vault-access.md" in printed


def test_smoke(capsys: pytest.CaptureFixture[str]):
    runpy.run_path(str(HERE / "smoke.py"), run_name="__main__")
    assert "works" in capsys.readouterr().out


@pytest.mark.slow
def test_wheel(tmp_path: Path):
    """Needs the package index: pip fetches hatchling."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(HERE.parent)]
    subprocess.run(command, check=True, timeout=240)
    [wheel] = tmp_path.glob("langchain_qwen3_rag-*.whl")
    files = zipfile.ZipFile(wheel).namelist()
    assert {name.split("/")[0].split("-")[0] for name in files} == {"langchain_qwen3_rag"}
    assert any(name.endswith("LICENSE") for name in files)
    assert "langchain_qwen3_rag/py.typed" in files
    assert not [name for name in files if "test" in name]
