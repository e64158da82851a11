"""The packages and their names, the README's snippet, the examples, the smoke script, and what must not be there."""

from __future__ import annotations

import importlib
import importlib.metadata
import re
import runpy
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
README = (HERE.parent / "README.md").read_text(encoding="utf-8")
PROJECT = tomllib.loads((HERE.parent / "pyproject.toml").read_text(encoding="utf-8"))
NAMES = {
    "embeddings": ["Qwen3Embedding"],
    "node_parser": ["Qwen3NodeParser"],
    "postprocessor": ["InstructedQuery", "Qwen3Rerank"],
    "retrievers": ["Qwen3Retriever"],
    "vector_stores": ["Qwen3VectorStore"],
}


def ours() -> set[str]:
    """Files of the distribution, as they are under a site-packages folder."""
    return {
        path.relative_to(HERE.parent).as_posix() for path in (HERE.parent / "llama_index").rglob("*") if path.suffix in (".py", ".typed")
    }


@pytest.mark.parametrize("package", NAMES)
def test_public_names(package: str):
    module = importlib.import_module(f"llama_index.{package}.qwen3_rag")
    assert module.__all__ == NAMES[package]
    assert all(f"`{name}`" in README for name in NAMES[package])
    assert f"`llama_index.{package}.qwen3_rag`" in README


def test_nothing_above_our_packages():
    """Namespace packages belong to nobody: a file in one of them would collide with LlamaIndex's other distributions."""
    assert {file for file in ours() if not re.match(r"llama_index/\w+/qwen3_rag/", file)} == set()
    assert {file.split("/")[1] for file in ours()} == set(NAMES)
    assert {f"llama_index/{package}/qwen3_rag/py.typed" for package in NAMES} <= ours()


@pytest.mark.parametrize("distribution", ["llama-index-core", "llama-index-vector-stores-qdrant", "llama-index-instrumentation"])
def test_no_file_collides(distribution: str):
    theirs = {path.as_posix() for path in importlib.metadata.files(distribution) or []}
    assert len(theirs) > 5
    assert theirs & ours() == set()


def test_importing_loads_no_model_code_and_no_other_framework(tmp_path: Path):
    imports = "; ".join(f"import llama_index.{package}.qwen3_rag" for package in NAMES)
    code = f"{imports}; import sys; print([n for n in ('torch', 'transformers', 'langchain_core', 'langchain') if n in sys.modules])"
    printed = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    assert printed.strip() == "[]"


def test_dependencies():
    assert [re.split(r"[<>=]", dependency)[0] for dependency in PROJECT["project"]["dependencies"]] == ["llama-index-core", "qwen3-rag"]


def test_llamahub_metadata():
    hub = PROJECT["tool"]["llamahub"]
    components = {name: package for package, names in NAMES.items() for name in names if name.startswith("Qwen3")}
    assert set(hub["class_authors"]) == set(components)
    assert importlib.import_module(hub["import_path"])


def test_the_readmes_snippet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]):
    monkeypatch.chdir(tmp_path)
    [snippet] = re.findall(r"^```python\n(.*?)^```", README, flags=re.DOTALL | re.MULTILINE)
    for _ in range(2):
        exec(compile(snippet, "README.md", "exec"), {})
        *_, text, document = capsys.readouterr().out.splitlines()
        assert (text, document) == ("Keys are rotated every 90 days.", "canteen.md")


def test_the_example(capsys: pytest.CaptureFixture[str]):
    example = ROOT / "examples" / "llama_index_query_engine.py"
    lines = example.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60
    assert ".venv/bin/python examples/llama_index_query_engine.py" in lines[0]
    runpy.run_path(str(example), run_name="__main__")
    printed = capsys.readouterr().out
    assert "A retired sealing key is never destroyed before the last archive sealed with it has expired." in printed
    assert "the following day is free, and it does not count as holiday." in printed
    assert "on-call.md: The watch: being on call > Sleep" in printed


def test_smoke(capsys: pytest.CaptureFixture[str]):
    runpy.run_path(str(HERE / "smoke.py"), run_name="__main__")
    assert "works" in capsys.readouterr().out


@pytest.mark.slow
def test_wheel(tmp_path: Path):
    """Needs the package index: pip fetches hatchling."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(HERE.parent)]
    subprocess.run(command, check=True, timeout=240)
    [wheel] = tmp_path.glob("llama_index_qwen3_rag-*.whl")
    files = zipfile.ZipFile(wheel).namelist()
    assert {name for name in files if name.startswith("llama_index/")} == ours()
    assert {name.split("/")[0].split("-")[0] for name in files} == {"llama_index", "llama_index_qwen3_rag"}
    assert any(name.endswith("LICENSE") for name in files)
