"""Hard negatives: passages that the current models take for answers to a query and that are none, so that training tells them apart.

Candidates come from the retriever, within a window of ranks; margins below the positive's own score keep out what may well be an answer
that nobody marked (the positive-aware limits of NV-Retriever, arXiv 2407.15831). Nothing here knows where passages are stored.
"""

from __future__ import annotations

import hashlib
import random
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import groupby, islice

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.base import RerankerLike
from qwen3_rag.training.pairs import SCORES, Pair, fingerprint
from qwen3_rag.training.searching import Found, Searcher, similarities
from qwen3_rag.training.settings import MiningSettings, Sampling

_PAIRS_AT_A_TIME = 64


def mine(
    pairs: Callable[[], Iterable[Pair]], searcher: Searcher, settings: MiningSettings, reranker: RerankerLike | None = None
) -> Iterator[Pair]:
    """The pairs, in order, with hard negatives; those that a pair has already stay first. A teacher's scores go where negatives come.

    A passage that is a positive of the same query in any pair, in other case or spacing too, is never its negative. Pairs are read
    twice and held a few at a time.

    Args:
        pairs: gives them from the start each time it is called.
        searcher: finds candidates.
        settings: window, margins, number.
        reranker: judges candidates and positive; None has their cosines compared.

    Raises:
        ConfigurationError: a window that ends before it begins.
    """
    _check(settings)
    answers = _positives(pairs())
    source = iter(pairs())
    while part := list(islice(source, _PAIRS_AT_A_TIME)):
        for instruction, group in groupby(part, key=lambda pair: pair.instruction):
            yield from _mined(list(group), instruction, answers, searcher, settings, reranker)


def _mined(
    pairs: Sequence[Pair],
    instruction: str | None,
    answers: Mapping[str, set[str]],
    searcher: Searcher,
    settings: MiningSettings,
    reranker: RerankerLike | None,
) -> Iterator[Pair]:
    queries = [pair.query for pair in pairs]
    found = searcher.search(queries, instruction, settings.last_rank)
    cosines = similarities(searcher.embedder, queries, [pair.positive for pair in pairs], instruction)
    for pair, ranking, cosine in zip(pairs, found, cosines, strict=True):
        excluded = answers[fingerprint(pair.query)] | {fingerprint(text) for text in pair.negatives}
        window = [item for item in ranking[settings.first_rank - 1 :] if fingerprint(item[0]) not in excluded]
        score = float(cosine)
        if reranker is not None and window:
            score, window = _rescored(reranker, pair, window)
        yield _with_negatives(pair, [text for text, value in _distinct(window) if value <= settings.limit(score)], settings)


def _rescored(reranker: RerankerLike, pair: Pair, window: Sequence[Found]) -> tuple[float, list[Found]]:
    """The positive's score, and the candidates by theirs, best first."""
    scores = reranker.score(pair.query, [pair.positive, *(text for text, _ in window)], pair.instruction)
    judged = [(text, float(score)) for (text, _), score in zip(window, scores[1:], strict=True)]
    return float(scores[0]), sorted(judged, key=lambda item: -item[1])


def _with_negatives(pair: Pair, candidates: list[str], settings: MiningSettings) -> Pair:
    wanted = max(0, settings.negatives - len(pair.negatives))
    if settings.sampling is Sampling.RANDOM and len(candidates) > wanted:
        digest = hashlib.sha256(f"{settings.seed}:{pair.query}:{pair.document}".encode("utf-8", "surrogatepass")).digest()
        places = sorted(random.Random(digest).sample(range(len(candidates)), wanted))
        candidates = [candidates[place] for place in places]
    added = candidates[:wanted]
    if not added:
        return pair
    extra = {name: value for name, value in pair.extra.items() if name != SCORES}  # the teacher has not seen what is new
    return replace(pair, negatives=(*pair.negatives, *added), extra=extra)


def _distinct(window: Iterable[Found]) -> Iterator[Found]:
    """The first of texts that differ in case and spacing only."""
    seen: set[str] = set()
    for item in window:
        mark = fingerprint(item[0])
        if mark not in seen:
            seen.add(mark)
            yield item


def _positives(pairs: Iterable[Pair]) -> Mapping[str, set[str]]:
    """Query → all of its documents, both as fingerprints."""
    answers: defaultdict[str, set[str]] = defaultdict(set)
    for pair in pairs:
        answers[fingerprint(pair.query)].add(pair.document)
    return answers


def _check(settings: MiningSettings) -> None:
    if not 1 <= settings.first_rank <= settings.last_rank:
        raise ConfigurationError(f"The window goes from rank {settings.first_rank} to {settings.last_rank}: 1 ≤ first_rank ≤ last_rank.")
