from __future__ import annotations

from pathlib import Path

import pytest

from qwen3_rag.errors import TrainingDataError
from qwen3_rag.training.nano import data
from qwen3_rag.training.nano.data import INSTRUCTIONS, SUPERVISED, sources, write_data
from qwen3_rag.training.pairs import Pair, read_pairs, write_pairs


@pytest.fixture
def supervised(tmp_path: Path) -> Path:
    for name in SUPERVISED:
        write_pairs(tmp_path / name, [Pair(f"question {number} of {name}?", f"Answer {number} of {name}.") for number in range(300)])
    return tmp_path


def test_dev_questions_are_of_documents_nobody_trains_on(supervised: Path, tmp_path: Path):
    write_pairs(tmp_path / "w.jsonl", [Pair(f"term {number}", f"Definition {number}.", source="wordnet") for number in range(500)])
    files = write_data(tmp_path / "w.jsonl", supervised, tmp_path / "out", seed=0)
    learned, dev, weak = (list(read_pairs(path)) for path in (files.supervised, files.dev, files.weak))
    assert len(learned) + len(dev) == 1200
    assert 30 < len(dev) < 90
    assert not {pair.document for pair in dev} & {pair.document for pair in learned}
    assert all(pair.instruction is None for pair in dev)
    assert sources(weak) == {"wordnet": 500}
    assert set(sources(learned)) == {Path(name).stem for name in SUPERVISED}
    varied = [pair for pair in weak if pair.instruction is not None]
    assert 0.3 < len(varied) / len(weak) < 0.5
    assert {pair.instruction for pair in varied} <= set(INSTRUCTIONS)


def test_no_source_drowns_the_others(supervised: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(data, "MOST_OF_A_SOURCE", 50)
    monkeypatch.setattr(data, "MOST_WEAK", 7)
    write_pairs(tmp_path / "w.jsonl", [Pair(f"term {number}", f"Definition {number}.") for number in range(20)])
    files = write_data(tmp_path / "w.jsonl", supervised, tmp_path / "out", seed=0)
    again = write_data(tmp_path / "w.jsonl", supervised, tmp_path / "again", seed=0)
    assert len(list(read_pairs(files.supervised, files.dev))) == 200
    assert len(list(read_pairs(files.weak))) == 7
    assert files.weak.read_bytes() == again.weak.read_bytes()


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(TrainingDataError, match=r"medquad.jsonl is not there.*--pairs FOLDER"):
        write_data(tmp_path / "w.jsonl", tmp_path, tmp_path / "out", seed=0)
