"""Finds out whether the store is still as the last run left it, and brings it back in line with the catalog where it is not.

A store is behind its catalog after a power cut, which may cost the last seconds of what was acknowledged, and when one of the two was put
back from a backup. Then points are missing that the catalog serves, and points are found that it does not serve any more. `repair` sees
nothing of it, since all steps were finished. The caller holds the collection's writing lock and has repaired already.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterator

from qdrant_client import QdrantClient, models

from qwen3_rag.catalog import Catalog, RunRecord, RunStatus
from qwen3_rag.errors import StoreError
from qwen3_rag.ingestion.tidy import POINTS_PER_REQUEST, delete_points, sync
from qwen3_rag.store.points import PASSAGE_ID
from qwen3_rag.store.schema import count_chunks
from qwen3_rag.store.stamp import Stamp, read_stamp, write_stamp

logger = logging.getLogger(__name__)

SCROLL_PAGE = 10_000
_OF_CHUNKS = ("document_id", "ordinal", "start", "end")
"""Payload keys that a chunk has. Points without them are another writer's."""


class Reconciler:
    """Compares the store with the catalog, for one collection that exists in both."""

    def __init__(self, catalog: Catalog, client: QdrantClient, collection: str) -> None:
        self._catalog = catalog
        self._client = client
        self._collection = collection

    def begin(self, run_id: int, *, force: bool) -> frozenset[str]:
        """Bring the store in line before a run. Returns the points that the catalog serves in vain.

        Points are compared when the last run did not end well or is not the one that the store knows, when the numbers differ, and when
        forced.

        Raises:
            StoreError: the collection holds chunks of another catalog. Nothing was changed.
        """
        last = next((run for run in self._catalog.runs(self._collection, limit=2) if run.id != run_id), None)
        agreed = not force and self._is_of(last) and self._same_number()
        missing = frozenset() if agreed else self._compare()
        if not self._is_ours(read_stamp(self._client, self._collection)):
            write_stamp(self._client, self._collection, Stamp(self._owner))
        return missing

    def finish(self, run_id: int) -> None:
        """Note that the run came to its end; what it wrote is on the disk by then."""
        sync(self._client, self._collection)
        write_stamp(self._client, self._collection, Stamp(self._owner, run_id))

    def before_deletion(self) -> None:
        """Unless the store is as the last run left it, delete what the catalog does not serve: a deletion by id would not reach it.

        After a run that did not end well, and where the store does not say, this is left to the next run.

        Raises:
            StoreError: as `begin`.
        """
        last, stamp = self._catalog.last_run(self._collection), read_stamp(self._client, self._collection)
        if last is not None and stamp is not None and last.status is RunStatus.OK and stamp != Stamp(self._owner, last.id):
            self._compare()
            write_stamp(self._client, self._collection, Stamp(self._owner, last.id))  # what is missing shows by the numbers from now on

    def _is_of(self, run: RunRecord | None) -> bool:
        stamp = read_stamp(self._client, self._collection)
        if run is None:
            return stamp is None
        return run.status is RunStatus.OK and stamp == Stamp(self._owner, run.id)

    def _is_ours(self, stamp: Stamp | None) -> bool:
        return stamp is not None and stamp.catalog == self._owner

    def _same_number(self) -> bool:
        return count_chunks(self._client, self._collection)[0] == self._catalog.counts(self._collection).chunks

    def _compare(self) -> frozenset[str]:
        served, stored = set(self._catalog.point_ids(self._collection)), set(_point_ids(self._client, self._collection))
        self._delete_unserved(list(self._chunks(sorted(stored - served))))
        if missing := frozenset(served - stored):
            logger.warning("the store lacks %d points; the documents they belong to are embedded anew when they are ingested", len(missing))
        return missing

    def _delete_unserved(self, points: list[str]) -> None:
        stamp = read_stamp(self._client, self._collection)
        if points and stamp is not None and not self._is_ours(stamp):
            raise StoreError(
                f"The collection {self._collection!r} holds {len(points)} points that another catalog than {self._catalog.url} has "
                "written. Nothing was changed. Give the catalog that belongs to it (`kb` or `database_url`), or another name for a new "
                "collection (QWEN3_RAG_COLLECTION)."
            )
        if points:
            logger.warning("the store holds %d points of versions that are not served any more; they are deleted", len(points))
            delete_points(self._client, self._collection, points)

    def _chunks(self, point_ids: Collection[str]) -> Iterator[str]:
        """Those of the points that are chunks, as ingestion writes them."""
        ids: list[models.ExtendedPointId] = list(point_ids)
        for start in range(0, len(ids), POINTS_PER_REQUEST):
            batch = ids[start : start + POINTS_PER_REQUEST]
            for record in self._client.retrieve(self._collection, batch, with_payload=[*_OF_CHUNKS, PASSAGE_ID]):
                payload = record.payload or {}
                if PASSAGE_ID not in payload and all(payload.get(name) is not None for name in _OF_CHUNKS):
                    yield str(record.id)

    @property
    def _owner(self) -> str:
        """What tells this catalog's collection from that of any other catalog: when it was made, to the microsecond."""
        record = self._catalog.get_collection(self._collection)
        return record.created_at.isoformat() if record else ""


def _point_ids(client: QdrantClient, collection: str) -> Iterator[str]:
    """The ids of all points in the store but passages."""
    no_passage = models.Filter(must=[models.IsEmptyCondition(is_empty=models.PayloadField(key=PASSAGE_ID))])
    offset: models.ExtendedPointId | None = None
    while True:
        page, offset = client.scroll(
            collection, scroll_filter=no_passage, limit=SCROLL_PAGE, offset=offset, with_payload=False, with_vectors=False
        )
        yield from (str(record.id) for record in page)
        if offset is None:
            return
