"""The part of the embedded client that finds and reads points."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from qdrant_client import models
from qdrant_client.conversions import common_types as types
from qdrant_client.http.models import QueryResponse

from qwen3_rag.errors import CollectionError
from qwen3_rag.store.edge import results
from qwen3_rag.store.edge.collection import Collection
from qwen3_rag.store.edge.grouping import Rows, group_rows, sampled_matrix
from qwen3_rag.store.edge.handle import Handle
from qwen3_rag.store.edge.lookup import resolve
from qwen3_rag.store.edge.requests import plain, plain_filter, point_id, query_request


class Reading(Handle):
    """Queries, pages of points, counts."""

    def query_points(
        self,
        collection_name: str,
        query: Any = None,
        using: str | None = None,
        prefetch: types.Prefetch | list[types.Prefetch] | None = None,
        query_filter: types.Filter | None = None,
        search_params: types.SearchParams | None = None,
        limit: int = 10,
        offset: int | None = None,
        with_payload: types.WithPayloadInterface = True,
        with_vectors: types.WithVector = False,
        score_threshold: float | None = None,
        lookup_from: types.LookupLocation | None = None,
        **kwargs: Any,
    ) -> types.QueryResponse:
        """Search, recommendation, discovery, fusion, ordering and formulas, as in qdrant-client.

        Without `search_params.quantization`, a search of a quantized vector is rescored with the original vectors.

        Raises:
            CollectionError: the query does not fit the collection.
        """
        request = query_request(
            query,
            using=using,
            prefetch=prefetch,
            query_filter=query_filter,
            search_params=search_params,
            limit=limit,
            offset=offset,
            with_payload=with_payload,
            with_vectors=with_vectors,
            score_threshold=score_threshold,
            lookup_from=lookup_from,
        )
        return self._run(self._collection(collection_name), [request])[0]

    def query_batch_points(self, collection_name: str, requests: Sequence[types.QueryRequest], **kwargs: Any) -> list[types.QueryResponse]:
        """Several queries as one batch, answered in order."""
        return self._run(self._collection(collection_name), [_batch_request(request) for request in requests])

    def query_points_groups(
        self,
        collection_name: str,
        group_by: str,
        query: Any = None,
        using: str | None = None,
        prefetch: types.Prefetch | list[types.Prefetch] | None = None,
        query_filter: types.Filter | None = None,
        search_params: types.SearchParams | None = None,
        limit: int = 10,
        group_size: int = 3,
        with_payload: types.WithPayloadInterface = True,
        with_vectors: types.WithVector = False,
        score_threshold: float | None = None,
        with_lookup: types.WithLookupInterface | None = None,
        lookup_from: types.LookupLocation | None = None,
        **kwargs: Any,
    ) -> types.GroupsResult:
        """The best `limit` groups of points with the same value of a payload field, each with its best `group_size` points."""
        if group_size < 1:
            raise CollectionError(f"group_size value {group_size} is invalid. Must be 1 or larger.")
        request = query_request(
            query,
            using=using,
            prefetch=prefetch,
            query_filter=query_filter,
            search_params=search_params,
            limit=limit,
            with_payload=True,
            with_vectors=with_vectors,
            score_threshold=score_threshold,
            lookup_from=lookup_from,
        )
        collection = self._collection(collection_name)
        resolved = resolve(request, collection, self._collection)
        groups = group_rows(_runner(collection), resolved, group_by, limit, group_size)
        payloads = self._selected_payloads(collection, groups, with_payload)
        found = [models.PointGroup(id=group, hits=results.scored_points(_with(rows, payloads))) for group, rows in groups.items()]
        return models.GroupsResult(groups=self._looked_up(found, with_lookup))

    def search_matrix_pairs(
        self,
        collection_name: str,
        query_filter: types.Filter | None = None,
        limit: int = 3,
        sample: int = 10,
        using: str | None = None,
        **kwargs: Any,
    ) -> types.SearchMatrixPairsResponse:
        """Of sampled points, each one's nearest among the sample, as pairs."""
        matrix = self._matrix(collection_name, query_filter, using, limit, sample)
        pairs = [models.SearchMatrixPair(a=one, b=row[0], score=row[5]) for one, rows in matrix for row in rows]
        return models.SearchMatrixPairsResponse(pairs=pairs)

    def search_matrix_offsets(
        self,
        collection_name: str,
        query_filter: types.Filter | None = None,
        limit: int = 3,
        sample: int = 10,
        using: str | None = None,
        **kwargs: Any,
    ) -> types.SearchMatrixOffsetsResponse:
        """Of sampled points, each one's nearest among the sample, as a sparse matrix."""
        matrix = self._matrix(collection_name, query_filter, using, limit, sample)
        place = {one: index for index, (one, _) in enumerate(matrix)}
        cells = [(place[one], place[row[0]], row[5]) for one, rows in matrix for row in rows]
        return models.SearchMatrixOffsetsResponse(
            offsets_row=[cell[0] for cell in cells],
            offsets_col=[cell[1] for cell in cells],
            scores=[cell[2] for cell in cells],
            ids=list(place),
        )

    def retrieve(
        self,
        collection_name: str,
        ids: Sequence[types.PointId],
        with_payload: types.WithPayloadInterface = True,
        with_vectors: types.WithVector = False,
        **kwargs: Any,
    ) -> list[types.Record]:
        """The points with these ids, as far as they exist."""
        rows = self._collection(collection_name).call(
            "retrieve", ids=[point_id(one) for one in ids], with_payload=plain(with_payload), with_vector=with_vectors
        )
        return results.records(rows)

    def scroll(
        self,
        collection_name: str,
        scroll_filter: types.Filter | None = None,
        limit: int = 10,
        order_by: types.OrderBy | None = None,
        offset: types.PointId | None = None,
        with_payload: types.WithPayloadInterface = True,
        with_vectors: types.WithVector = False,
        **kwargs: Any,
    ) -> tuple[list[types.Record], types.PointId | None]:
        """A page of points in the order of their ids, or of a payload field, and the id that the next page starts with."""
        if limit < 1:
            raise CollectionError(f"limit value {limit} is invalid. Must be 1 or larger.")
        request = {
            "limit": limit,
            "offset": None if offset is None else point_id(offset),
            "filter": plain_filter(scroll_filter),
            "order_by": plain(order_by),
            "with_payload": plain(with_payload),
            "with_vector": with_vectors,
        }
        rows, following = self._collection(collection_name).call("scroll", request=request)
        return results.records(rows), following

    def count(self, collection_name: str, count_filter: types.Filter | None = None, exact: bool = True, **kwargs: Any) -> types.CountResult:
        """How many points match."""
        number = self._collection(collection_name).call("count", filter_=plain_filter(count_filter), exact=exact)
        return models.CountResult(count=number)

    def facet(
        self,
        collection_name: str,
        key: str,
        facet_filter: types.Filter | None = None,
        limit: int = 10,
        exact: bool = False,
        **kwargs: Any,
    ) -> types.FacetResponse:
        """The values of a payload field and how many points have each; the field needs an index, as with a server."""
        if limit < 1:
            raise CollectionError(f"limit value {limit} is invalid. Must be 1 or larger.")
        request = {"key": key, "limit": limit, "exact": exact, "filter": plain_filter(facet_filter)}
        hits = self._collection(collection_name).call("facet", request=request)
        return models.FacetResponse(hits=[models.FacetValueHit(value=value, count=number) for value, number in hits])

    def _run(self, collection: Collection, requests: Sequence[dict[str, Any]]) -> list[types.QueryResponse]:
        resolved = [resolve(request, collection, self._collection) for request in requests]
        if not resolved:
            return []
        return [QueryResponse.model_construct(points=results.scored_points(rows)) for rows in collection.call("query", requests=resolved)]

    def _matrix(self, name: str, filter_: types.Filter | None, using: str | None, limit: int, sample: int) -> list[tuple[Any, Rows]]:
        if limit < 1:
            raise CollectionError(f"limit value {limit} is invalid. Must be 1 or larger.")
        if sample < 2:
            raise CollectionError(f"sample value {sample} is invalid. Must be 2 or larger.")
        return sampled_matrix(_runner(self._collection(name)), plain_filter(filter_), using or "", limit, sample)

    def _selected_payloads(self, collection: Collection, groups: Mapping[Any, Rows], with_payload: Any) -> dict[Any, Any] | None:
        """Payloads as asked for; the grouping itself needed the field that it groups by. None when they can stay as they are."""
        if with_payload is True:
            return None
        ids = list({row[0] for rows in groups.values() for row in rows})
        rows = collection.call("retrieve", ids=ids, with_payload=plain(with_payload), with_vector=False) if with_payload else []
        return {row[0]: row[1] for row in rows}

    def _looked_up(self, groups: list[models.PointGroup], with_lookup: Any) -> list[models.PointGroup]:
        if with_lookup is None:
            return groups
        lookup = models.WithLookup(collection=with_lookup) if isinstance(with_lookup, str) else with_lookup
        with_payload = True if lookup.with_payload is None else lookup.with_payload
        for group in groups:
            found = self.retrieve(lookup.collection, [group.id], with_payload, lookup.with_vectors or False)
            group.lookup = found[0] if found else None
        return groups


def _runner(collection: Collection) -> Callable[[Mapping[str, Any]], Rows]:
    def run(request: Mapping[str, Any]) -> Rows:
        rows: Rows = collection.call("query", requests=[request])[0]
        return rows

    return run


def _with(rows: Rows, payloads: Mapping[Any, Any] | None) -> Rows:
    return rows if payloads is None else [(row[0], payloads.get(row[0]), *row[2:]) for row in rows]


def _batch_request(request: types.QueryRequest) -> dict[str, Any]:
    return query_request(
        request.query,
        using=request.using,
        prefetch=request.prefetch,
        query_filter=request.filter,
        search_params=request.params,
        limit=10 if request.limit is None else request.limit,
        offset=request.offset,
        with_payload=False if request.with_payload is None else request.with_payload,
        with_vectors=request.with_vector or False,
        score_threshold=request.score_threshold,
        lookup_from=request.lookup_from,
    )
