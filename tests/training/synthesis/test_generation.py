from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from unittest.mock import Mock

import pytest

from qwen3_rag.errors import ConfigurationError, RemoteResponseError, RequestRefusedError, TrainingError
from qwen3_rag.training.pairs import Pair, Task
from qwen3_rag.training.synthesis.client import ChatClient
from qwen3_rag.training.synthesis.journal import Journal
from qwen3_rag.training.synthesis.run import Generation, Tally, jobs_of
from qwen3_rag.training.synthesis.settings import ServerSettings, SynthesisSettings
from qwen3_rag.types import Passage
from tests.models.remote.server import InferenceServer, Reply, Request
from tests.training.synthesis.chat_server import ChatModel, is_configuration
from tests.training.synthesis.conftest import PASSAGES, ROLES

SETTINGS = SynthesisSettings(seed=3)


async def generate(
    server: ServerSettings, journal: Path, settings: SynthesisSettings = SETTINGS, passages: Sequence[Passage] = PASSAGES
) -> tuple[list[Pair], Tally]:
    client = ChatClient(server)
    with Journal(journal) as opened:
        generation = Generation(settings, server, client, opened)
        try:
            return await generation.run(list(jobs_of(passages, [ROLES] * len(passages), settings))), generation.tally
        finally:
            await client.close()


async def test_each_passage_gets_a_query_by_somebody(server: ServerSettings, model: ChatModel, tmp_path: Path):
    pairs, tally = await generate(server, tmp_path / "j.jsonl")
    assert [pair.positive for pair in pairs] == [item.embedding_text for item in PASSAGES]
    assert all(pair.extra["role"] in ROLES and pair.language == "en" and pair.task is Task.RETRIEVAL for pair in pairs)
    assert len({pair.extra["type"] for pair in pairs}) > 2
    assert (tally.made, tally.given_up, tally.paid.calls, model.calls) == (12, 0, 24, 24)
    assert tally.paid.cost(server) == pytest.approx(24 * (100 * 1000 + 10 * 2000) / 1e6)


async def test_the_second_run_pays_nothing_and_says_the_same(server: ServerSettings, model: ChatModel, tmp_path: Path):
    first, _ = await generate(server, tmp_path / "j.jsonl")
    again, tally = await generate(replace(server, concurrency=1, timeout=5.0, price_in=0.0), tmp_path / "j.jsonl")
    assert again == first
    assert (tally.paid.calls, tally.remembered.calls, model.calls) == (0, 24, 24)


async def test_another_seed_asks_and_draws_anew(server: ServerSettings, tmp_path: Path):
    first, _ = await generate(server, tmp_path / "j.jsonl")
    other, tally = await generate(server, tmp_path / "j.jsonl", replace(SETTINGS, seed=4))
    assert tally.paid.calls == 24
    assert [pair.extra for pair in first] != [pair.extra for pair in other]


@pytest.mark.parametrize(
    ("bad", "fault"),
    [
        ("Sure! Here is a question for you.", "There is no complete JSON object in it."),
        ('{"query": "how old is', "There is no complete JSON object in it."),
        ('{"question": "how old is it?"}', "In its JSON object: query: Field required."),
        ('{"query": "wie lange dauert es, bis die Laterne wieder leuchtet?"}', "It was to be written in English and looks like German."),
        ('{"query": "what is the text about?"}', "which nobody would who has not seen it"),
    ],
)
async def test_a_bad_answer_is_asked_for_again_with_its_fault(
    server: ServerSettings, model: ChatModel, tmp_path: Path, bad: str, fault: str
):
    model.spoilt = lambda prompt, times: bad if times == 0 and not is_configuration(prompt) and "keywords (" not in prompt else None
    pairs, tally = await generate(server, tmp_path / "j.jsonl")
    assert len(pairs) == 12
    assert any(fault in said for said in tally.faults)
    corrections = [body["messages"] for body in model.conversations if len(body["messages"]) == 4]
    assert len(corrections) == sum(tally.faults.values()) > 4
    assert all(messages[2] == {"role": "assistant", "content": bad} and fault in messages[3]["content"] for messages in corrections)
    again, tally = await generate(server, tmp_path / "j.jsonl")
    assert (again, tally.paid.calls) == (pairs, 0)


async def test_what_never_comes_right_is_given_up(server: ServerSettings, model: ChatModel, tmp_path: Path):
    model.spoilt = lambda prompt, _: "no" if "kettle" in prompt else None
    model.finish = "length"
    pairs, tally = await generate(server, tmp_path / "j.jsonl")
    assert (len(pairs), tally.given_up, tally.paid.calls) == (11, 1, 22 + 3)
    assert tally.faults == {"It was too long and had to be cut off.": 3}


async def test_no_more_requests_at_a_time_than_asked(chat: InferenceServer, server: ServerSettings, model: ChatModel, tmp_path: Path):
    model.delay = 0.02
    await generate(server, tmp_path / "j.jsonl")
    assert chat.most_running == 3


async def test_a_limit_on_cost_stops_and_keeps(server: ServerSettings, model: ChatModel, tmp_path: Path):
    limited = replace(server, most_cost=1.0, concurrency=1)
    with pytest.raises(TrainingError, match=r"1\.08 were spent for 4 pairs, and most_cost is 1\.00"):
        await generate(limited, tmp_path / "j.jsonl")
    assert model.calls == 9
    with pytest.raises(TrainingError, match="most_cost"):
        await generate(limited, tmp_path / "j.jsonl")
    assert model.calls == 9
    pairs, tally = await generate(server, tmp_path / "j.jsonl")
    assert (len(pairs), tally.paid.calls, tally.remembered.calls) == (12, 15, 9)


async def test_a_refusal_ends_the_run_and_what_came_before_is_kept(
    chat: InferenceServer, server: ServerSettings, model: ChatModel, tmp_path: Path
):
    def refuse(prompt: str, times: int) -> None:
        if model.calls >= 10:  # three callers count at once, so one of them may never see the tenth
            chat.faults.always = Reply(401, {"error": "credit used up"})

    model.spoilt = refuse
    with pytest.raises(RemoteResponseError, match="credit used up"):
        await generate(server, tmp_path / "j.jsonl")
    chat.faults.always = None
    model.spoilt = lambda prompt, times: None
    before = model.calls
    _, tally = await generate(server, tmp_path / "j.jsonl")
    assert tally.remembered.calls == before
    assert tally.remembered.calls + tally.paid.calls == model.calls == 24


@pytest.mark.parametrize("fault", ["cost", "refusal", "own"])
async def test_answers_under_way_are_kept_when_a_run_ends(
    chat: InferenceServer, server: ServerSettings, model: ChatModel, tmp_path: Path, fault: str, monkeypatch: pytest.MonkeyPatch
):
    model.delay = 0.1
    server = replace(server, concurrency=6)
    if fault == "refusal":
        chat.faults.replies = [Reply(401, {"error": "credit used up"})]  # at once, while five others wait
    limited = replace(server, most_cost=0.2 if fault == "cost" else None)
    with monkeypatch.context() as changed:
        if fault == "own":
            changed.setattr("qwen3_rag.training.synthesis.run._checked", Mock(side_effect=ZeroDivisionError))
        with pytest.raises((TrainingError, RemoteResponseError, ZeroDivisionError)):
            await generate(limited, tmp_path / "j.jsonl")
    assert 5 <= model.calls < 12
    _, tally = await generate(server, tmp_path / "j.jsonl")
    assert tally.remembered.calls + tally.paid.calls == model.calls == 24


def refusing(chat: InferenceServer, word: str, status: int) -> Callable[[Request], Reply]:
    """What the server says when it takes no prompts with a word in them."""
    answer = chat.answer
    return lambda asked: Reply(status, {"error": "too long"}) if word in json.dumps(asked.body) else answer(asked)


async def test_a_passage_that_the_server_refuses_is_given_up(
    chat: InferenceServer, server: ServerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    with monkeypatch.context() as changed:
        changed.setattr(chat, "answer", refusing(chat, "kettle", 400))
        pairs, tally = await generate(server, tmp_path / "j.jsonl")
    assert (len(pairs), tally.made, tally.given_up, tally.paid.calls) == (11, 11, 1, 22)
    assert tally.refused == {"p0": """HTTP 400: '{"error": "too long"}'"""}
    again, tally = await generate(server, tmp_path / "j.jsonl")
    assert ([pair for pair in again if "kettle" not in pair.positive], len(again), tally.paid.calls) == (pairs, 12, 2)


async def test_one_passage_that_is_refused_for_every_pair_ends_nothing(
    chat: InferenceServer, server: ServerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(chat, "answer", refusing(chat, "kettle", 400))
    pairs, tally = await generate(server, tmp_path / "j.jsonl", replace(SETTINGS, per_passage=24), PASSAGES[:3])
    assert (tally.given_up, list(tally.refused)) == (24, ["p0"])
    assert len(pairs) == 48


MANY = [replace(item, id=f"{item.id}-{number}") for number in range(3) for item in PASSAGES]


@pytest.mark.parametrize(("passages", "sent"), [(PASSAGES[:2], 2), (MANY, 20)], ids=["few", "many"])
async def test_what_is_always_refused_is_no_matter_of_the_passages(
    chat: InferenceServer, server: ServerSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, passages: Sequence[Passage], sent: int
):
    refused: list[Request] = []
    monkeypatch.setattr(chat, "answer", lambda asked: refused.append(asked) or Reply(422, {"error": "extra: unknown"}))
    with pytest.raises(RequestRefusedError, match=r"HTTP 422.*Check `url`"):
        await generate(server, tmp_path / "j.jsonl", passages=passages)
    assert sent <= len(refused) < sent + server.concurrency


async def test_all_tasks_in_the_languages_ordered(server: ServerSettings, tmp_path: Path):
    settings = SynthesisSettings(tasks=tuple(Task), languages=("de", "en"), per_passage=2)
    pairs, tally = await generate(server, tmp_path / "j.jsonl", settings, PASSAGES[:3])
    assert (len(pairs), tally.given_up) == (3 * 4 * 2, 0)
    by_task = {task: [pair for pair in pairs if pair.task is task] for task in Task}
    assert {pair.language for pair in by_task[Task.RETRIEVAL]} == {"de", "en"}
    assert {pair.language for pair in by_task[Task.BITEXT]} == {"de"}
    assert all(pair.instruction == "Retrieve semantically similar text" and pair.negatives for pair in by_task[Task.SIMILARITY])
    assert all(pair.negatives == ("complaint", "order") for pair in by_task[Task.CLASSIFICATION])
    json.dumps([pair.to_line() for pair in pairs])


def test_a_task_named_twice_is_done_once():
    twice, once = (list(jobs_of(PASSAGES, [ROLES] * 12, SynthesisSettings(tasks=(Task.RETRIEVAL,) * count))) for count in (2, 1))
    assert twice == once


def test_bitext_must_know_into_what():
    with pytest.raises(ConfigurationError, match="nothing says into what"):
        list(jobs_of(PASSAGES, [ROLES] * 12, SynthesisSettings(tasks=(Task.BITEXT,))))
