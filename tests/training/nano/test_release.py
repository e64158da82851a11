from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from qwen3_rag.training.nano.release import SHIPPED, release

SETTINGS = {
    "learning_rate": 0.001,
    "rates": {"embed": 3.0},
    "max_steps": 7,
    "seed": 0,
    "model": "/somewhere/grown",
    "teacher_texts": "/somewhere/texts",
}


@pytest.fixture
def folders(tmp_path: Path) -> dict[str, Path]:
    places = {name: tmp_path / name for name in ("trained", "static", "weak")}
    for place in places.values():
        place.mkdir()
    for name in SHIPPED:
        (places["trained"] / name).write_text(f"the trained {name}")
    (places["static"] / "build.json").write_text(json.dumps({"seed": 0, "texts": 30, "files_sha256": {"config.json": "old"}}))
    figures = {"ndcg@10": 0.5, "questions": 9}
    record = {"settings": SETTINGS, "data": {"pairs": 70, "digest": "d"}, "dev": {"before": figures, "after": figures}}
    (places["weak"] / "training.json").write_text(json.dumps(record))
    return places


def test_what_ships_is_the_trained_model_and_a_record_without_paths(folders: dict[str, Path], tmp_path: Path):
    target = release(folders["trained"], folders["static"], {"weak": folders["weak"]}, {"shipped": {"weak": 1.0}}, tmp_path / "shipped")
    text = (target / "build.json").read_text()
    record = json.loads(text)
    assert {name: (target / name).read_text() for name in SHIPPED} == {name: f"the trained {name}" for name in SHIPPED}
    for name, digest in record["files_sha256"].items():
        assert hashlib.sha256((target / name).read_bytes()).hexdigest() == digest
    assert set(record["files_sha256"]) == {"config.json", "model.safetensors", "tokenizer.json"}
    assert record["constructed"] == {"seed": 0, "texts": 30}
    assert record["stages"]["weak"]["settings"] == {"max_steps": 7, "learning_rate": 0.001, "rates": {"embed": 3.0}, "seed": 0}
    assert record["stages"]["weak"]["dev"]["after"] == {"ndcg@10": 0.5, "questions": 9}
    assert "somewhere" not in text
