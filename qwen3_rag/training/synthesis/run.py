"""The generation of pairs: which calls are made, in what order, and what becomes of their answers. Every choice follows from the seed.

It knows passages, roles, a client and a journal; where they come from is `synthesize`'s business.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Generic, Protocol, TypeVar

from qwen3_rag.errors import ConfigurationError, RequestRefusedError, TrainingError
from qwen3_rag.training.pairs import Pair, Task, fingerprint
from qwen3_rag.training.passages import language_of
from qwen3_rag.training.synthesis import answers, prompts
from qwen3_rag.training.synthesis.client import Messages
from qwen3_rag.training.synthesis.journal import Completion, Journal, key_of
from qwen3_rag.training.synthesis.settings import ServerSettings, SynthesisSettings
from qwen3_rag.training.synthesis.tasks import KINDS
from qwen3_rag.types import Passage

KEYWORDS = "keywords"
LENGTHS = ((4, 8), (8, 16), (16, 30))
"""Words of each text, drawn; keywords are always short."""
SHORT = (2, 6)
CALLS_PER_PAIR = 2
MOST_REFUSED = 20
"""So many passages in a row that the server refuses are no matter of the passages."""
_CONFUSED_WITH = ("en", "de", "fr", "es", "it", "zh", "ja", "ru")
"""Languages that a model falls into when it was asked for another."""

Model = TypeVar("Model", bound=answers.Answer)


class Client(Protocol):
    """Answers a prompt."""

    async def complete(self, messages: Messages, schema: dict[str, Any], seed: int) -> Completion:
        """One answer."""


@dataclass(frozen=True, slots=True)
class Job:
    """One pair to be made: of which passage, for which task, and which one of several."""

    passage: Passage
    roles: Sequence[str]
    task: Task
    number: int


@dataclass(frozen=True, slots=True)
class Question(Generic[Model]):
    """What an answer must be: its class, its JSON schema for the server, and a check that raises `AnswerError`."""

    model: type[Model]
    schema: dict[str, Any]
    check: Callable[[Model], None]


@dataclass(slots=True)
class Usage:
    """Calls and the tokens that they bill."""

    calls: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, completion: Completion) -> None:
        """Count one more."""
        self.calls += 1
        self.prompt_tokens += completion.prompt_tokens
        self.completion_tokens += completion.completion_tokens

    def cost(self, server: ServerSettings) -> float:
        """In the currency of the server's prices."""
        return (self.prompt_tokens * server.price_in + self.completion_tokens * server.price_out) / 1e6


@dataclass(slots=True)
class Tally:
    """How far a run is: `paid` was called now, `remembered` comes from the journal, `faults` tells why answers were asked for again.

    `refused` tells what the server said of passages, by their ids, that it would not be asked about; their pairs are given up.
    """

    jobs: int
    made: int = 0
    given_up: int = 0
    paid: Usage = field(default_factory=Usage)
    remembered: Usage = field(default_factory=Usage)
    faults: Counter[str] = field(default_factory=Counter)
    refused: dict[str, str] = field(default_factory=dict)


class Generation:
    """Makes the pairs of a list of jobs.

    Args:
        settings: languages and seed.
        server: what a call is and costs.
        client: answers.
        journal: remembers answers.
        progress: is told after each pair.
    """

    def __init__(
        self,
        settings: SynthesisSettings,
        server: ServerSettings,
        client: Client,
        journal: Journal,
        progress: Callable[[Tally], None] = lambda _: None,
    ) -> None:
        self._settings = settings
        self._server = server
        self._client = client
        self._journal = journal
        self._progress = progress
        self._fault: Exception | None = None
        self._refused_in_a_row: set[str] = set()
        self._passages = 0
        self.tally = Tally(0)

    async def run(self, jobs: Sequence[Job]) -> list[Pair]:
        """The pairs of all jobs, in their order, without those that were given up.

        On an error no further call is made; it is raised once the answers under way have come and are kept, for they are billed.

        Raises:
            RemoteError: the server does not answer, or refuses: all passages, many in a row, or for another reason than what is asked.
            TrainingError: the most that may be spent was spent.
        """
        self.tally.jobs = len(jobs)
        self._passages = len({job.passage.id for job in jobs})
        pairs: list[Pair | None] = [None] * len(jobs)
        waiting = iter(enumerate(jobs))

        async def work() -> None:
            for index, job in waiting:
                try:
                    pairs[index] = await self._make(job)
                except Exception as error:  # noqa: BLE001 - raised as soon as nothing is under way any more
                    self._fault = self._fault or error
                    return
                self._progress(self.tally)

        async with asyncio.TaskGroup() as group:
            for _ in range(self._server.concurrency):
                group.create_task(work())
        if self._fault is not None:
            raise self._fault
        return [pair for pair in pairs if pair is not None]

    async def _make(self, job: Job) -> Pair | None:
        try:
            chosen = await self._configuration(job)
            order = order_of(job, chosen, self._settings)
            written = await self._written(job, order)
        except answers.AnswerError:
            self._refused_in_a_row.clear()
            self.tally.given_up += 1
            return None
        except RequestRefusedError as error:
            self._give_up(job, error)
            return None
        self._refused_in_a_row.clear()
        self.tally.made += 1
        return _pair(job, order, written)

    def _give_up(self, job: Job, error: RequestRefusedError) -> None:
        """Go on without the pair, unless nothing says that others fare better."""
        self._refused_in_a_row.add(job.passage.id)
        if len(self._refused_in_a_row) >= min(MOST_REFUSED, self._passages):
            raise error
        self.tally.given_up += 1
        self.tally.refused[job.passage.id] = error.reason

    async def _configuration(self, job: Job) -> answers.Configuration:
        messages = prompts.configuration_prompt(job.task, job.passage.embedding_text, offered_roles(job, self._settings.seed))

        def check(chosen: answers.Configuration) -> None:
            answers.check_choice(chosen, len(job.roles), KINDS[job.task].types)

        schema = answers.choice_schema(len(job.roles), KINDS[job.task].types)
        return await self._ask(job, messages, Question(answers.Configuration, schema, check))

    async def _written(self, job: Job, order: prompts.Order) -> answers.Written:
        messages = prompts.generation_prompt(job.task, job.passage.embedding_text, order)
        others = tuple(dict.fromkeys([*self._settings.languages, language_of(job.passage), *_CONFUSED_WITH]))

        def check(written: answers.Written) -> None:
            _check_new(written, job.passage)
            if order.type != KEYWORDS:
                answers.check_language(written.in_language, order.language, others)

        model = answers.WRITTEN[job.task]
        return await self._ask(job, messages, Question(model, answers.written_schema(model), check))

    async def _ask(self, job: Job, messages: prompts.Messages, question: Question[Model]) -> Model:
        """A usable answer; one that is not is asked for again with its fault named.

        Raises:
            AnswerError: none was usable.
        """
        asked = messages
        for attempt in range(self._server.attempts):
            completion = await self._completion(job, asked, question.schema, attempt)
            try:
                return _checked(completion, question)
            except answers.AnswerError as error:
                fault = str(error)
                self.tally.faults[fault] += 1
                asked = [*messages, *prompts.correction(completion.text, fault)]
        raise answers.AnswerError(fault)

    async def _completion(self, job: Job, messages: prompts.Messages, schema: dict[str, Any], attempt: int) -> Completion:
        """From the journal, or else from the server and into the journal before anything else happens."""
        seed = _number(self._settings.seed, job, attempt)
        key = key_of(messages=messages, seed=seed, server=_identity(self._server))
        known = self._journal.get(key)
        if known is not None:
            self.tally.remembered.add(known)
            return known
        self._check_going()
        completion = await self._client.complete(messages, schema, seed)
        self._journal.put(key, completion)
        self.tally.paid.add(completion)
        return completion

    def _check_going(self) -> None:
        if self._fault is not None:
            raise self._fault
        spent, most = self.tally.paid.cost(self._server) + self.tally.remembered.cost(self._server), self._server.most_cost
        if most is not None and spent >= most:
            raise TrainingError(
                f"{spent:.2f} were spent for {self.tally.made} pairs, and most_cost is {most:.2f}. Answers so far are kept: raise "
                "most_cost and give the same command again, or lower most_passages."
            )


def jobs_of(passages: Sequence[Passage], roles: Sequence[Sequence[str]], settings: SynthesisSettings) -> Iterator[Job]:
    """What is to be made of which passage."""
    if Task.BITEXT in settings.tasks and not settings.languages:
        raise ConfigurationError("Bitext is translated, and nothing says into what. Give languages = ['de', …].")
    for passage, people in zip(passages, roles, strict=True):
        for task in dict.fromkeys(settings.tasks):
            for number in range(settings.per_passage):
                yield Job(passage, people, task, number)


def offered_roles(job: Job, seed: int) -> list[str]:
    """The job's roles in an order that depends on the seed and the job only: models favour what is first."""
    roles = sorted(job.roles)
    random.Random(_number(seed, job, -1)).shuffle(roles)
    return roles


def order_of(job: Job, chosen: answers.Configuration, settings: SynthesisSettings) -> prompts.Order:
    """What the second call is asked for: the first call's choice, with a length and a language that are drawn."""
    draw = random.Random(_number(settings.seed, job, -2))
    words = draw.choice(LENGTHS)
    own = language_of(job.passage)
    languages = [code for code in settings.languages if job.task is not Task.BITEXT or code != own] or list(settings.languages)
    return prompts.Order(
        role=offered_roles(job, settings.seed)[chosen.role - 1],
        type=chosen.type,
        difficulty=chosen.difficulty,
        words=SHORT if chosen.type == KEYWORDS else words,
        language=draw.choice(languages) if languages else own,
    )


def _checked(completion: Completion, question: Question[Model]) -> Model:
    try:
        answer = answers.parse(completion.text, question.model)
    except answers.AnswerError:
        if completion.finish == "length":
            raise answers.AnswerError("It was too long and had to be cut off.") from None
        raise
    question.check(answer)
    return answer


def _check_new(written: answers.Written, passage: Passage) -> None:
    query, positive, _ = written.parts
    if fingerprint(query) in (fingerprint(passage.text), fingerprint(positive or "")):
        raise answers.AnswerError("It repeats a text instead of writing a new one.")


def _pair(job: Job, order: prompts.Order, written: answers.Written) -> Pair:
    query, positive, negatives = written.parts
    return Pair(
        query,
        positive or job.passage.embedding_text,
        negatives,
        KINDS[job.task].instruction,
        job.task,
        order.language,
        job.passage.source or job.passage.document_id or job.passage.id,
        {"role": order.role, "type": order.type, "difficulty": str(order.difficulty), "synthetic": True},
    )


def _identity(server: ServerSettings) -> dict[str, Any]:
    """What of a server's settings decides about an answer: not its address, patience or prices."""
    decisive = ("model", "temperature", "most_tokens", "answer_format", "extra")
    return {name: value for name, value in asdict(server).items() if name in decisive}


def _number(seed: int, job: Job, what: int) -> int:
    """A number below 2³¹ that only these decide."""
    text = f"{seed}:{job.task}:{job.number}:{what}:{job.passage.embedding_text}"
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:4], "big") >> 1
