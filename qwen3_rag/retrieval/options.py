"""What one search was asked for: settings with the call's own arguments over them, checked. It runs nothing."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import StrEnum
from numbers import Real
from typing import Any, TypedDict, TypeVar

from qwen3_rag.checks import lone_surrogate
from qwen3_rag.errors import ConfigurationError
from qwen3_rag.settings import RetrievalSettings
from qwen3_rag.store.filters import Filters
from qwen3_rag.types import Fusion, Mode

LEAST_CANDIDATES = 50
CANDIDATES_PER_HIT = 5
"""Recall depth where none is given: several times what is returned, so that fusion and reranking have something to choose from."""

_OF_RERANKING = ("rerank_weight", "rerank_threshold", "rerank_deadline")

Choice = TypeVar("Choice", bound=StrEnum)


class SearchKeywords(TypedDict, total=False):
    """The keywords of a search, for those who pass them on; `Retriever.search` says what they mean."""

    top_k: int | None
    filters: Filters
    instruction: str | None
    mode: Mode | str | None
    rerank: bool | None
    candidates: int | None
    fusion: Fusion | str | None
    dense_weight: float | None
    rrf_k: int | None
    recall_threshold: float | None
    rerank_weight: float | None
    rerank_threshold: float | None
    rerank_deadline: float | None
    vector: Sequence[float] | None
    explain: bool


@dataclass(frozen=True, slots=True)
class SearchOptions(RetrievalSettings):
    """The settings of one search. `rerank`: None reranks where there is a reranker, True insists on one, False does not."""

    rerank: bool | None = None

    @property
    def depth(self) -> int:
        """How many candidates each ranker recalls, and how many at most are reranked."""
        return self.candidates or max(LEAST_CANDIDATES, CANDIDATES_PER_HIT * self.top_k)


def resolve(settings: RetrievalSettings, **given: Any) -> SearchOptions:
    """Settings with what was given (not None) over them.

    Raises:
        ConfigurationError: naming the option that is out of range.
    """
    defaults = {field.name: getattr(settings, field.name) for field in fields(RetrievalSettings)}
    options = SearchOptions(**{**defaults, **{name: value for name, value in given.items() if value is not None}})
    mode, fusion = _choice(Mode, "mode", options.mode), _choice(Fusion, "fusion", options.fusion)
    options = replace(options, mode=mode, fusion=fusion, rerank=_yes_or_no(options.rerank))
    _check(options)
    return options


def of_reranking(given: Mapping[str, Any]) -> list[str]:
    """The options among keywords of a search that mean nothing without reranking."""
    return [name for name in _OF_RERANKING if given.get(name) is not None]


def check_query(query: object) -> None:
    """Refuse what cannot be searched for.

    Raises:
        ConfigurationError: no string, an empty one, or one that is not valid Unicode.
    """
    if not isinstance(query, str):
        raise ConfigurationError(f"A query is a string, not {type(query).__name__}. For several queries, search once for each.")
    if not query.strip():
        raise ConfigurationError("The query is empty. Give the words or the question to search for.")
    if (place := lone_surrogate(query)) is not None:
        raise ConfigurationError(
            f"The query is not valid Unicode: a lone surrogate at character {place}. Decode its bytes with their own encoding."
        )


def check_instruction(instruction: object) -> None:
    """Refuse what is no task in words.

    Raises:
        ConfigurationError: it is neither None nor a string.
    """
    if instruction is not None and not isinstance(instruction, str):
        raise ConfigurationError(f"An instruction is a string that says the task, not {type(instruction).__name__}.")


def _choice(kind: type[Choice], name: str, value: Any) -> Choice:
    try:
        return kind(value)
    except ValueError:
        raise ConfigurationError(f"{name}={value!r} is not known. Known: {', '.join(kind)}.") from None


def _yes_or_no(rerank: Any) -> bool | None:
    if rerank is None:
        return None
    if isinstance(rerank, str) or rerank not in (True, False):  # 0, 1 and numpy's booleans are taken for what they equal
        raise ConfigurationError(f"rerank={rerank!r} is neither True nor False. Which reranker is said when opening: reranker=…")
    return bool(rerank)


def _check(options: SearchOptions) -> None:
    _at_least_one("top_k", options.top_k)
    _at_least_one("rrf_k", options.rrf_k)
    if options.candidates is not None:
        _at_least_one("candidates", options.candidates)
        if options.candidates < options.top_k:
            raise ConfigurationError(
                f"candidates={options.candidates} is less than top_k={options.top_k}: recall at least as many as are returned."
            )
    _share("dense_weight", options.dense_weight)
    _share("rerank_weight", options.rerank_weight)
    if options.rerank_deadline is not None and not (_is_number(options.rerank_deadline) and options.rerank_deadline > 0):
        raise ConfigurationError(
            f"rerank_deadline={options.rerank_deadline!r} is not a positive number of seconds; rerank=False turns it off."
        )
    for name in ("recall_threshold", "rerank_threshold"):
        value = getattr(options, name)
        if value is not None and (not _is_number(value) or math.isnan(value)):
            raise ConfigurationError(f"{name}={value!r} is not a number.")


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)


def _share(name: str, value: Any) -> None:
    if not _is_number(value) or not 0 <= float(value) <= 1:
        raise ConfigurationError(f"{name}={value!r} is not a number between 0 and 1.")


def _at_least_one(name: str, value: Any) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ConfigurationError(f"{name}={value!r} is not a whole number of at least 1.")
