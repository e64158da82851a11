from __future__ import annotations

from pathlib import Path

import pytest

from qwen3_rag.errors import TrainingDataError
from qwen3_rag.training.nano.data import LONGEST, SUPERVISED, Draw, sources, write_data
from qwen3_rag.training.pairs import Pair, read_pairs, write_pairs


@pytest.fixture
def supervised(tmp_path: Path) -> Path:
    for name in SUPERVISED:
        write_pairs(tmp_path / name, [Pair(f"question {number} of {name}?", f"Answer {number} of {name}.") for number in range(300)])
    return tmp_path


def test_dev_questions_are_of_documents_nobody_trains_on(supervised: Path, tmp_path: Path):
    write_pairs(tmp_path / "w.jsonl", [Pair(f"term {number}", f"Definition {number}.", source="wordnet") for number in range(500)])
    files = write_data([tmp_path / "w.jsonl"], supervised, tmp_path / "out", seed=0)
    learned, dev, weak = (list(read_pairs(path)) for path in (files.supervised, files.dev, files.weak))
    assert len(learned) + len(dev) == 1200
    assert 30 < len(dev) < 90
    assert not {pair.document for pair in dev} & {pair.document for pair in learned}
    assert all(pair.instruction is None for pair in dev)
    assert sources(weak) == {"wordnet": 500}
    assert set(sources(learned)) == {Path(name).stem for name in SUPERVISED}


def test_a_passage_that_judges_is_in_no_weak_pair(supervised: Path, tmp_path: Path):
    asked = list(read_pairs(*(supervised / name for name in SUPERVISED)))
    write_pairs(tmp_path / "w.jsonl", [Pair(f"about {number}", pair.positive) for number, pair in enumerate(asked)])
    files = write_data([tmp_path / "w.jsonl"], supervised, tmp_path / "out", seed=0)
    dev, weak = ({pair.document for pair in read_pairs(path)} for path in (files.dev, files.weak))
    assert dev
    assert not dev & weak
    assert len(dev) + len(weak) == 1200


def test_long_passages_are_left_out_where_a_limit_is_set(supervised: Path, tmp_path: Path):
    source, limit = next(iter(LONGEST.items()))
    lengths = {"a": limit, "b": limit + 1}
    pairs = [
        Pair(f"{letter} {name}", f"{name} ".ljust(length, letter), source=name)
        for letter, length in lengths.items()
        for name in (source, "x")
    ]
    write_pairs(tmp_path / "w.jsonl", pairs)
    files = write_data([tmp_path / "w.jsonl"], supervised, tmp_path / "out", seed=0)
    assert sources(read_pairs(files.weak)) == {source: 1, "x": 2}


def test_no_source_drowns_the_others(supervised: Path, tmp_path: Path):
    draw = Draw({Path(name).stem: 50 for name in SUPERVISED}, {"wordnet": 7})
    write_pairs(tmp_path / "w.jsonl", [Pair(f"term {number}", f"Definition {number}.", source="wordnet") for number in range(20)])
    files = write_data([tmp_path / "w.jsonl"], supervised, tmp_path / "out", 0, draw)
    again = write_data([tmp_path / "w.jsonl"], supervised, tmp_path / "again", 0, draw)
    assert len(list(read_pairs(files.supervised, files.dev))) == 200
    assert len(list(read_pairs(files.weak))) == 7
    assert files.weak.read_bytes() == again.weak.read_bytes()


def test_what_judges_a_small_draw_is_not_trained_on_in_a_larger_one(supervised: Path, tmp_path: Path):
    write_pairs(tmp_path / "w.jsonl", [Pair("term", "Definition.", source="wordnet")])
    small, large = (
        write_data([tmp_path / "w.jsonl"], supervised, tmp_path / str(most), 0, Draw({Path(name).stem: most for name in SUPERVISED}, {}))
        for most in (100, 200)
    )
    judges, learned = ({pair.document for pair in read_pairs(file)} for file in (small.dev, large.supervised))
    assert judges
    assert not judges & learned


def test_a_missing_file_is_named(tmp_path: Path):
    with pytest.raises(TrainingDataError, match=r"medquad.jsonl is not there.*--pairs FOLDER"):
        write_data([tmp_path / "w.jsonl"], tmp_path, tmp_path / "out", seed=0)
