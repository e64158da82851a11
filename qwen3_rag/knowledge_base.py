"""`KnowledgeBase`: the one object most users need. It opens the rooms, hands them to each other and closes them; the work is theirs."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Self

from qdrant_client import QdrantClient, models

from qwen3_rag.catalog import Catalog, CollectionRecord, DocumentRecord, FailureRecord
from qwen3_rag.checks import listed
from qwen3_rag.chunking import check_chunking
from qwen3_rag.errors import StoreError, WriterBusyError
from qwen3_rag.ingestion import Ingestion, IngestionConfig, IngestReport, Progress, Sources, Visibility, repair
from qwen3_rag.ingestion.drawing import Drawing
from qwen3_rag.models.base import EmbedderLike, RerankerLike
from qwen3_rag.models.binding import ModelBinding, ModelChoice, Remembered
from qwen3_rag.passages import Passages
from qwen3_rag.remembered import made_with
from qwen3_rag.retrieval import Retriever
from qwen3_rag.settings import Settings
from qwen3_rag.status import Status
from qwen3_rag.store.client import one_call_at_a_time, open_client
from qwen3_rag.store.held import HeldLanguages
from qwen3_rag.store.schema import check_space, count_chunks, ensure_collection
from qwen3_rag.types import Fusion, Hits, Mode


class KnowledgeBase:
    """Documents in, the right passages out.

    Example:
        >>> with KnowledgeBase.open("kb", embedder="nano") as kb:  # doctest: +SKIP
        ...     kb.ingest("docs/")
        ...     hits = kb.search("how are keys rotated?", top_k=5)

    An instance may be used from several threads; one ingest or deletion runs at a time.
    """

    def __init__(self, settings: Settings, catalog: Catalog, client: QdrantClient, binding: ModelBinding, resources: ExitStack) -> None:
        self._settings = settings
        self._catalog = catalog
        self._client = client
        self._binding = binding
        self._resources = resources
        self._write_lock = threading.Lock()
        self._drawing = Drawing()
        self._knows_cut = False
        self._learn_cut()
        self._visibility = Visibility.of(client, settings.collection)
        self._languages = HeldLanguages(client, settings.collection)
        self._retriever = Retriever(
            client,
            settings.collection,
            binding.embedder,
            binding.reranker,
            settings.retrieval,
            languages=self._languages,
            instruction=settings.instruction,
            hidden=lambda: self._visibility.hidden,
        )

    @classmethod
    def open(
        cls,
        path: str | Path | None = None,
        *,
        settings: Settings | None = None,
        embedder: EmbedderLike | str | None = None,
        reranker: RerankerLike | str | None = None,
        client: QdrantClient | None = None,
    ) -> Self:
        """Open the knowledge base in the folder `path`, which is made if it is not there.

        Args:
            path: the folder; None takes it from `settings`.
            settings: anything beyond the defaults; None reads the environment and `qwen3-rag.toml`.
            embedder: an object or a model name. Only needed when the knowledge base is new; it remembers.
            reranker: an object, a model name, or `"off"`.
            client: a Qdrant client of your own instead of the one that the settings describe; it is not closed with the knowledge base.

        Raises:
            EmbeddingSpaceError: it was made with another embedder or dim.
            StoreLockedError: another process has it open.
            CatalogVersionError: its database needs `qwen3-rag db upgrade`.
        """
        settings = settings or Settings.load()
        if path is not None:
            settings = settings.model_copy(update={"kb": Path(path).expanduser()})
        ours = [Path(settings.store.path)] if settings.kb.exists() else [settings.kb]
        choice = ModelChoice.of(settings, embedder, reranker)
        with ExitStack() as resources:
            if client is None:
                client = open_client(settings.store)
                resources.callback(client.close)
            else:
                one_call_at_a_time(client)
            catalog = resources.enter_context(Catalog.open(settings.catalog))
            binding = ModelBinding(choice, partial(made_with, catalog, client, settings.collection))
            resources.callback(binding.close)
            kb = cls(settings, catalog, client, binding, resources.pop_all())
        try:
            _keep_out(ours)
            kb._mend()
        except BaseException:
            kb.close()
            raise
        return kb

    @property
    def catalog(self) -> Catalog:
        """The catalog, open as long as this is."""
        return self._catalog

    def ingest(self, sources: Sources, *, force: bool = False, progress: Progress | None = None) -> IngestReport:
        """Bring documents in; what is unchanged is not touched.

        A folder is kept in step: documents whose files have disappeared are deleted. `Document` objects are added, or replace the one with
        the same id. A document that fails is recorded (`failures`) and the run goes on.

        Args:
            sources: a file, a folder, a list of them, or an iterable of `Document`.
            force: embed everything anew, changed or not, and delete chunks that the catalog does not serve. Also when the store was lost:
                the catalog then forgets what is not ingested again.
            progress: where to show how it goes; None shows a bar if standard error is a terminal.

        Raises:
            ConfigurationError: documents cannot be cut by the settings. Nothing was changed.
            SourceUnavailableError: a path does not exist. Nothing was changed.
            MassDeletionError: a folder lost suspiciously many documents. Nothing was changed.
            StoreError, CatalogError, ModelError: the run could not go on; what was written stays and the next run continues.
        """
        with self._writing():
            ingestion = self._ingestion()
            selection = ingestion.select(self._drawing.watched(sources))
            embedder = self._binding.embedder()
            if self._store_is_lost():
                if not force:
                    raise self._lost()
                self._catalog.delete_collection(self._settings.collection)
                selection = replace(selection, deletions=(), states={})
            self._ensure_collection(embedder)
            return ingestion.run(selection, embedder, force=force, progress=progress)

    def search(
        self,
        query: str,
        top_k: int | None = None,
        *,
        filters: Mapping[str, Any] | models.Filter | None = None,
        instruction: str | None = None,
        mode: Mode | str | None = None,
        rerank: bool | None = None,
        candidates: int | None = None,
        fusion: Fusion | str | None = None,
        dense_weight: float | None = None,
        rrf_k: int | None = None,
        recall_threshold: float | None = None,
        rerank_weight: float | None = None,
        rerank_threshold: float | None = None,
        rerank_deadline: float | None = None,
        explain: bool = False,
    ) -> Hits:
        """Find the passages that answer `query`, best first.

        Args:
            query: what to look for.
            top_k: how many hits.
            filters: `{"team": "payments"}`, operators such as `{"year": {"$gte": 2024}}`, `$and`/`$or`/`$not`, or a Qdrant `Filter`.
            instruction: the task in English, for instruction-aware models.
            mode: hybrid, dense or lexical.
            rerank: False skips the reranker; True insists on one.
            candidates: how many passages are recalled before reranking.
            fusion: completed, rrf or dbsf.
            dense_weight: the dense ranker's share in fusion, 0 to 1; BM25 has the rest.
            rrf_k: the constant of fusion by ranks, 1 / (k + rank).
            recall_threshold: least recall score.
            rerank_weight: the reranker's share in the order, 0 to 1; recall has the rest.
            rerank_threshold: least reranker score.
            rerank_deadline: seconds that reranking may take; what was not scored in time follows in recall order.
            explain: fill `hits.trace`.

        Returns:
            Hits; empty when nothing was ingested yet.

        Raises:
            ConfigurationError: an empty query, or an option out of range.
            FilterError: a filter that cannot be expressed.
            StoreError: the store cannot be searched, or what was ingested is not there any more.
        """
        find = self._retriever.search
        if not self._client.collection_exists(self._settings.collection):
            self._nothing_there()
            find = self._retriever.nothing
        return find(
            query,
            top_k=top_k,
            filters=filters,
            instruction=instruction,
            mode=mode,
            rerank=rerank,
            candidates=candidates,
            fusion=fusion,
            dense_weight=dense_weight,
            rrf_k=rrf_k,
            recall_threshold=recall_threshold,
            rerank_weight=rerank_weight,
            rerank_threshold=rerank_threshold,
            rerank_deadline=rerank_deadline,
            explain=explain,
        )

    async def asearch(self, query: str, top_k: int | None = None, **options: Any) -> Hits:
        """`search` without blocking the event loop; concurrent queries are embedded in shared batches."""
        if not await asyncio.to_thread(self._client.collection_exists, self._settings.collection):
            return await asyncio.to_thread(self.search, query, top_k, **options)
        return await self._retriever.asearch(query, top_k=top_k, **options)

    def passages(self) -> Passages:
        """Put texts in, and fetch and delete them, one by one under ids of their own, as a framework's vector store does.

        They are found by `search` together with what was ingested; an ingest neither counts nor deletes them.
        """
        return Passages(
            self._client,
            self._settings.collection,
            self._retriever,
            self._binding.embedder,
            languages=self._languages,
            prepare=self._prepare_for_passages,
            embedder_name=lambda: self._binding.embedder_name,
            missing=self._nothing_there,
        )

    def _prepare_for_passages(self, embedder: EmbedderLike) -> None:
        if self._collection() is None or not self._client.collection_exists(self._settings.collection):
            with self._writing():
                if self._store_is_lost():
                    raise self._lost()
                self._ensure_collection(embedder)

    def delete(self, document_ids: str | Iterable[str]) -> int:
        """Delete documents by id; returns how many there were. Unknown ids are left alone.

        Many are deleted in batches: interrupted between two, each document is gone or still there whole. Call it again for the rest.
        """
        wanted = listed(document_ids)
        with self._writing():
            if self._store_is_lost():
                raise self._lost()
            return 0 if self._collection() is None else self._ingestion().delete(wanted)

    def document(self, document_id: str) -> DocumentRecord | None:
        """What is known of one document; None when it was not ingested."""
        return self._catalog.get_document(self._settings.collection, document_id)

    def documents(self) -> Iterator[DocumentRecord]:
        """What was ingested, by id."""
        return self._catalog.iter_documents(self._settings.collection)

    def failures(self) -> list[FailureRecord]:
        """Documents that could not be ingested, with stage, reason and number of attempts."""
        return self._catalog.failures(self._settings.collection)

    def status(self) -> Status:
        """What this knowledge base holds, and with which models."""
        name = self._settings.collection
        counts = self._catalog.counts(name)
        record = self._collection()
        points, passages = count_chunks(self._client, name) if self._client.collection_exists(name) else (0, 0)
        return Status(
            collection=name,
            documents=counts.documents,
            chunks=counts.chunks,
            points=points,
            passages=passages,
            failures=counts.failures,
            embedder=self._binding.embedder_name,
            dim=record.space.dim if record else None,
            reranker=self._binding.reranker_name,
            fingerprint=record.space.fingerprint if record else None,
            languages=self._catalog.languages(name),
            store=self._settings.store.place,
            catalog=self._catalog.url,
            last_run=self._catalog.last_run(name),
        )

    def close(self) -> None:
        """Close store and catalog. Safe to repeat."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _collection(self) -> CollectionRecord | None:
        return self._catalog.get_collection(self._settings.collection)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """One writer at a time, in this process and among all; what a crashed one left is mended first."""
        self._drawing.refuse()
        with self._write_lock, self._catalog.writing(self._settings.collection):
            self._repair()
            self._visibility.show_all()
            self._learn_cut()
            yield
        self._languages.forget()

    def _learn_cut(self) -> None:
        """Another instance may have made the knowledge base since this one was opened: then documents are cut as it said."""
        if not self._knows_cut and (record := self._collection()) is not None:
            self._settings, self._knows_cut = self._settings.with_cut(record.chunking), True

    def _ensure_collection(self, embedder: EmbedderLike) -> None:
        """Remember the models first, then make the collection: a crash in between leaves nothing that contradicts.

        Raises:
            ConfigurationError: documents cannot be cut by the settings. They are not remembered.
        """
        check_chunking(self._settings.chunking)
        name = self._settings.collection
        record, cut = self._collection(), self._settings.cut
        if record is None:
            self._refuse_points_of_others()
            self._catalog.create_collection(name, embedder.space, self._binding.reranker_name, cut)
            self._binding.remember(Remembered(embedder.space, self._binding.reranker_name))
        elif record.chunking != cut:
            self._catalog.set_chunking(name, cut)
        ensure_collection(self._client, self._settings.store, embedder.space)

    def _store_is_lost(self) -> bool:
        """Whether the catalog knows documents of a collection that the store does not have."""
        name = self._settings.collection
        return not self._client.collection_exists(name) and self._catalog.has_documents(name)

    def _nothing_there(self) -> None:
        """There is no collection: fine while nothing was ingested."""
        if self._store_is_lost():
            raise self._lost()

    def _lost(self) -> StoreError:
        name, place = self._settings.collection, self._settings.store.place
        return StoreError(
            f"The catalog {self._catalog.url} knows {self._catalog.counts(name).documents} documents, but there is no collection {name!r} "
            f"in the store {place}. Nothing was changed. If the store is elsewhere, correct `url`, `collection` or `kb`; if it is lost or "
            "new, have everything embedded anew: qwen3-rag ingest PATH --force (Python: ingest(…, force=True))."
        )

    def _refuse_points_of_others(self) -> None:
        """Points that the catalog does not know would be found, but never updated or deleted."""
        name, place = self._settings.collection, self._settings.store.place
        points = count_chunks(self._client, name)[0] if self._client.collection_exists(name) else 0
        if points:
            raise StoreError(
                f"The collection {name!r} in the store {place} holds {points} points that the catalog {self._catalog.url} knows nothing "
                "of. Nothing was changed. Give the catalog that belongs to it (`kb` or `database_url`), or another name for a "
                "new collection (QWEN3_RAG_COLLECTION). If the catalog is lost, remove the store and ingest again."
            )

    def _ingestion(self) -> Ingestion:
        settings = self._settings
        config = IngestionConfig(settings.collection, settings.sources, settings.chunking, settings.ingestion, settings.language)
        return Ingestion(self._catalog, self._client, config, self._visibility)

    def _mend(self) -> None:
        """At opening: refuse a store of another space, and repair unless somebody is writing just now."""
        record = self._collection()
        if record is None or not self._client.collection_exists(self._settings.collection):
            return
        check_space(self._client, self._settings.collection, record.space)
        if self._catalog.has_unfinished(self._settings.collection):
            with suppress(WriterBusyError), self._writing():
                pass

    def _repair(self) -> None:
        if self._client.collection_exists(self._settings.collection):
            repair(self._catalog, self._client, self._settings.collection)


def _keep_out(folders: Iterable[Path]) -> None:
    """Have version control, and an ingest of a folder above, leave folders alone that hold nothing but our files."""
    for folder in folders:
        marker = folder / ".gitignore"
        with suppress(OSError):  # a convenience; that a folder cannot be written is reported by what has to
            if folder.is_dir() and not marker.exists():
                marker.write_text("*\n", encoding="utf-8")
