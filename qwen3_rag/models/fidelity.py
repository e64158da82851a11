"""How close a faster model stays to its reference: vectors, neighbours, scores, and how much faster it is.

The comparisons take anything with the methods of `Embedder` and `Reranker`, and do not know what makes the second one faster.
`measure_embedder` and `measure_reranker` load a model in float32 and as it is asked for, on the CPU, and put the numbers together.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.base import EmbedderLike, RerankerLike

NEIGHBOURS = 10
ROUNDS = 3
CLOSE_COSINE = 0.99
CLOSE_OVERLAP = 0.85
CLOSE_RANKS = 0.95
MEASURED_QUERIES = 4
MEASURED_DOCUMENTS = 20
TIMED_CHARACTERS = 8_000
"""About 2,000 tokens, a full batch on a CPU: enough for a ratio, and seconds where all the texts would be minutes."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class VectorFidelity:
    """Cosines between the two vectors of each text, and the mean share of a text's ten nearest texts that both agree on."""

    texts: int
    mean: float
    p01: float
    minimum: float
    overlap_at_10: float

    @property
    def is_close(self) -> bool:
        """Whether searching with the candidate can be expected to find the same passages, nearly."""
        return self.mean >= CLOSE_COSINE and self.overlap_at_10 >= CLOSE_OVERLAP


@dataclass(frozen=True, slots=True)
class ScoreFidelity:
    """Spearman's rank correlation, the mean over queries, and the largest absolute difference of a score (a probability)."""

    pairs: int
    spearman: float
    max_difference: float

    @property
    def is_close(self) -> bool:
        """Whether the candidate can be expected to rank nearly alike."""
        return self.spearman >= CLOSE_RANKS


@dataclass(frozen=True, slots=True)
class FidelityReport:
    """One model in float32 beside itself in `dtype` and under `quantization`.

    `speed` is float32's time over the candidate's: above 1 is faster.
    """

    model: str
    dtype: str
    quantization: str
    fidelity: VectorFidelity | ScoreFidelity
    speed: float

    @property
    def candidate(self) -> str:
        """What is compared with float32, in a word."""
        return self.quantization if self.quantization != "none" else self.dtype

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "model": self.model,
            "dtype": self.dtype,
            "quantization": self.quantization,
            "is_close": self.fidelity.is_close,
            "speed": self.speed,
            **asdict(self.fidelity),
        }


def measure_embedder(model: str, texts: Sequence[str], *, dtype: str = "float32", quantization: str = "none") -> FidelityReport:
    """Compare an embedding model in float32 with itself in `dtype` and under `quantization`, and time both.

    Raises:
        MissingExtraError, ConfigurationError, ModelError: as of `Embedder.load`.
        ConfigurationError: fewer than two texts.
    """
    from qwen3_rag.models.embedder import Embedder

    _check_count("texts", texts)
    reference = Embedder.load(model, dtype="float32", device="cpu")
    candidate = Embedder.load(model, dtype=dtype, device="cpu", quantization=quantization)
    fidelity = compare_embedders(reference, candidate, texts)
    timed = _portion(texts)
    speed = speed_ratio(lambda: reference.embed_documents(timed), lambda: candidate.embed_documents(timed))
    return FidelityReport(reference.model, dtype, quantization, fidelity, speed)


def measure_reranker(model: str, texts: Sequence[str], *, dtype: str = "float32", quantization: str = "none") -> FidelityReport:
    """Compare a reranking model in float32 with itself in `dtype` and under `quantization`, and time both.

    Some of the texts serve as queries, evenly spread.

    Raises:
        MissingExtraError, ConfigurationError, ModelError: as of `Reranker.load`.
        ConfigurationError: fewer than two texts.
    """
    from qwen3_rag.models.reranker import Reranker

    _check_count("texts", texts)
    documents = texts[:MEASURED_DOCUMENTS]
    queries = documents[:: max(1, len(documents) // MEASURED_QUERIES)][:MEASURED_QUERIES]
    reference = Reranker.load(model, dtype="float32", device="cpu")
    candidate = Reranker.load(model, dtype=dtype, device="cpu", quantization=quantization)
    fidelity = compare_rerankers(reference, candidate, queries, documents)
    timed = _portion(documents)
    speed = speed_ratio(lambda: reference.score(queries[0], timed), lambda: candidate.score(queries[0], timed))
    return FidelityReport(reference.model, dtype, quantization, fidelity, speed)


def compare_embedders(reference: EmbedderLike, candidate: EmbedderLike, texts: Sequence[str]) -> VectorFidelity:
    """Embed `texts` as documents with both.

    Raises:
        ConfigurationError: fewer than two texts.
    """
    _check_count("texts", texts)
    before = np.asarray(reference.embed_documents(texts), dtype=np.float64)
    after = np.asarray(candidate.embed_documents(texts), dtype=np.float64)
    cosines = np.sum(before * after, axis=1) / (np.linalg.norm(before, axis=1) * np.linalg.norm(after, axis=1))
    return VectorFidelity(
        texts=len(texts),
        mean=float(cosines.mean()),
        p01=float(np.quantile(cosines, 0.01)),
        minimum=float(cosines.min()),
        overlap_at_10=neighbour_overlap(before, after, NEIGHBOURS),
    )


def compare_rerankers(reference: RerankerLike, candidate: RerankerLike, queries: Sequence[str], documents: Sequence[str]) -> ScoreFidelity:
    """Score every document against every query with both.

    Raises:
        ConfigurationError: no query, or fewer than two documents.
    """
    if not queries:
        raise ConfigurationError("Rerankers are compared on at least one query; none was given.")
    _check_count("documents", documents)
    before = [np.asarray(reference.score(query, documents), dtype=np.float64) for query in queries]
    after = [np.asarray(candidate.score(query, documents), dtype=np.float64) for query in queries]
    pairs = list(zip(before, after, strict=True))
    return ScoreFidelity(
        pairs=len(queries) * len(documents),
        spearman=float(np.mean([spearman(first, second) for first, second in pairs])),
        max_difference=float(max(np.abs(first - second).max() for first, second in pairs)),
    )


def speed_ratio(reference: Callable[[], object], candidate: Callable[[], object], rounds: int = ROUNDS) -> float:
    """Time of `reference` over that of `candidate`, each run in turn: the median over rounds, so that a busy moment spoils one round."""
    return median(_seconds(reference) / _seconds(candidate) for _ in range(rounds))


def neighbour_overlap(before: Floats, after: Floats, depth: int) -> float:
    """Mean share of each row's `depth` nearest other rows (by dot product) that are the same in both; all others if there are fewer."""
    depth = min(depth, len(before) - 1)
    pairs = zip(_nearest(before, depth), _nearest(after, depth), strict=True)
    return float(np.mean([len(np.intersect1d(first, second)) / depth for first, second in pairs]))


def spearman(first: Floats, second: Floats) -> float:
    """Spearman's rank correlation, tied values sharing their mean rank. Of two constant rows it is 1, of one constant row 0."""
    ranks = [_ranks(values) - (len(values) - 1) / 2 for values in (first, second)]
    norms = [float(np.linalg.norm(row)) for row in ranks]
    if not all(norms):
        return float(norms[0] == norms[1])
    return float(ranks[0] @ ranks[1] / (norms[0] * norms[1]))


def _ranks(values: Floats) -> Floats:
    """Ranks from 0, tied values averaged."""
    _, group, sizes = np.unique(values, return_inverse=True, return_counts=True)
    first = np.cumsum(sizes) - sizes
    ranks: Floats = (first + (sizes - 1) / 2)[group]
    return ranks


def _nearest(vectors: Floats, depth: int) -> NDArray[np.intp]:
    similarities = vectors @ vectors.T
    np.fill_diagonal(similarities, -np.inf)
    nearest: NDArray[np.intp] = np.argsort(-similarities, axis=1, kind="stable")[:, :depth]
    return nearest


def _portion(texts: Sequence[str]) -> list[str]:
    """The first texts, `TIMED_CHARACTERS` in all or little more."""
    ends = np.cumsum([len(text) for text in texts])
    return list(texts[: int(np.searchsorted(ends, TIMED_CHARACTERS)) + 1])


def _check_count(what: str, items: Sequence[str]) -> None:
    if isinstance(items, str) or len(items) < 2:
        raise ConfigurationError(f"A comparison needs a list of at least two {what}. Give more.")


def _seconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
