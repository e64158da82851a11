"""First stage: candidates of both rankers and their true scores, in two batched requests. It neither fuses nor reads payloads."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from qdrant_client import models
from qdrant_client.client_base import QdrantBase

from qwen3_rag.store.points import DENSE, LEXICAL
from qwen3_rag.store.schema import is_plain

OVERSAMPLING = 2.0
"""Compressed vectors choose this many times the candidates, original vectors then score and keep the best."""


OTHER_LANGUAGE = 0.9
"""What a passage in another language than the query's keeps of its BM25 score. Translations of one text share its names and numbers, and
the one that can be read should come first. Measured with three languages of the same paragraphs in one collection, nDCG@10 with 1.0 / 0.9:
English 0.964 / 0.969 (alone 0.972), German 0.939 / 0.945 (alone 0.950), Chinese 0.961 / 0.962 (alone 0.964)."""

_LANGUAGE = "language"


@dataclass(frozen=True, slots=True)
class Queries:
    """A query as each ranker takes it; None for a ranker that is not asked.

    `languages` are those that it may be in; empty where the collection holds only one, so that none is preferred.
    """

    dense: list[float] | None
    lexical: models.SparseVector | None
    languages: Collection[str] = ()


@dataclass(slots=True)
class Recalled:
    """Point id → score, for each ranker, best first."""

    dense: dict[str, float]
    lexical: dict[str, float]

    @property
    def ids(self) -> list[str]:
        """All candidates: those of the dense ranker, then what only the lexical one found."""
        return list(dict.fromkeys([*self.dense, *self.lexical]))


def recall(client: QdrantBase, collection: str, queries: Queries, conditions: models.Filter | None, depth: int) -> Recalled:
    """The `depth` best points of each ranker, dense scores from original vectors."""
    params = models.SearchParams(quantization=models.QuantizationSearchParams(rescore=True, oversampling=OVERSAMPLING))
    dense = _request(DENSE, queries.dense, conditions, depth, None if is_plain(client) else params)
    lexical = _lexical(queries, conditions, depth)
    return Recalled(*_scores(client, collection, queries.languages, dense, lexical))


def complete(client: QdrantBase, collection: str, queries: Queries, recalled: Recalled) -> Recalled:
    """Both rankers' true scores of every candidate. A passage that shares no term with the query keeps no lexical score: it is 0."""
    params = models.SearchParams(exact=True, quantization=models.QuantizationSearchParams(ignore=True))
    unseen_dense = [point for point in recalled.lexical if point not in recalled.dense]
    unseen_lexical = [point for point in recalled.dense if point not in recalled.lexical]
    dense = _request(DENSE, queries.dense, _only(unseen_dense), len(unseen_dense), None if is_plain(client) else params)
    lexical = _lexical(queries, _only(unseen_lexical), len(unseen_lexical))
    more_dense, more_lexical = _scores(client, collection, queries.languages, dense, lexical)
    return Recalled(recalled.dense | more_dense, recalled.lexical | more_lexical)


def _only(points: Sequence[str]) -> models.Filter:
    return models.Filter(must=[models.HasIdCondition(has_id=list(points))])


def _lexical(queries: Queries, conditions: models.Filter | None, limit: int) -> models.QueryRequest | None:
    request = _request(LEXICAL, queries.lexical, conditions, limit)
    if request is not None and queries.languages:
        request.with_payload = [_LANGUAGE]
    return request


def _request(
    ranker: str,
    query: list[float] | models.SparseVector | None,
    conditions: models.Filter | None,
    limit: int,
    params: models.SearchParams | None = None,
) -> models.QueryRequest | None:
    """None where there is nothing to ask."""
    if query is None or limit == 0 or (isinstance(query, models.SparseVector) and not query.indices):
        return None
    return models.QueryRequest(query=query, using=ranker, filter=conditions, limit=limit, params=params, with_payload=False)


def _scores(
    client: QdrantBase, collection: str, languages: Collection[str], *requests: models.QueryRequest | None
) -> list[dict[str, float]]:
    """Scores of each request, all of them sent as one batch."""
    asked = [request for request in requests if request is not None]
    responses = iter(client.query_batch_points(collection, asked) if asked else [])
    return [{str(point.id): _score(point, languages) for point in next(responses).points} if request else {} for request in requests]


def _score(point: models.ScoredPoint, languages: Collection[str]) -> float:
    """The point's own score; less for a passage that says to be in another language."""
    written_in = (point.payload or {}).get(_LANGUAGE)
    return point.score if not languages or written_in is None or written_in in languages else point.score * OTHER_LANGUAGE
