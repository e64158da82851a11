"""What synthesis is told, as three tables of the settings file: `[synthesize]` which passages and what to ask for, `[server]` whom to ask,
`[filter]` what is kept. Plain values; nothing is read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field

from qwen3_rag.settings import LANGUAGE_CODE
from qwen3_rag.training.pairs import Task
from qwen3_rag.training.settings import STRICT, Count, Positive, Weight

LEAST_SIMILARITY = 0.7
"""The paper keeps synthetic pairs whose cosine is above this (section 3.3)."""


class AnswerFormat(StrEnum):
    """What the server is asked to hold its answers to. Whatever it does, the answers are checked here."""

    TEXT = "text"
    JSON_OBJECT = "json_object"
    JSON_SCHEMA = "json_schema"
    """As OpenAI, vLLM and SGLang take a schema."""
    JSON_OBJECT_SCHEMA = "json_object_schema"
    """As llama.cpp takes one: beside the type json_object."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSettings:
    """`[server]`: an OpenAI-compatible server and what it costs.

    Attributes:
        url: up to and with `/v1`.
        model: its name as the server knows it.
        concurrency: most requests at a time.
        timeout: seconds until a request counts as lost and is sent again.
        retries: how often a request is sent again after a failure that may pass: no connection, no answer, 408, 409, 429, 5xx.
        attempts: how often one answer is asked for until it is of use, each time naming the fault of the last one.
        temperature: of sampling.
        most_tokens: longest answer.
        answer_format: text, json_object, json_schema or json_object_schema.
        price_in: of a million tokens of prompts, in whatever currency.
        price_out: of a million tokens of answers.
        most_cost: no further call is made once this much was spent, by the prices; None sets no limit.
        extra: further fields of each request, for what only some servers know.
    """

    url: str = "http://localhost:8000/v1"
    model: str = ""
    concurrency: Count = 8
    timeout: Positive = 120.0
    retries: Annotated[int, Field(ge=0)] = 5
    attempts: Count = 3
    temperature: Weight = 0.7
    most_tokens: Count = 512
    answer_format: AnswerFormat = AnswerFormat.JSON_OBJECT
    price_in: Weight = 0.0
    price_out: Weight = 0.0
    most_cost: Weight | None = None
    extra: Mapping[str, Any] = field(default_factory=dict)

    __pydantic_config__ = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class FilterSettings:
    """`[filter]`: which pairs are kept.

    Attributes:
        least_similarity: cosine of query and positive must be above this; pairs of a text and its class are not judged so.
        consistency: the passage must be among so many passages that the embedder finds for the query; 0 does not look.
        held_out: files of pairs whose queries must not be met again, exactly or nearly, because they judge.
    """

    least_similarity: Annotated[float, Field(ge=-1, lt=1)] = LEAST_SIMILARITY
    consistency: Annotated[int, Field(ge=0)] = 10
    held_out: tuple[Path, ...] = ()

    __pydantic_config__ = STRICT


@dataclass(frozen=True, slots=True, kw_only=True)
class SynthesisSettings:
    """`[synthesize]`.

    Attributes:
        kb: folder of the knowledge base whose chunks are the passages. One of `kb` and `passages` is given.
        passages: JSON Lines with `text` and, where known, `id`, `title`, `language` and `source`.
        output: the pairs that were kept; what was dropped goes beside it into `<name>.dropped.jsonl`, each with the reason.
        journal: every answer that was paid for; None puts it beside the output as `<name>.journal.jsonl`.
        personas: JSON Lines with `persona`; None takes the library that comes with the package.
        embedder: chooses roles and filters; None takes the knowledge base's own.
        tasks: kinds of pairs to make of each passage.
        languages: ISO 639-1 codes to write in, drawn for each pair; none: that of the passage. Bitext is translated into them.
        per_passage: pairs of each task made of each passage.
        most_passages: so many are drawn where there are more; None takes all.
        least_characters: shorter passages are passed over.
        seed: of every choice.
    """

    kb: Path | None = None
    passages: Path | None = None
    output: Path = Path("synthetic.jsonl")
    journal: Path | None = None
    personas: Path | None = None
    embedder: str | None = None
    tasks: tuple[Task, ...] = (Task.RETRIEVAL,)
    languages: tuple[Annotated[str, Field(pattern=f"^{LANGUAGE_CODE.pattern}$")], ...] = ()
    per_passage: Count = 1
    most_passages: Count | None = None
    least_characters: Annotated[int, Field(ge=0)] = 100
    seed: int = 0

    __pydantic_config__ = STRICT

    @property
    def journal_file(self) -> Path:
        """Where the journal is."""
        return self.journal or self.output.with_suffix(".journal.jsonl")

    @property
    def dropped_file(self) -> Path:
        """Where the pairs go that were not kept."""
        return self.output.with_suffix(".dropped.jsonl")
