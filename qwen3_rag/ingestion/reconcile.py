"""Finds out whether the store is still as the last run left it, and brings it back in line with the catalog where it is not.

A store is behind its catalog after a power cut, which may cost the last seconds of what was acknowledged, and when one of the two was put
back from a backup. Then points are missing that the catalog serves, and points are found that it does not serve any more. `repair` sees
nothing of it, since all steps were finished. The caller holds the collection's writing lock and has repaired already.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from qdrant_client import QdrantClient, models

from qwen3_rag.catalog import Catalog, RunRecord, RunStatus
from qwen3_rag.errors import StoreError
from qwen3_rag.ingestion.tidy import POINTS_PER_REQUEST, delete_points, sync
from qwen3_rag.store.points import NOT_A_PASSAGE
from qwen3_rag.store.stamp import Stamp, read_stamp, write_stamp

logger = logging.getLogger(__name__)

SCROLL_PAGE = 10_000
_OF_CHUNKS = ("document_id", "ordinal", "start", "end")
"""Payload keys that a chunk has. Points without them are another writer's."""


@dataclass(frozen=True, slots=True)
class _Claim:
    """Whose the collection is, by its stamp. `owner` tells this catalog's from any other's: when it was made, to the microsecond."""

    owner: str
    stamp: Stamp | None

    @property
    def is_ours(self) -> bool:
        return self.stamp is not None and self.stamp.catalog == self.owner

    @property
    def is_foreign(self) -> bool:
        return self.stamp is not None and not self.is_ours

    def knows(self, run: RunRecord | None) -> bool:
        """Whether the store is as this run left it, which ended well; without a run, whether none has begun."""
        if run is None:
            return self.stamp is None
        return run.status is RunStatus.OK and self.stamp == Stamp(self.owner, run.id)

    def is_before(self, run: RunRecord | None) -> bool:
        """Whether the store knows an earlier run of this catalog than this one, which ended well: it was put back."""
        return run is not None and run.status is RunStatus.OK and self.is_ours and not self.knows(run)


class Reconciler:
    """Compares the store with the catalog, for one collection that exists in both."""

    def __init__(self, catalog: Catalog, client: QdrantClient, collection: str) -> None:
        self._catalog = catalog
        self._client = client
        self._collection = collection

    def begin(self, run_id: int, *, force: bool) -> frozenset[str]:
        """Bring the store in line before a run. Returns the points that the catalog serves in vain.

        Points are compared when the last run did not end well or is not the one that the store knows, when the numbers differ, and when
        forced. Chunks of documents that the catalog does not know go only when forced, or when the store shows that it was put back: they
        may be another catalog's.

        Raises:
            StoreError: the collection holds chunks of another catalog, or may do so. Nothing was changed.
        """
        last = next((run for run in self._catalog.runs(self._collection, limit=2) if run.id != run_id), None)
        claim = self._claim()
        agreed = not force and claim.knows(last) and self._same_number()
        missing = frozenset() if agreed else self._compare(claim, strangers=force or claim.is_before(last))
        if not claim.is_ours:
            write_stamp(self._client, self._collection, Stamp(claim.owner))
        return missing

    def finish(self, run_id: int) -> None:
        """Note that the run came to its end; what it wrote is on the disk by then.

        Raises:
            StoreError: another catalog has begun to write to the collection meanwhile.
        """
        sync(self._client, self._collection)
        claim = self._claim()
        if claim.is_foreign:
            raise StoreError(
                f"Another catalog than {self._catalog.url} writes to the collection {self._collection!r} as well, since this run began. "
                "What was written stays. Give one of the two another collection (QWEN3_RAG_COLLECTION) and ingest its documents there."
            )
        write_stamp(self._client, self._collection, Stamp(claim.owner, run_id))

    def before_deletion(self) -> None:
        """Unless the store is as the last run left it, delete what the catalog does not serve: a deletion by id would not reach it.

        After a run that did not end well, and where the store does not say, this is left to the next run.

        Raises:
            StoreError: as `begin`.
        """
        last, claim = self._catalog.last_run(self._collection), self._claim()
        if last is not None and last.status is RunStatus.OK and claim.stamp is not None and not claim.knows(last):
            self._compare(claim, strangers=True)
            write_stamp(self._client, self._collection, Stamp(claim.owner, last.id))  # what is missing shows by the numbers from now on

    def _claim(self) -> _Claim:
        record = self._catalog.get_collection(self._collection)
        return _Claim(record.created_at.isoformat() if record else "", read_stamp(self._client, self._collection))

    def _same_number(self) -> bool:
        """Points of other writers that have a document's id as well count too; then each run compares."""
        stored = self._client.count(self._collection, count_filter=_filled("document_id"), exact=True).count
        return stored == self._catalog.counts(self._collection).chunks

    def _compare(self, claim: _Claim, *, strangers: bool) -> frozenset[str]:
        served, stored = set(self._catalog.point_ids(self._collection)), _chunk_ids(self._client, self._collection)
        unserved = [point for name, point in sorted(stored.items()) if name not in served]
        if unserved:
            self._delete_unserved(unserved, claim, strangers=strangers)
        if missing := frozenset(served - stored.keys()):
            logger.warning("the store lacks %d points; the documents they belong to are embedded anew when they are ingested", len(missing))
        return missing

    def _delete_unserved(self, points: list[models.ExtendedPointId], claim: _Claim, *, strangers: bool) -> None:
        if claim.is_foreign:
            raise StoreError(
                f"The collection {self._collection!r} holds {len(points)} points that another catalog than {self._catalog.url} has "
                "written. Nothing was changed. Give the catalog that belongs to it (`kb` or `database_url`), or another name for a new "
                "collection (QWEN3_RAG_COLLECTION)."
            )
        if not strangers and (strange := self._of_unknown_documents(points)):
            raise StoreError(
                f"The collection {self._collection!r} holds {strange} chunks of documents that the catalog {self._catalog.url} does not "
                "know: another catalog's, or what is left of deleted ones. Nothing was changed. Give the catalog that belongs to the "
                "collection (`kb` or `database_url`), or another name for a new one (QWEN3_RAG_COLLECTION). If no other catalog writes to "
                "it, have these chunks deleted: qwen3-rag ingest PATH --force (Python: ingest(…, force=True))."
            )
        logger.warning("the store holds %d points of versions that are not served any more; they are deleted", len(points))
        delete_points(self._client, self._collection, points)

    def _of_unknown_documents(self, points: list[models.ExtendedPointId]) -> int:
        """How many of these chunks are of documents that are not in the catalog."""
        strange = 0
        for start in range(0, len(points), POINTS_PER_REQUEST):
            batch = points[start : start + POINTS_PER_REQUEST]
            found = self._client.retrieve(self._collection, batch, with_payload=["document_id"])
            documents = [str((record.payload or {}).get("document_id")) for record in found]
            known = self._catalog.document_states(self._collection, ids=set(documents))
            strange += sum(document not in known for document in documents)
        return strange


def _filled(*keys: str) -> models.Filter:
    """Points that are no passages and have something under all of `keys`."""
    empty: list[models.Condition] = [models.IsEmptyCondition(is_empty=models.PayloadField(key=key)) for key in keys]
    return models.Filter(must=[NOT_A_PASSAGE], must_not=empty)


def _chunk_ids(client: QdrantClient, collection: str) -> dict[str, models.ExtendedPointId]:
    """All points that are chunks as ingestion writes them: the id as the catalog writes it → the store's own, which may be a number."""
    found: dict[str, models.ExtendedPointId] = {}
    chunks, offset = _filled(*_OF_CHUNKS), None
    while True:
        page, offset = client.scroll(
            collection, scroll_filter=chunks, limit=SCROLL_PAGE, offset=offset, with_payload=False, with_vectors=False
        )
        found.update((str(record.id), record.id) for record in page)
        if offset is None:
            return found
