"""A query that brings its own task along, for models that follow instructions."""

from __future__ import annotations

from dataclasses import dataclass

from llama_index.core.schema import QueryBundle


@dataclass
class InstructedQuery(QueryBundle):
    """A query bundle with the task it is asked for, in English.

    Retrievers, query engines and postprocessors take it wherever they take a query; ours use its instruction instead of their own.

    Example:
        >>> InstructedQuery("rotate keys", instruction="Given a task, retrieve the runbook for it")  # doctest: +SKIP
    """

    instruction: str | None = None


def instruction_of(query: QueryBundle | None) -> str | None:
    """The instruction that a query bundle brings along, if it does."""
    return query.instruction if isinstance(query, InstructedQuery) else None
