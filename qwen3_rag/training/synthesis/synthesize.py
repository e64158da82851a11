"""The verb: passages and roles are gathered, pairs generated, filtered and written. It opens and closes what the steps need.

The knowledge base is open while passages are read and while pairs are judged, not in the hours between: others may use it then.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.training.pairs import Pair, check_output, write_pairs
from qwen3_rag.training.passages import chosen
from qwen3_rag.training.sources import opened
from qwen3_rag.training.synthesis.answers import Configuration
from qwen3_rag.training.synthesis.client import ChatClient
from qwen3_rag.training.synthesis.filtering import Dropped, judged
from qwen3_rag.training.synthesis.journal import Journal
from qwen3_rag.training.synthesis.personas import Personas, read_personas
from qwen3_rag.training.synthesis.prompts import Messages, configuration_prompt, generation_prompt
from qwen3_rag.training.synthesis.run import CALLS_PER_PAIR, Generation, Job, Tally, jobs_of, offered_roles, order_of
from qwen3_rag.training.synthesis.settings import FilterSettings, ServerSettings, SynthesisSettings
from qwen3_rag.training.synthesis.tasks import KINDS, Difficulty
from qwen3_rag.types import Passage

SHOWN_PASSAGES = 2
"""Passages whose prompts a dry run shows."""


@dataclass(frozen=True, slots=True)
class Report:
    """What came out: pairs kept, why others were dropped, how many were given up, and what was spent now and in all.

    `tally` tells further why answers were asked for again, and what the server said of passages that it refused.
    """

    passages: int
    kept: int
    dropped: Counter[Dropped]
    tally: Tally
    spent_now: float
    spent_in_all: float
    output: Path

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        paid, known = self.tally.paid, self.tally.remembered
        return {
            "passages": self.passages,
            "generated": self.tally.made,
            "given_up": self.tally.given_up,
            "kept": self.kept,
            "dropped": {str(reason): count for reason, count in sorted(self.dropped.items())},
            "faults": dict(self.tally.faults.most_common()),
            "refused": self.tally.refused,
            "calls": paid.calls,
            "calls_remembered": known.calls,
            "prompt_tokens": paid.prompt_tokens + known.prompt_tokens,
            "completion_tokens": paid.completion_tokens + known.completion_tokens,
            "spent_now": self.spent_now,
            "spent_in_all": self.spent_in_all,
            "output": str(self.output),
        }


@dataclass(frozen=True, slots=True)
class DryRun:
    """What a run would do: how many calls at least, and the prompts of the first passages."""

    passages: int
    pairs: int
    calls: int
    prompts: tuple[Messages, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        prompts = [[dict(message) for message in messages] for messages in self.prompts]
        return {"passages": self.passages, "pairs": self.pairs, "calls": self.calls, "prompts": prompts}


def synthesize(
    settings: SynthesisSettings,
    server: ServerSettings,
    filters: FilterSettings | None = None,
    *,
    api_key: str | None = None,
    progress: Callable[[Tally], None] = lambda _: None,
) -> Report:
    """Make pairs of passages. Killed at any point, the same call goes on where it was: no answer that arrived is asked for again.

    Raises:
        ConfigurationError: settings that contradict each other or lack something.
        MissingExtraError: the `openai` package is not installed.
        RemoteError: the server does not answer, or refuses.
        TrainingError: the most that may be spent was spent, or another process writes the same journal.
    """
    filters = filters or FilterSettings()
    _check(settings, server, filters)
    client = ChatClient(server, api_key)
    jobs, passages = prepare(settings)
    with Journal(settings.journal_file) as journal:
        generation = Generation(settings, server, client, journal, progress)
        pairs = asyncio.run(_generated(generation, client, jobs))
    verdicts = _verdicts(pairs, settings, filters)
    kept = write_pairs(settings.output, (pair for pair, reason in verdicts if reason is None))
    write_pairs(settings.dropped_file, (replace(pair, extra={**pair.extra, "dropped": str(reason)}) for pair, reason in verdicts if reason))
    now, before = generation.tally.paid.cost(server), generation.tally.remembered.cost(server)
    reasons = Counter(reason for _, reason in verdicts if reason)
    return Report(len(passages), kept, reasons, generation.tally, now, now + before, settings.output)


def dry_run(settings: SynthesisSettings) -> DryRun:
    """The prompts that the first passages would give, with the first role, type and difficulty for what the model would choose."""
    jobs, passages = prepare(settings)
    shown = [job for job in jobs if job.passage in passages[:SHOWN_PASSAGES]]
    return DryRun(len(passages), len(jobs), len(jobs) * CALLS_PER_PAIR, tuple(_prompts(shown, settings)))


def _check(settings: SynthesisSettings, server: ServerSettings, filters: FilterSettings) -> None:
    """Refuse what would come to light, or do harm, when everything was paid for.

    Raises:
        ConfigurationError: a file that is written is read too, or cannot be written; or a limit of cost without prices.
    """
    if server.most_cost is not None and not (server.price_in or server.price_out):
        raise ConfigurationError(
            "most_cost says where to stop, and without price_in and price_out nothing is ever spent. Give the prices of a million tokens "
            "under [server], or leave most_cost away."
        )
    check_output(settings.output)
    written = {"output": settings.output, "journal": settings.journal_file, "what is dropped": settings.dropped_file}
    read = {"passages": settings.passages, "personas": settings.personas} | {f"held_out ({file})": file for file in filters.held_out}
    seen: dict[Path, str] = {}
    for name, path in [*written.items(), *((name, path) for name, path in read.items() if path is not None)]:
        first = seen.setdefault(path.resolve(), name)
        if first != name and first in written:  # what is written comes first
            raise ConfigurationError(f"{first} and {name} are one file, {path}, which would be written over. Give each a file of its own.")
    check_output(settings.journal_file)
    check_output(settings.dropped_file)


def prepare(settings: SynthesisSettings) -> tuple[list[Job], list[Passage]]:
    """The jobs of a run and the passages they are of.

    Raises:
        ConfigurationError: no passages.
    """
    with opened(settings.kb, settings.passages, settings.embedder) as source:
        passages = chosen(source.passages(), settings.least_characters, settings.most_passages, settings.seed)
        if not passages:
            raise ConfigurationError(
                f"There is no passage of at least {settings.least_characters} characters in {settings.kb or settings.passages}. Ingest "
                "documents, or lower least_characters."
            )
        roles = Personas(read_personas(settings.personas), source.embedder()).near([passage.embedding_text for passage in passages])
    return list(jobs_of(passages, roles, settings)), passages


async def _generated(generation: Generation, client: ChatClient, jobs: Sequence[Job]) -> list[Pair]:
    try:
        return await generation.run(jobs)
    finally:
        await client.close()


def _verdicts(pairs: Sequence[Pair], settings: SynthesisSettings, filters: FilterSettings) -> list[tuple[Pair, Dropped | None]]:
    with opened(settings.kb, settings.passages, settings.embedder) as source:
        return list(judged(pairs, source.searcher(), filters))


def _prompts(jobs: Sequence[Job], settings: SynthesisSettings) -> Iterator[Messages]:
    for job in jobs:
        text = job.passage.embedding_text
        yield configuration_prompt(job.task, text, offered_roles(job, settings.seed))
        assumed = Configuration(role=1, type=next(iter(KINDS[job.task].types)), difficulty=next(iter(Difficulty)))
        yield generation_prompt(job.task, text, order_of(job, assumed, settings))
