"""Hits in the order that the reranker and recall decide together. It computes no score and knows no store."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from qwen3_rag.retrieval.blending import RERANKER_ALONE, blended, ordered
from qwen3_rag.retrieval.options import SearchOptions
from qwen3_rag.retrieval.reranking import Reranked
from qwen3_rag.types import Hit, Stage


@dataclass(frozen=True, slots=True)
class Placed:
    """Hits, best first; how many of them the deadline left unscored; and what the trace says of it."""

    hits: list[Hit]
    unscored: int
    note: str


def placed(hits: Sequence[Hit], result: Reranked, options: SearchOptions) -> Placed:
    """Scored hits, best first, then in recall order those the deadline left unscored. A threshold drops hits, and reorders none."""
    scored, threshold = len(result.scores), options.rerank_threshold
    left = [replace(hit, reranked=False) for hit in hits[scored:]]
    best = _reordered(hits, result, options.rerank_weight)
    kept = [hit for hit in best if threshold is None or hit.score >= threshold]
    return Placed(kept + left, len(left), _note(options, len(left), len(best) - len(kept)))


def _reordered(hits: Sequence[Hit], result: Reranked, rerank_weight: float) -> list[Hit]:
    """Hits with the scores of `result`, best first. Where recall has a say, the stage `blended` gives the order instead of `rerank`."""
    stages = {"rerank": _staged(result.scores)}
    if rerank_weight != RERANKER_ALONE:
        stages["blended"] = _staged(blended(result.scores, [hit.score for hit in hits], rerank_weight))
    scored = [
        replace(hit, score=score, stages={**hit.stages, **{name: of[index] for name, of in stages.items()}}, reranked=True, truncated=cut)
        for index, (hit, score, cut) in enumerate(zip(hits, result.scores, result.truncated, strict=False))
    ]
    deciding = list(stages)[-1]
    return sorted(scored, key=lambda hit: hit.stages[deciding].rank)


def _staged(scores: Sequence[float]) -> list[Stage]:
    ranks = {index: rank for rank, index in enumerate(ordered(scores), start=1)}
    return [Stage(ranks[index], score) for index, score in enumerate(scores)]


def _note(options: SearchOptions, left: int, dropped: int) -> str:
    notes = [] if options.rerank_weight == RERANKER_ALONE else [f"blended with recall, rerank_weight {options.rerank_weight:g}"]
    notes += [f"deadline of {options.rerank_deadline:g} s left {left} unscored"] if left else []
    notes += [f"{dropped} below {options.rerank_threshold:g}"] if dropped else []
    return ", ".join(notes)
