"""The example in which two frameworks and the core share a collection."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parents[2] / "examples" / "shared_collection.py"


def test_it_runs(capsys: pytest.CaptureFixture[str]):
    lines = EXAMPLE.read_text(encoding="utf-8").splitlines()
    assert len(lines) < 60
    assert ".venv/bin/python examples/shared_collection.py" in lines[0]
    runpy.run_path(str(EXAMPLE), run_name="__main__")
    core, llama_index, lang_chain, left = capsys.readouterr().out.splitlines()
    assert "keys Keys are rotated every 90 days." in core
    assert "keys Keys are rotated every 90 days. security.md" in llama_index
    assert "rota The rota of the watch changes on Mondays." in lang_chain
    assert left.endswith("['keys', 'rota'], counted by the core: 2")
