from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from qwen3_rag import KnowledgeBase
from qwen3_rag.errors import ConfigurationError, TrainingDataError
from qwen3_rag.training.pairs import Pair, Task, read_pairs, write_pairs
from qwen3_rag.training.passages import chosen, read_passages
from qwen3_rag.training.searching import ExactSearcher
from qwen3_rag.training.synthesis.filtering import Dropped, judged
from qwen3_rag.training.synthesis.personas import Personas, read_personas
from qwen3_rag.training.synthesis.settings import FilterSettings, ServerSettings, SynthesisSettings
from qwen3_rag.training.synthesis.synthesize import dry_run, synthesize
from tests.fakes import HashEmbedder
from tests.training.synthesis.chat_server import ChatModel
from tests.training.synthesis.conftest import PASSAGES, THINGS

TEXTS = [item.embedding_text for item in PASSAGES]


def test_a_knowledge_base_is_asked_about(server: ServerSettings, model: ChatModel, tmp_path: Path):
    docs = tmp_path / "docs"
    docs.mkdir()
    for passage in PASSAGES:
        (docs / f"{passage.id}.md").write_text(f"# {passage.title}\n\n{passage.text}\n", encoding="utf-8")
    with KnowledgeBase.open(tmp_path / "kb", embedder="nano") as kb:
        kb.ingest(docs)
    settings = SynthesisSettings(kb=tmp_path / "kb", output=tmp_path / "out.jsonl")
    report = synthesize(settings, server, FilterSettings(least_similarity=0.2))
    pairs = list(read_pairs(tmp_path / "out.jsonl"))
    dropped = list(read_pairs(settings.dropped_file))
    assert report.passages == 12
    assert report.kept == len(pairs) > 0
    assert sum(report.dropped.values()) == len(dropped) == 12 - len(pairs)
    assert all(pair.positive.startswith("The ") and pair.source and pair.source.endswith(".md") for pair in pairs)
    assert all(pair.extra["similarity"] > 0.2 for pair in pairs)
    assert all(pair.extra["dropped"] in set(Dropped) for pair in dropped)
    assert report.to_dict()["calls"] == model.calls == 24
    assert report.spent_now == report.spent_in_all > 0


def test_a_dry_run_asks_nobody(passages_file: Path, model: ChatModel, tmp_path: Path):
    shown = dry_run(SynthesisSettings(passages=passages_file, embedder="nano", output=tmp_path / "o.jsonl", per_passage=2))
    assert (shown.passages, shown.pairs, shown.calls, len(shown.prompts)) == (12, 24, 48, 8)
    assert "kettle" in shown.prompts[0][1]["content"]
    assert model.calls == 0
    assert list(tmp_path.iterdir()) == [passages_file]


def test_contradictions_are_named(passages_file: Path, tmp_path: Path, server: ServerSettings):
    with pytest.raises(ConfigurationError, match="either as kb"):
        dry_run(SynthesisSettings(kb=tmp_path, passages=passages_file))
    with pytest.raises(ConfigurationError, match="There is no knowledge base in"):
        dry_run(SynthesisSettings(kb=tmp_path))
    with pytest.raises(ConfigurationError, match="no passage of at least 9000"):
        dry_run(SynthesisSettings(passages=passages_file, embedder="nano", least_characters=9000))


@pytest.mark.parametrize(
    ("places", "fault"),
    [
        ({"journal": "out.jsonl"}, "output and journal are one file"),
        ({"output": "passages.jsonl"}, "output and passages are one file"),
        ({"journal": "./sub/../passages.jsonl"}, "journal and passages are one file"),
        ({"output": "folder"}, "cannot be written: it is a folder"),
        ({"output": "."}, "cannot be written: it is a folder"),
        ({"output": "passages.jsonl/out.jsonl"}, "cannot be written"),
        ({"journal": "folder"}, "cannot be written: it is a folder"),
    ],
)
def test_what_would_be_written_over_or_cannot_be_written(
    passages_file: Path,
    server: ServerSettings,
    model: ChatModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    places: dict[str, str],
    fault: str,
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    before = passages_file.read_bytes()
    chosen_places = {name: Path(place) for name, place in ({"output": "out.jsonl"} | places).items()}
    with pytest.raises(ConfigurationError, match=fault):
        synthesize(SynthesisSettings(passages=Path("passages.jsonl"), embedder="nano", **chosen_places), server)
    assert (passages_file.read_bytes(), model.calls) == (before, 0)


def test_what_judges_is_not_written_over(passages_file: Path, server: ServerSettings, tmp_path: Path):
    settings = SynthesisSettings(passages=passages_file, embedder="nano", output=tmp_path / "dev.jsonl")
    with pytest.raises(ConfigurationError, match="output and held_out"):
        synthesize(settings, server, FilterSettings(held_out=(tmp_path / "dev.jsonl",)))


def test_a_limit_of_cost_needs_prices(passages_file: Path, server: ServerSettings, model: ChatModel, tmp_path: Path):
    free = replace(server, price_in=0.0, price_out=0.0, most_cost=5.0)
    with pytest.raises(ConfigurationError, match="without price_in and price_out nothing is ever spent"):
        synthesize(SynthesisSettings(passages=passages_file, embedder="nano", output=tmp_path / "out.jsonl"), free)
    assert model.calls == 0


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (r'{"text": "cut \ud83d"}', r"line 1: \\ud83d is half of a character"),
        ('{"text": "a", "language": "English"}', "'English' is no code of a language"),
    ],
)
def test_lines_that_nothing_can_be_made_of(tmp_path: Path, line: str, fault: str):
    (tmp_path / "passages.jsonl").write_text(line, encoding="utf-8")
    with pytest.raises(TrainingDataError, match=fault):
        list(read_passages(tmp_path / "passages.jsonl"))


def test_why_pairs_are_dropped(tmp_path: Path):
    write_pairs(tmp_path / "held.jsonl", [Pair("the loom of the harbour museum", "x")])
    kettle, loom = TEXTS[0], TEXTS[THINGS.index("loom")]
    pairs = [
        Pair("kettle of the harbour museum repaired", kettle),
        Pair("Kettle of the  harbour museum repaired", kettle),
        Pair("The loom of the harbour museum", loom),
        Pair("unrelated words altogether here", kettle),
        Pair("the loom the loom museum harbour", kettle),
        Pair("the museum", "harbour", task=Task.CLASSIFICATION),
        Pair("the kettle was repaired", "of the kettle repaired was", task=Task.SIMILARITY),
    ]
    settings = FilterSettings(least_similarity=0.3, consistency=1, held_out=(tmp_path / "held.jsonl",))
    searcher = ExactSearcher(HashEmbedder(), TEXTS)
    verdicts = list(judged(pairs, searcher, settings))
    assert [reason for _, reason in verdicts] == [
        None,
        Dropped.REPEATED,
        Dropped.HELD_OUT,
        Dropped.UNLIKE,
        Dropped.INCONSISTENT,
        None,
        None,
    ]
    assert [pair.query for pair, _ in verdicts] == [pair.query for pair in pairs]
    lax = replace(settings, consistency=0)
    assert [reason for _, reason in judged(pairs, searcher, lax)][4] is None


def test_the_library_holds_many_people_and_finds_who_cares():
    people = read_personas()
    assert len(people) > 200
    assert len({text.casefold() for text in people}) == len(people)
    embedder = HashEmbedder()
    [near] = Personas([*people, "A keeper of the kettle of the harbour museum"], embedder).near([PASSAGES[0].text])
    assert len(near) == 5
    assert near[0] == "A keeper of the kettle of the harbour museum"


def test_a_file_of_people_is_checked(tmp_path: Path):
    path = tmp_path / "people.jsonl"
    path.write_text('{"persona": "A  baker"}\n\n{"persona": "A baker"}\n', encoding="utf-8")
    assert read_personas(path) == ["A baker"]
    path.write_text('{"persona": "A baker"}\n{"name": "x"}\n', encoding="utf-8")
    with pytest.raises(TrainingDataError, match="line 2: a line looks like this"):
        read_personas(path)
    path.write_text("", encoding="utf-8")
    with pytest.raises(TrainingDataError, match="names nobody"):
        read_personas(path)


def test_passages_are_chosen_by_the_seed(passages_file: Path):
    passages = list(read_passages(passages_file))
    assert [item.embedding_text for item in passages] == TEXTS
    drawn = chosen([*passages, *passages], most=5, seed=1)
    assert drawn == chosen(passages, most=5, seed=1) != chosen(passages, most=5, seed=2)
    assert [item.id for item in drawn] == sorted((item.id for item in drawn), key=lambda name: int(name[1:]))
    assert chosen(passages, least_characters=10_000) == []
    passages_file.write_text('{"text": "a"}\n{"text": ""}\n', encoding="utf-8")
    with pytest.raises(TrainingDataError, match="line 2: 'text' is missing or empty"):
        list(read_passages(passages_file))
