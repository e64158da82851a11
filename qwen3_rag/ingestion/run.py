"""One run: select, prepare, embed, write, delete; kept in the catalog as a run with its counts, its failures and its end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass

from qdrant_client import QdrantClient

from qwen3_rag.catalog import Catalog, DocumentState, FailureStage, RunStatus, failure_id
from qwen3_rag.chunking import Chunker
from qwen3_rag.ingestion.embedding import EmbeddingStage
from qwen3_rag.ingestion.items import Item, id_of
from qwen3_rag.ingestion.known import learn
from qwen3_rag.ingestion.pipeline import Pipeline
from qwen3_rag.ingestion.prepare import Prepared, Preparer
from qwen3_rag.ingestion.progress import Progress, default_progress
from qwen3_rag.ingestion.reconcile import Reconciler
from qwen3_rag.ingestion.report import Action, IngestReport, Outcome
from qwen3_rag.ingestion.selection import Selection, Sources, select
from qwen3_rag.ingestion.sync import disappeared
from qwen3_rag.ingestion.visibility import Visibility
from qwen3_rag.ingestion.writer import Writer
from qwen3_rag.models.base import EmbedderLike
from qwen3_rag.settings import ChunkingSettings, IngestionSettings, SourceSettings

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class IngestionConfig:
    """The settings of a run."""

    collection: str
    sources: SourceSettings
    chunking: ChunkingSettings
    ingestion: IngestionSettings
    language: str | None = None


class Ingestion:
    """Ingests into and deletes from one collection, which must exist. The caller holds the collection's writing lock."""

    def __init__(self, catalog: Catalog, client: QdrantClient, config: IngestionConfig, visibility: Visibility) -> None:
        self._catalog = catalog
        self._client = client
        self._config = config
        self._writer = Writer(catalog, client, config.collection, visibility)
        self._reconciler = Reconciler(catalog, client, config.collection)
        self._missing: frozenset[str] = frozenset()
        self._failing: frozenset[str] = frozenset()

    def select(self, sources: Sources) -> Selection:
        """What a run over `sources` would work on; raises for everything that must be refused before the run."""
        return select(sources, self._states, self._config.sources, self._config.ingestion.max_delete_share)

    def run(self, selection: Selection, embedder: EmbedderLike, *, force: bool = False, progress: Progress | None = None) -> IngestReport:
        """Work on what `select` gave.

        Raises:
            StoreError, CatalogError: the run could not go on. It is recorded as failed; what was written stays.
        """
        run_id = self._catalog.start_run(self._config.collection, settings=asdict(self._config), paths=selection.paths)
        report = IngestReport()
        began = time.perf_counter()
        status, error = RunStatus.INTERRUPTED, None
        try:
            self._missing = self._reconciler.begin(run_id, force=force)
            self._work(selection, embedder, report, force=force, progress=progress or default_progress())
            self._reconciler.finish(run_id)
            status = RunStatus.OK
        except Exception as failure:
            status, error = RunStatus.FAILED, f"{type(failure).__name__}: {failure}"
            raise
        finally:
            report.seconds = time.perf_counter() - began
            self._catalog.finish_run(run_id, status, counts=report.counts(), timing=report.timing, error=error)
        return report

    def delete(self, document_ids: Sequence[str]) -> int:
        """Delete documents, and forget what failed of these ids; returns how many documents there were."""
        self._reconciler.before_deletion()
        deleted = sum(1 for _ in self._writer.delete(document_ids))
        self._catalog.clear_failures(self._config.collection, document_ids)
        return deleted

    def _work(self, selection: Selection, embedder: EmbedderLike, report: IngestReport, *, force: bool, progress: Progress) -> None:
        states = dict(selection.states or {})
        self._failing = frozenset(failure.document_id for failure in self._catalog.failures(self._config.collection))
        stage = EmbeddingStage(embedder, self._config.ingestion.batch_chunks, progress.embedded)
        pipeline = Pipeline(self._preparer(embedder, states, force), stage, self._writer.write, self._config.ingestion)
        progress.start(selection.total)
        try:
            emptied = list(self._outcomes(pipeline, selection, states, report, progress))
            for outcome in self._writer.delete([*selection.deletions, *emptied]):
                report.count(outcome)
            self._forget_failures(selection)
        finally:
            report.timing = pipeline.timing
            progress.stop()

    def _outcomes(
        self, pipeline: Pipeline, selection: Selection, states: dict[str, DocumentState], report: IngestReport, progress: Progress
    ) -> Iterator[str]:
        """Count what the pipeline yields; the ids that come out are known documents that have no text any more.

        `states` is filled while items come by, where `selection` does not know them yet.
        """
        for outcome in selection.skipped:
            report.count(outcome)
        once = Once(report.count)
        items = once.filter(selection.items)
        for outcome in pipeline.run(learn(items, states, self._states) if selection.states is None else items):
            report.count(outcome)
            progress.finished(outcome)
            self._note(outcome)
            if outcome.action is Action.EMPTY and outcome.document_id in states:
                yield outcome.document_id
        for outcome in once.refused:
            self._note(outcome)

    def _preparer(self, embedder: EmbedderLike, states: dict[str, DocumentState], force: bool) -> Callable[..., Prepared | Outcome]:
        return Preparer(
            self._catalog,
            self._config.collection,
            Chunker(embedder.tokenizer, self._config.chunking),
            self._config.sources,
            language=self._config.language,
            states=states,
            force=force,
            missing=self._missing,
        )

    def _note(self, outcome: Outcome) -> None:
        """Keep a failure in the catalog; forget that of a document which is all right again."""
        name = self._config.collection
        if outcome.action is Action.FAILED:
            reason, stage = outcome.reason or "unknown", outcome.stage or FailureStage.READ
            self._catalog.record_failure(name, outcome.document_id, stage=stage, error=reason)
        elif failure_id(outcome.document_id) in self._failing:
            self._catalog.clear_failures(name, [outcome.document_id])

    def _forget_failures(self, selection: Selection) -> None:
        """Failures of files that are no longer there are of no use."""
        if not self._failing:
            return
        present = {failure_id(key) for key in selection.present}
        gone = {key for folder in selection.folders for key in disappeared(self._failing, folder, present, selection.unlisted)}
        if gone:
            self._catalog.clear_failures(self._config.collection, gone)

    def _states(self, ids: Iterable[str] | None) -> dict[str, DocumentState]:
        return self._catalog.document_states(self._config.collection, ids=ids)


class Once:
    """Lets every document id through once; a second document with the same id in one run is refused, since their order is not defined."""

    def __init__(self, count: Callable[[Outcome], None]) -> None:
        self._count = count
        self._seen: set[str] = set()
        self.refused: list[Outcome] = []

    def filter(self, items: Iterable[Item]) -> Iterator[Item]:
        """Pass on the first item of each id."""
        for item in items:
            document_id = id_of(item)
            if document_id in self._seen:
                reason = "this id was given twice in one run; the first was taken. Give each id once, or ingest in two calls."
                self.refused.append(Outcome(document_id, Action.FAILED, stage="read", reason=reason))
                self._count(self.refused[-1])
                continue
            self._seen.add(document_id)
            yield item
