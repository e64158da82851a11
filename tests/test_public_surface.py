"""The names people import, and what importing them must not cost."""

from __future__ import annotations

import inspect
import subprocess
import sys

import pytest

import qwen3_rag
from qwen3_rag import errors

HEAVY = ("torch", "transformers", "langchain_core", "llama_index", "qdrant_client", "sqlalchemy", "markitdown")


def test_root_names():
    assert qwen3_rag.__all__ == [
        "Chunk",
        "Document",
        "Embedder",
        "Hit",
        "Hits",
        "IngestReport",
        "KnowledgeBase",
        "Passage",
        "Passages",
        "Qwen3RagError",
        "RemoteEmbedder",
        "RemoteReranker",
        "Reranker",
        "Settings",
        "Status",
        "Trace",
    ]
    assert dir(qwen3_rag) == qwen3_rag.__all__


@pytest.mark.parametrize("name", qwen3_rag.__all__)
def test_root_names_resolve(name: str):
    assert getattr(qwen3_rag, name).__name__ == name


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Nonsense"):
        qwen3_rag.Nonsense  # noqa: B018


@pytest.mark.parametrize("module", ["qwen3_rag", "qwen3_rag.errors", "qwen3_rag.types"])
def test_light_modules_import_nothing_heavy(module: str):
    assert loaded_by(f"import {module}") == []


def test_the_facade_needs_no_torch_before_a_model():
    heavy = loaded_by("from qwen3_rag import KnowledgeBase")
    assert not {"torch", "transformers", "langchain_core", "llama_index"} & set(heavy)


def loaded_by(statement: str) -> list[str]:
    code = f"{statement}; import sys; print(','.join(name for name in {HEAVY} if name in sys.modules))"
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    return printed.split(",") if printed else []


def test_every_error_is_in_the_drawn_tree():
    classes = [name for name, item in vars(errors).items() if inspect.isclass(item) and issubclass(item, errors.Qwen3RagError)]
    drawn = errors.__doc__ or ""
    assert [name for name in classes if f" {name} " not in drawn and f"{name}\n" not in drawn] == []


def test_the_drawn_tree_is_the_real_one():
    parents: dict[int, str] = {}
    for line in (errors.__doc__ or "").splitlines():
        name = next((word for word in line.split() if word.endswith("Error")), None)
        if name is None or not hasattr(errors, name) or "`" in line:
            continue
        depth = line.index(name)
        above = [parents[column] for column in sorted(parents) if column < depth]
        if above:
            assert issubclass(getattr(errors, name), getattr(errors, above[-1])), name
        parents = {column: parent for column, parent in parents.items() if column < depth} | {depth: name}
