"""The example that adapts a model: its questions fit the handbook, and the whole of it runs and gains."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from qwen3_rag.settings import SourceSettings
from qwen3_rag.sources import SourceFile, discover, read
from qwen3_rag.training.settings import EmbedderTraining, Exporting, Merging, MiningSettings, read_settings
from qwen3_rag.training.synthesis.settings import FilterSettings, ServerSettings, SynthesisSettings

EXAMPLES = Path(__file__).parents[2] / "examples"
ADAPT = EXAMPLES / "adapt_to_your_docs"
QUESTIONS = [json.loads(line) for line in (ADAPT / "questions.jsonl").read_text(encoding="utf-8").splitlines()]
SETTINGS = ADAPT / "train.toml"


def squeezed(text: str) -> str:
    return "".join(text.split())


def test_each_question_has_words_of_its_page_for_an_answer():
    settings = SourceSettings(exclude=("questions.toml",))
    files = (item for item in discover(EXAMPLES / "handbook", settings) if isinstance(item, SourceFile))
    pages = {item.relative: squeezed(read(item, settings).text) for item in files}
    assert len({item["query"].casefold() for item in QUESTIONS}) == len(QUESTIONS) > 150
    for item in QUESTIONS:
        assert list(item) == ["query", "document", "answer"]
        assert pages[item["document"]].count(squeezed(item["answer"])) >= 1, item


def test_no_question_is_one_that_the_handbook_comes_with():
    kept = (EXAMPLES / "handbook" / "questions.toml").read_text(encoding="utf-8").casefold()
    assert [item["query"] for item in QUESTIONS if item["query"].casefold() in kept] == []


def test_the_settings_are_such():
    for kind, table in (
        (SynthesisSettings, "synthesize"),
        (ServerSettings, "server"),
        (FilterSettings, "filter"),
        (MiningSettings, "mine"),
    ):
        read_settings(kind, table, SETTINGS, None, {})
    for stage in ("weak", "supervised"):
        read_settings(EmbedderTraining, "embedder", SETTINGS, stage, {})
    read_settings(Merging, "merge", SETTINGS, None, {})
    read_settings(Exporting, "export", SETTINGS, None, {})


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_the_whole_example_ends_with_a_better_model(tmp_path: Path):
    (tmp_path / "examples").mkdir()
    for folder in ("handbook", "adapt_to_your_docs"):
        (tmp_path / "examples" / folder).symlink_to(EXAMPLES / folder)
    script = tmp_path / "examples" / "adapt.py"
    text = (ADAPT / "adapt.py").read_text(encoding="utf-8")
    script.write_text(text.replace("Path(__file__).resolve().parent", f"Path({str(tmp_path / 'examples' / 'adapt_to_your_docs')!r})"))
    done = subprocess.run([sys.executable, str(script)], capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / ".adapt" / "handbook-nano" / "model.safetensors").is_file()
