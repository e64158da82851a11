"""From what a language model wrote to what was asked for: finds the JSON object in it and checks every field.

What is wrong becomes a sentence that the model can be told. It knows neither servers nor passages.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from json import JSONDecoder
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, ValidationError

from qwen3_rag.store.language import can_tell, detect_query, primary
from qwen3_rag.training.pairs import Task
from qwen3_rag.training.synthesis.prompts import LANGUAGES
from qwen3_rag.training.synthesis.tasks import Difficulty

MOST_CHARACTERS = 2000
_FEWEST_WORDS = 5
"""Shorter texts are names and keywords, in which no language can be told."""
_THOUGHTS_END = "</think>"
_THOUGHTS = re.compile(r"<think>.*\Z", re.DOTALL)
"""Of which nothing but the beginning is there."""
_GIVES_AWAY = re.compile(r"\b(the|this|that)\s+(above\s+|given\s+|provided\s+)?(passage|text|document|excerpt|paragraph)\b", re.IGNORECASE)

Model = TypeVar("Model", bound="Answer")


class AnswerError(ValueError):
    """An answer that cannot be used; the message says why, as a sentence for the model that wrote it."""


def _name(value: Any) -> Any:
    """`High School` and `high-school` are `high_school`."""
    return re.sub(r"[\s-]+", "_", value.strip().lower()) if isinstance(value, str) else value


def _number(value: Any) -> Any:
    """A small model writes `"3"`, `"3."` or `"3. A baker"` for 3."""
    found = re.match(r"\s*(\d+)", value) if isinstance(value, str) else None
    return int(found[1]) if found else value


def _self_contained(text: str) -> str:
    if found := _GIVES_AWAY.search(text):
        raise ValueError(f"it says {found[0]!r}, which nobody would who has not seen it")
    return text


Text = Annotated[str, StringConstraints(strip_whitespace=True, min_length=2, max_length=MOST_CHARACTERS)]
Query = Annotated[Text, AfterValidator(_self_contained)]


class Answer(BaseModel):
    """One JSON object; fields that were not asked for are passed over."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Configuration(Answer):
    """What the first call chose: the number of a role, a type and a difficulty. Which types there are depends on the task."""

    role: Annotated[int, BeforeValidator(_number)] = Field(ge=1)
    type: Annotated[str, BeforeValidator(_name)]
    difficulty: Annotated[Difficulty, BeforeValidator(_name)]


class Written(Answer):
    """What the second call wrote. `places` names its fields that become query, positive (None: the passage itself) and negatives."""

    places: ClassVar[tuple[str, str | None, str | None]]
    ordered_in: ClassVar[str]
    """The field that must be in the language that was ordered."""

    @property
    def parts(self) -> tuple[str, str | None, tuple[str, ...]]:
        """Query, positive and negatives of the pair."""
        query, positive, negatives = (getattr(self, place) if place else None for place in self.places)
        return str(query), positive, (negatives,) if isinstance(negatives, str) else tuple(negatives or ())

    @property
    def in_language(self) -> str:
        """The text that must be in the language that was ordered."""
        return str(getattr(self, self.ordered_in))


class RetrievalAnswer(Written):
    """A query that the passage answers."""

    places = ("query", None, None)
    ordered_in = "query"
    query: Query


class BitextAnswer(Written):
    """A sentence and its translation."""

    places = ("sentence", "translation", None)
    ordered_in = "translation"
    sentence: Text
    translation: Text


class SimilarityAnswer(Written):
    """Two texts of one meaning and one of another."""

    places = ("text", "similar", "different")
    ordered_in = "text"
    text: Text
    similar: Text
    different: Text


class ClassificationAnswer(Written):
    """A message, its class, and classes that it is not of."""

    places = ("text", "label", "other_labels")
    ordered_in = "text"
    text: Text
    label: Text
    other_labels: list[Text] = Field(min_length=1)


WRITTEN: Mapping[Task, type[Written]] = {
    Task.RETRIEVAL: RetrievalAnswer,
    Task.BITEXT: BitextAnswer,
    Task.SIMILARITY: SimilarityAnswer,
    Task.CLASSIFICATION: ClassificationAnswer,
}


def parse(text: str, model: type[Model]) -> Model:
    """The answer that `text` holds, bare, in a fence, after thoughts or among other words.

    Thoughts may lack their beginning: some templates put it into the prompt.

    Raises:
        AnswerError: there is no JSON object, or a field of it is missing or wrong.
    """
    found = _first_object(_THOUGHTS.sub("", text.rpartition(_THOUGHTS_END)[2]))
    if found is None:
        raise AnswerError("There is no complete JSON object in it.")
    try:
        return model.model_validate(found)
    except ValidationError as error:
        faults = "; ".join(f"{'.'.join(map(str, item['loc'])) or 'it'}: {item['msg']}" for item in error.errors())
        raise AnswerError(f"In its JSON object: {faults}.") from None


def choice_schema(roles: int, types: Mapping[str, str]) -> dict[str, Any]:
    """JSON schema of a `Configuration`, for servers that hold a model to one: only what is offered can be chosen."""
    return _schema(
        {
            "role": {"type": "integer", "enum": list(range(1, roles + 1))},
            "type": {"type": "string", "enum": list(types)},
            "difficulty": {"type": "string", "enum": [str(item) for item in Difficulty]},
        }
    )


def written_schema(model: type[Written]) -> dict[str, Any]:
    """JSON schema of what the second call answers."""
    text = {"type": "string"}
    return _schema(
        {name: text if field.annotation is str else {"type": "array", "items": text} for name, field in model.model_fields.items()}
    )


def _schema(properties: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


def check_choice(chosen: Configuration, roles: int, types: Mapping[str, str]) -> None:
    """Refuse a number or a type that was not offered.

    Raises:
        AnswerError: naming what there is.
    """
    if chosen.role > roles:
        raise AnswerError(f"There is no person {chosen.role}; the numbers go from 1 to {roles}.")
    if chosen.type not in types:
        raise AnswerError(f"There is no type {chosen.type!r}; choose one of {', '.join(types)}.")


def check_language(text: str, wanted: str, others: tuple[str, ...]) -> None:
    """Refuse a text of some length that is in one of the `others` rather than in the language `wanted`, where that can be told.

    Raises:
        AnswerError: naming both.
    """
    language = primary(wanted)
    if language is None or not can_tell(language) or (len(text.split()) < _FEWEST_WORDS and text.isascii()):
        return
    found = detect_query(text, (language, *others))
    if found != language:
        names = [LANGUAGES.get(code, code) for code in (language, found)]
        raise AnswerError(f"It was to be written in {names[0]} and looks like {names[1]}.")


def _first_object(text: str) -> dict[str, Any] | None:
    decoder = JSONDecoder(strict=False)  # models put real line ends into strings
    start = text.find("{")
    while start >= 0:
        try:
            value, _ = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):  # no JSON, a number of thousands of digits, a thousand brackets
            start = text.find("{", start + 1)
            continue
        return value if isinstance(value, dict) else None
    return None
