"""The write order, in one place.

1. Catalog: the new versions are pending, with the point ids they intend. 2. Store: the new points are written and awaited.
3. Catalog: one transaction makes the versions current. 4. Store: points that only old versions had are deleted, payloads of chunks
that moved are refreshed. 5. Catalog: old versions are forgotten. A crash between any two steps is mended by `repair`, and the old
version is served until step 3. This module knows catalog and store; it does not read, chunk or embed.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from qdrant_client import QdrantClient, models
from qdrant_client.http.exceptions import ResponseHandlingException, UnexpectedResponse

from qwen3_rag.catalog import Catalog, Write
from qwen3_rag.errors import StoreError, StoreFullError, StoreLockedError, StoreUnavailableError
from qwen3_rag.ingestion.embedding import Embedded
from qwen3_rag.ingestion.report import Action, Outcome
from qwen3_rag.ingestion.tidy import POINTS_PER_REQUEST, delete_points, tidy
from qwen3_rag.ingestion.visibility import Visibility
from qwen3_rag.store.points import to_point
from qwen3_rag.store.sparse import Bm25Encoder

DOCUMENTS_PER_DELETION = 128

_RUN_ENDING = (StoreFullError, StoreLockedError, StoreUnavailableError)


class Writer:
    """Writes documents into one collection and deletes them from it, always in the order above."""

    def __init__(self, catalog: Catalog, client: QdrantClient, collection: str, visibility: Visibility) -> None:
        self._catalog = catalog
        self._client = client
        self._collection = collection
        self._visibility = visibility
        self._bm25 = Bm25Encoder()

    def write(self, documents: Sequence[Embedded]) -> list[Outcome]:
        """Write new versions of `documents`, which must differ in their ids.

        Raises:
            StoreError: the store is full, locked or gone; nothing of these documents is current and the next run mends the rest.
            CatalogError: likewise; also when somebody else may be writing by now.
        """
        self._catalog.check_writing(self._collection)
        writes = self._catalog.begin_writes(self._collection, [(item.prepared.record, item.prepared.chunk_records) for item in documents])
        added = [point for item in documents for point in item.prepared.added]
        self._visibility.hide(added)
        stored, outcomes = self._store(list(zip(writes, documents, strict=True)))
        kept = [write for write, _ in stored]
        self._catalog.check_writing(self._collection)
        self._catalog.commit_writes(kept)
        leftovers = self._catalog.leftovers(kept)
        obsolete = [point for item in leftovers for point in item.obsolete_points]
        self._visibility.change(show=added, hide=obsolete)
        tidy(self._client, self._collection, leftovers)
        self._catalog.finish_writes(kept)
        self._visibility.show(obsolete)
        return outcomes + [_outcome(item, len(left.obsolete_points)) for (_, item), left in zip(stored, leftovers, strict=True)]

    def delete(self, document_ids: Iterable[str]) -> Iterator[Outcome]:
        """Delete documents, a batch at a time, and yield an outcome for each; unknown ids are left out.

        Batches keep short what a search has to leave out meanwhile, and how long the catalog is locked. Interrupted between two of them,
        the documents of the others are still served, whole.
        """
        wanted = list(dict.fromkeys(document_ids))
        for start in range(0, len(wanted), DOCUMENTS_PER_DELETION):
            yield from self._delete(wanted[start : start + DOCUMENTS_PER_DELETION])

    def _delete(self, document_ids: Sequence[str]) -> list[Outcome]:
        self._catalog.check_writing(self._collection)
        deletions = self._catalog.begin_deletes(self._collection, document_ids)
        points = [point for deletion in deletions for point in deletion.point_ids]
        self._visibility.hide(points)
        delete_points(self._client, self._collection, points)
        self._catalog.finish_deletes(deletions)
        self._visibility.show(points)
        return [Outcome(deletion.document_id, Action.DELETED, removed=len(deletion.point_ids)) for deletion in deletions]

    def _store(self, items: list[tuple[Write, Embedded]]) -> tuple[list[tuple[Write, Embedded]], list[Outcome]]:
        """Upsert the new points of all; if that fails for a reason that may lie in one document, of each alone."""
        try:
            self._upsert([point for _, item in items for point in self._points(item)])
        except _RUN_ENDING:
            raise
        except ResponseHandlingException as error:
            raise StoreUnavailableError(f"The Qdrant server did not answer: {error}. Start it, then run the same command again.") from error
        except (StoreError, UnexpectedResponse, ValueError) as error:
            if len(items) == 1:
                return [], [self._abandon(items[0], error)]
            parts = [self._store([item]) for item in items]
            return [item for stored, _ in parts for item in stored], [outcome for _, failed in parts for outcome in failed]
        return items, []

    def _abandon(self, item: tuple[Write, Embedded], error: Exception) -> Outcome:
        write, embedded = item
        tidy(self._client, self._collection, self._catalog.leftovers([write]))
        self._catalog.abandon_writes([write])
        return Outcome(embedded.prepared.document.id, Action.FAILED, stage="store", reason=str(error))

    def _points(self, item: Embedded) -> Iterator[models.PointStruct]:
        prepared = item.prepared
        sparse = self._bm25.documents(
            [chunk.embedding_text for chunk in prepared.fresh_chunks], [chunk.language for chunk in prepared.fresh_chunks]
        )
        for index, vector, words in zip(prepared.fresh, item.vectors, sparse, strict=True):
            point_id = prepared.chunk_records[index].point_id
            yield to_point(point_id, prepared.chunks[index], prepared.document, vector, words)

    def _upsert(self, points: Sequence[models.PointStruct]) -> None:
        for start in range(0, len(points), POINTS_PER_REQUEST):
            self._client.upsert(self._collection, points[start : start + POINTS_PER_REQUEST], wait=True)


def _outcome(item: Embedded, removed: int) -> Outcome:
    prepared = item.prepared
    return Outcome(
        prepared.document.id,
        Action.UPDATED if prepared.known else Action.ADDED,
        embedded=len(prepared.fresh),
        kept=len(prepared.chunks) - len(prepared.fresh),
        removed=removed,
        tokens=sum(chunk.tokens for chunk in prepared.fresh_chunks),
    )
