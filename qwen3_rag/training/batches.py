"""From pairs to the batches of a whole run, in an order that pairs, settings and seed alone decide.

No document and no query stands twice in one batch, where it would count as wrong for itself. What an epoch leaves over goes into the next
one's first batch. A global batch is cut into one micro-batch a process, laid side by side in the data set, so that several processes see
together what one process would see alone. This module knows templates and token ids, not networks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from random import Random
from typing import NamedTuple

from torch.utils.data import Dataset

from qwen3_rag.errors import ConfigurationError, TrainingDataError
from qwen3_rag.models.packing import Item
from qwen3_rag.models.prompts import EmbeddingTemplate, RerankTemplate
from qwen3_rag.training.filling import filled
from qwen3_rag.training.pairs import Pair, fingerprint

Scores = tuple[float, ...]


class Draw(NamedTuple):
    """A pair, by its place in the list, as the epoch it is drawn in sees it."""

    epoch: int
    place: int


@dataclass(frozen=True, slots=True)
class Example:
    """A pair with the negatives that were drawn for it; `scores` are a teacher's, of the positive and these, where the pair has some."""

    pair: Pair
    negatives: tuple[str, ...]
    scores: Scores | None = None


def plan(
    pairs: Sequence[Pair], size: int, epochs: int, seed: int = 0, *, by_source: bool = False, sources_per_batch: int = 1
) -> list[list[Draw]]:
    """The global batches of a run, each of `size` draws.

    Args:
        pairs: all of the data.
        size: pairs of a batch, of all processes together.
        epochs: how often each pair is drawn. The last few draws, which fill no batch, are left out, and so are those of a document or query
            of which there are so many that each batch has it already; `left_out` counts them.
        seed: of the order.
        by_source: take all pairs of a batch from one task and source, as far as they go.
        sources_per_batch: of how many parts, each from another source as far as they go, a batch then is.

    Raises:
        TrainingDataError: not even one batch can be filled.
        ConfigurationError: the parts do not divide the batch, or there are some without `by_source`.
    """
    if size % sources_per_batch or (sources_per_batch > 1 and not by_source):
        raise ConfigurationError(
            f"`sources_per_batch` needs `by_source` and a batch_size that it divides, not {sources_per_batch} of {size}."
        )
    marks = [frozenset((fingerprint(pair.query), pair.document)) for pair in pairs]
    parts = _parts(pairs, marks, size // sources_per_batch, epochs, seed, by_source)
    batches = parts if sources_per_batch == 1 else _joined(parts, pairs, marks, sources_per_batch, seed)
    if not batches:
        raise TrainingDataError(
            f"{len(pairs)} pairs, no document and no query twice, do not fill a batch of {size}. Give more pairs or a smaller batch_size."
        )
    return batches


def _parts(pairs: Sequence[Pair], marks: Sequence[frozenset[str]], share: int, epochs: int, seed: int, by_source: bool) -> list[list[Draw]]:
    """Parts of batches, each of `share` draws, in the order of a run; `marks` are what must not be twice in one."""
    groups: dict[str, list[int]] = {}
    for index, pair in enumerate(pairs):
        groups.setdefault(_group(pair) if by_source else "", []).append(index)
    parts: list[list[Draw]] = []
    left: list[Draw] = []
    for number, members in enumerate(groups.values()):
        whole, rest = filled(_shuffled(members, epochs, f"{seed}:{number}"), share, lambda draw: marks[draw.place])
        parts += whole
        left += rest
    if by_source:
        parts += filled(sorted(left), share, lambda draw: marks[draw.place])[0]
        parts.sort(key=lambda part: (part[0].epoch, Random(f"{seed}:{part[0]}").random()))
    return parts


def _joined(parts: Sequence[list[Draw]], pairs: Sequence[Pair], marks: Sequence[frozenset[str]], count: int, seed: int) -> list[list[Draw]]:
    """Batches of `count` parts each: of as many sources while an epoch has so many, then of what is left of it, spread over the epoch."""

    def own(part: list[Draw]) -> frozenset[str]:
        return frozenset().union(*(marks[draw.place] for draw in part))

    def with_sources(part: list[Draw]) -> frozenset[str]:
        return own(part) | {_group(pairs[draw.place]) for draw in part}

    batches: list[list[Draw]] = []
    left: list[list[Draw]] = []
    for epoch, members in groupby(parts, key=lambda part: part[0].epoch):
        apart, rest = filled([*left, *members], count, with_sources)
        alike, left = filled(rest, count, own)
        found = [*apart, *alike]
        Random(f"{seed}:{epoch}:joined").shuffle(found)
        batches += [[draw for part in batch for draw in part] for batch in found]
    return batches


def _shuffled(members: Sequence[int], epochs: int, seed: str) -> Iterator[Draw]:
    for epoch in range(epochs):
        order = list(members)
        Random(f"{seed}:{epoch}").shuffle(order)
        yield from (Draw(epoch, index) for index in order)


def left_out(pairs: Sequence[Pair], batches: Iterable[Iterable[Draw]], epochs: int) -> Counter[str]:
    """How many draws of a plan are in none of its batches, by task and source."""
    drawn = Counter(draw.place for batch in batches for draw in batch)
    left: Counter[str] = Counter()
    for place, pair in enumerate(pairs):
        left[_group(pair)] += epochs - drawn[place]
    return +left


def _group(pair: Pair) -> str:
    return f"{pair.task} of {pair.source}" if pair.source else f"{pair.task}"


def drawn_negatives(pair: Pair, count: int, seed: str) -> list[int]:
    """Places of at most `count` of the pair's negatives, in an order of chance that `seed` decides."""
    return Random(f"{seed}:{pair.document}").sample(range(len(pair.negatives)), min(count, len(pair.negatives)))


class Batches(Dataset[list[Example]]):
    """A run's micro-batches: number i of step s and process r of R is s · R + r.

    Args:
        pairs: all of the data.
        batches: the global batches, from `plan`.
        negatives: hard negatives drawn for each pair, anew in each epoch.
        seed: of that.
        processes: how many micro-batches a global batch is cut into.
        scores: a teacher's of each pair, its positive first, where they are learned from.

    Raises:
        TrainingDataError: the processes do not divide the batch.
    """

    def __init__(
        self,
        pairs: Sequence[Pair],
        batches: Sequence[Sequence[Draw]],
        negatives: int,
        seed: int,
        processes: int = 1,
        scores: Sequence[Scores | None] | None = None,
    ) -> None:
        size = len(batches[0])
        if size % processes:
            raise TrainingDataError(f"A batch of {size} does not divide among {processes} processes. Change batch_size.")
        share = size // processes
        self._pairs, self._negatives, self._seed, self._scores = pairs, negatives, seed, scores
        self._parts = [batch[first : first + share] for batch in batches for first in range(0, size, share)]

    def __len__(self) -> int:
        return len(self._parts)

    def __getitem__(self, index: int) -> list[Example]:
        return [self._example(draw) for draw in self._parts[index]]

    def _example(self, draw: Draw) -> Example:
        pair = self._pairs[draw.place]
        places = drawn_negatives(pair, self._negatives, f"{self._seed}:{draw.epoch}")
        scores = None if self._scores is None else self._scores[draw.place]
        return Example(
            pair,
            tuple(pair.negatives[place] for place in places),
            None if scores is None else (scores[0], *(scores[1 + place] for place in places)),
        )


@dataclass(frozen=True, slots=True)
class EmbedderBatch:
    """What an embedder reads for a micro-batch: n queries, n positives, then the hard negatives of all queries in order.

    `documents` are numbers of the positives and `negative_documents` those of each query's negatives; equal numbers, equal documents.
    """

    items: list[Item]
    documents: list[int]
    negative_documents: list[list[int]]


def embedder_batch(examples: Sequence[Example], template: EmbeddingTemplate) -> EmbedderBatch:
    """Token ids of a micro-batch; each query follows its own instruction."""
    documents = [example.pair.positive for example in examples] + [text for example in examples for text in example.negatives]
    queries = [template.queries([example.pair.query], example.pair.instruction)[0] for example in examples]
    return EmbedderBatch(
        items=[prompt.item for prompt in [*queries, *template.documents(documents)]],
        documents=[document_number(example.pair.positive) for example in examples],
        negative_documents=[[document_number(text) for text in example.negatives] for example in examples],
    )


@dataclass(frozen=True, slots=True)
class RerankerBatch:
    """What a reranker reads for a micro-batch: the candidates of each query side by side, the positive first.

    `counts` are candidates a query, `relevant` tells positives, `scores` are a teacher's logits of each query's candidates or None.
    """

    items: list[Item]
    counts: list[int]
    relevant: list[bool]
    scores: list[tuple[float, ...] | None]


def reranker_batch(examples: Sequence[Example], template: RerankTemplate) -> RerankerBatch:
    """Token ids of a micro-batch. Prompts of one query share their beginning, which is computed once."""
    candidates = [[example.pair.positive, *example.negatives] for example in examples]
    asked = zip(examples, candidates, strict=True)
    prompts = [template.prompts(example.pair.query, texts, example.pair.instruction) for example, texts in asked]
    return RerankerBatch(
        items=[prompt.item for each in prompts for prompt in each],
        counts=[len(texts) for texts in candidates],
        relevant=[place == 0 for texts in candidates for place in range(len(texts))],
        scores=[example.scores for example in examples],
    )


def document_number(text: str) -> int:
    """60 bits of the text's fingerprint: a number that is the same in every process, and never negative."""
    return int(fingerprint(text)[:15], 16)
