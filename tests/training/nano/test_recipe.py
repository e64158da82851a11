from __future__ import annotations

import json
from pathlib import Path

import pytest

from qwen3_rag.training.nano.places import Places
from qwen3_rag.training.nano.recipe import (
    MEANING,
    MERGED,
    MIXED,
    STAGES,
    distillation,
    further,
    mining,
    ship,
    signed,
    supervised,
    weak,
)
from qwen3_rag.training.nano.release import SHIPPED as FILES


@pytest.fixture
def places(tmp_path: Path) -> Places:
    return Places(tmp_path, tmp_path / "static", tmp_path / "pairs.jsonl", tmp_path / "asked")


def test_every_stage_begins_with_what_an_earlier_one_has_made(places: Places):
    assert distillation(places).model == str(places.grown)
    assert weak(places).model == mining(places).embedder == str(distillation(places).output / "model")
    assert supervised(places, "weak", "supervised").model == str(weak(places).output / "model")
    assert further(places).model == str(places.merged)
    assert signed(places).model == str(places.signatures)
    runs = (distillation(places), weak(places), supervised(places, "weak", "supervised"), further(places), signed(places))
    assert [run.output for run in runs] == [places.output / stage for stage in STAGES]


def test_the_second_round_has_its_own_pairs_and_vectors_and_the_first_ones_judges(places: Places):
    first, second = distillation(places), further(places)
    assert first.dev == second.dev == (places.first.files.dev,)
    assert first.pairs == (places.first.alike,)
    assert second.pairs == (places.second.alike,)
    assert (second.teacher_texts, second.teacher_vectors) == (places.second.texts, places.second.vectors)
    assert len({places.first.texts, places.second.texts, places.first.vectors, places.second.vectors}) == 4


def test_the_third_round_follows_words_too_and_moves_the_head_that_finds_them_slowly(places: Places):
    run, data = signed(places), places.third
    assert (run.pairs, run.dev) == ((data.alike,), (data.files.dev,))
    assert (run.teacher_texts, run.teacher_vectors, run.teacher_similarities) == (data.texts, data.vectors, data.similarities)
    assert run.rates["layers.0.self_attn.q_"] == 0.2
    assert run.rates["layers.2.self_attn.q_"] == 0


def test_what_was_trained_in_the_end_ships_with_the_record_of_all(places: Places, tmp_path: Path):
    figures = {"ndcg@10": 0.5}
    for number, stage in enumerate(STAGES):
        places.model(stage).mkdir(parents=True)
        record = {"settings": {"max_steps": number}, "data": {"pairs": 70, "digest": "d"}, "dev": {"before": figures, "after": figures}}
        (places.model(stage) / "training.json").write_text(json.dumps(record))
    places.shipped.mkdir()
    for name in FILES:
        (places.shipped / name).write_text(f"the last {name}")
    places.static.mkdir()
    (places.static / "build.json").write_text("{}")
    target = ship(places, tmp_path / "target")
    record = json.loads((target / "build.json").read_text())
    assert list(record["stages"]) == list(STAGES)
    assert [stage["settings"]["max_steps"] for stage in record["stages"].values()] == list(range(len(STAGES)))
    assert record["merged"] == {"merged": MERGED, "meaning": MEANING, "mixed": MIXED}
    assert {name: (target / name).read_text() for name in FILES} == {name: f"the last {name}" for name in FILES}
