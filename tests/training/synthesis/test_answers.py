from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag.training.pairs import Task
from qwen3_rag.training.synthesis.answers import (
    WRITTEN,
    AnswerError,
    Configuration,
    check_choice,
    check_language,
    choice_schema,
    parse,
    written_schema,
)
from qwen3_rag.training.synthesis.tasks import KINDS, Difficulty

RIGHT = '{"role": 2, "type": "summary", "difficulty": "phd"}'


@pytest.mark.parametrize(
    "text",
    [
        RIGHT,
        f"```json\n{RIGHT}\n```",
        f"Here you are:\n{RIGHT}\nI hope that helps.",
        f'<think>Perhaps {{3}}? No. {{"role": 5}}</think>\n{RIGHT}',
        f'Perhaps {{"role": 1, "type": "keywords", "difficulty": "phd"}}? No.\n</think>\n\n{RIGHT}',
        '{"role": "2", "type": "Summary", "difficulty": "PhD", "reason": "because"}',
        '{"role": "2. A pupil", "type": "summary", "difficulty": "phd"}',
        '{"role": 2, "type": "summary",\n "difficulty": "phd"}',
    ],
)
def test_an_object_is_found_wherever_it_stands(text: str):
    assert parse(text, Configuration) == Configuration(role=2, type="summary", difficulty=Difficulty.PHD)


def test_names_are_taken_as_people_write_them():
    chosen = parse('{"role": 1, "type": "yes or no", "difficulty": "High School"}', Configuration)
    assert (chosen.type, chosen.difficulty) == ("yes_or_no", Difficulty.HIGH_SCHOOL)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no complete JSON object"),
        ("I would rather not.", "no complete JSON object"),
        ('{"role": 2, "type": "summ', "no complete JSON object"),
        ("[1, 2]", "no complete JSON object"),
        ('{"type": "summary", "difficulty": "phd"}', "role: Field required"),
        ('{"role": 0, "type": "summary", "difficulty": "phd"}', "role: Input should be greater"),
        ('{"role": 1, "type": "summary", "difficulty": "kindergarten"}', "'high_school', 'university' or 'phd'"),
        ("<think>{", "no complete JSON object"),
    ],
)
def test_the_fault_is_named(text: str, fault: str):
    with pytest.raises(AnswerError, match=fault):
        parse(text, Configuration)


@given(st.text())
def test_no_text_is_more_than_a_fault(text: str):
    with suppress(AnswerError):
        parse(text, WRITTEN[Task.RETRIEVAL])


@pytest.mark.parametrize("task", Task)
def test_what_each_prompt_asks_for_is_what_its_answer_holds(task: Task):
    model = WRITTEN[task]
    assert set(model.model_fields) == set(KINDS[task].fields)
    written = parse(json.dumps({name: ["one", "two"] if name == "other_labels" else f"a {name}" for name in model.model_fields}), model)
    query, positive, negatives = written.parts
    assert query in (f"a {name}" for name in model.model_fields)
    assert (positive is None) == (task is Task.RETRIEVAL)
    assert negatives == {Task.SIMILARITY: ("a different",), Task.CLASSIFICATION: ("one", "two")}.get(task, ())


def test_a_query_that_gives_the_passage_away_is_refused():
    with pytest.raises(AnswerError, match="'the passage'"):
        parse('{"query": "what does the passage say of keys?"}', WRITTEN[Task.RETRIEVAL])


@pytest.mark.parametrize(
    "text", ['{"role": ' + "[" * 3000, '{"a":' * 3000, '{"role": ' + "1" * 5000 + "}"], ids=["brackets", "objects", "digits"]
)
def test_what_a_model_writes_that_cannot_stop(text: str):
    with pytest.raises(AnswerError):
        parse(text, Configuration)


def test_only_what_was_offered_can_be_chosen():
    types = KINDS[Task.RETRIEVAL].types
    check_choice(Configuration(role=5, type="summary", difficulty=Difficulty.PHD), 5, types)
    with pytest.raises(AnswerError, match="no person 6; the numbers go from 1 to 5"):
        check_choice(Configuration(role=6, type="summary", difficulty=Difficulty.PHD), 5, types)
    with pytest.raises(AnswerError, match="no type 'riddle'; choose one of keywords, acquire_knowledge"):
        check_choice(Configuration(role=1, type="riddle", difficulty=Difficulty.PHD), 5, types)


@pytest.mark.parametrize(
    ("text", "wanted", "found"),
    [
        ("How long do the old key and the new one both work?", "en", None),
        ("Wie lange gelten der alte und der neue Schlüssel zugleich?", "de", None),
        ("How long do the old key and the new one both work?", "de", "English"),
        ("Wie lange gelten der alte und der neue Schlüssel zugleich?", "en", "German"),
        ("旧钥匙和新钥匙同时有效多久？", "en", "Chinese"),
        ("旧钥匙和新钥匙同时有效多久？", "zh", None),
        ("key rotation", "de", None),
        ("How long do the old key and the new one both work?", "en-US", None),
        ("How long do the old key and the new one both work?", "EN", None),
        ("Wie lange gelten der alte und der neue Schlüssel zugleich?", "en_GB", "German"),
        ("Hvor lenge varer den gamle nøkkelen etter at den nye kom?", "nb", None),
        ("Wéi laang gëllen den alen an den neie Schlëssel zesummen?", "lb", None),
        ("旧钥匙和新钥匙同时有效多久？", "zh-TW", None),
    ],
)
def test_the_language_is_checked_where_it_can_be_told(text: str, wanted: str, found: str | None):
    others = ("en", "de", "fr", "zh")
    if found is None:
        check_language(text, wanted, others)
    else:
        with pytest.raises(AnswerError, match=f"looks like {found}"):
            check_language(text, wanted, others)


def test_schemas_allow_what_is_asked_for_and_no_more():
    chosen = choice_schema(5, KINDS[Task.RETRIEVAL].types)
    assert chosen["properties"]["role"]["enum"] == [1, 2, 3, 4, 5]
    assert set(chosen["properties"]) == set(Configuration.model_fields)
    labels = written_schema(WRITTEN[Task.CLASSIFICATION])["properties"]
    assert labels == {
        "text": {"type": "string"},
        "label": {"type": "string"},
        "other_labels": {"type": "array", "items": {"type": "string"}},
    }
    assert written_schema(WRITTEN[Task.RETRIEVAL]) == {
        "type": "object",
        "properties": {"query": {"type": "string"}},
        "required": ["query"],
        "additionalProperties": False,
    }
