"""`Passages`: texts put into a collection whole, under ids of their own, and fetched, found and deleted by these.

This is what a framework's vector store does, where the framework has cut the documents. A passage is one point of the same collection and
schema as ingested chunks, so both are found together. There is no catalog behind it: a passage is in the store or it is not, and
putting one replaces the former one of its id in one step.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, Unpack, cast

import numpy as np
from numpy.typing import NDArray
from qdrant_client import QdrantClient, models
from qdrant_client.client_base import QdrantBase

from qwen3_rag.checks import listed
from qwen3_rag.errors import ConfigurationError, DimensionError
from qwen3_rag.models.base import EmbedderLike, RerankerLike, embed_documents_async
from qwen3_rag.models.binding import ModelBinding, ModelChoice, Remembered
from qwen3_rag.remembered import held
from qwen3_rag.retrieval import Retriever
from qwen3_rag.retrieval.options import SearchKeywords
from qwen3_rag.settings import Settings
from qwen3_rag.store.client import one_call_at_a_time
from qwen3_rag.store.filters import Filters, build_filter, named_points, restricts_nothing
from qwen3_rag.store.held import HeldLanguages
from qwen3_rag.store.language import detect, primary
from qwen3_rag.store.points import DENSE, NOT_A_PASSAGE, check_passage, chunk_point_id, passage_point, passage_point_id, to_hit
from qwen3_rag.store.schema import check_width, ensure_collection
from qwen3_rag.store.sparse import Bm25Encoder
from qwen3_rag.types import Hit, Hits, Passage

if TYPE_CHECKING:
    from qwen3_rag.knowledge_base import KnowledgeBase

Vectors = NDArray[np.float32] | Sequence[Sequence[float]]

PASSAGES_PER_REQUEST = 128
PAGE = 256
IDS = 16_384
"""Points that are asked for at a time where only their ids are."""


class Passages:
    """The passages of one collection. May be used from several threads.

    Example:
        >>> with Passages.open("kb", embedder="nano") as passages:  # doctest: +SKIP
        ...     passages.put([Passage("a", "Keys are rotated every 90 days.")])
        ...     hits = passages.search("key rotation", top_k=1)
    """

    def __init__(
        self,
        client: QdrantBase,
        collection: str,
        retriever: Retriever,
        embedder: Callable[[], EmbedderLike],
        *,
        languages: HeldLanguages,
        prepare: Callable[[EmbedderLike], None],
        embedder_name: Callable[[], str],
        missing: Callable[[], None] = lambda: None,
    ) -> None:
        self._client = client
        self._collection = collection
        self._retriever = retriever
        self._embedder = embedder
        self._languages = languages
        self._prepare = prepare
        self._embedder_name = embedder_name
        self._missing = missing
        self._prepared = False
        self._width: int | None = None
        self._preparing = threading.Lock()
        self._bm25 = Bm25Encoder()
        self._resources = ExitStack()

    @classmethod
    def open(
        cls,
        where: str | Path | QdrantClient | KnowledgeBase | None = None,
        *,
        embedder: EmbedderLike | str | None = None,
        reranker: RerankerLike | str | None = None,
        settings: Settings | None = None,
    ) -> Passages:
        """The passages of a knowledge base, of the one in a folder, or of a collection that a client of yours reaches.

        Args:
            where: a folder, `":memory:"`, a `QdrantClient`, or an open `KnowledgeBase`; None takes the folder from `settings`.
            embedder: an object or a model name. Only needed when the collection is new; it remembers.
            reranker: an object, a model name, or `"off"`.
            settings: anything beyond the defaults, such as `collection`; None reads the environment and `qwen3-rag.toml`.

        A knowledge base or a client that is handed in stays open when this is closed.

        Raises:
            ConfigurationError: models or settings for a knowledge base that is open already.
            EmbeddingSpaceError: the collection was made with another embedder or dim.
        """
        from qwen3_rag.knowledge_base import KnowledgeBase

        if isinstance(where, KnowledgeBase):
            if embedder is not None or reranker is not None or settings is not None:
                raise ConfigurationError("An open knowledge base has its models and settings. Give them to KnowledgeBase.open instead.")
            return where.passages()
        if isinstance(where, QdrantClient):
            return _of_client(where, embedder, reranker, settings or Settings.load())
        kb = KnowledgeBase.open(where, embedder=embedder, reranker=reranker, settings=settings)
        passages = kb.passages()
        passages._resources.callback(kb.close)
        return passages

    def put(self, passages: Iterable[Passage], vectors: Vectors | None = None) -> list[str]:
        """Embed and write passages; one with the id of an earlier one replaces it. Returns their ids, in order.

        Args:
            passages: any number; they are embedded and written in parts, so that an iterator may be long.
            vectors: the passages' embeddings where they are known already, shape (n, dim).

        Raises:
            ConfigurationError: an empty id, fields that are no valid text, or metadata that cannot be stored. Nothing of that part was
                written.
            DimensionError: `vectors` of another width than the collection's.
            EmbeddingSpaceError: the collection holds vectors of another embedder.
        """
        ids: list[str] = []
        for part in _parts(passages, vectors):
            embedder = self._ready()
            self._write(part, embedder.embed_documents(part.texts) if part.vectors is None else part.vectors)
            ids += part.ids
        return ids

    async def aput(self, passages: Iterable[Passage], vectors: Vectors | None = None) -> list[str]:
        """`put` without blocking the event loop; concurrent calls are embedded in shared batches."""
        ids: list[str] = []
        for part in _parts(passages, vectors):
            embedder = await asyncio.to_thread(self._ready)
            known = await embed_documents_async(embedder, part.texts) if part.vectors is None else part.vectors
            await asyncio.to_thread(self._write, part, known)
            ids += part.ids
        return ids

    def replace(self, document_id: str, passages: Iterable[Passage], vectors: Vectors | None = None) -> list[str]:
        """Make `passages` all there is of a document: new ones are written first, then the others of that `document_id` are deleted.

        At any moment the old or the new version can be found.
        """
        ids = self.put(_of_document(document_id, passages), vectors)
        self._delete(_others(document_id, ids))
        return ids

    async def areplace(self, document_id: str, passages: Iterable[Passage], vectors: Vectors | None = None) -> list[str]:
        """`replace` without blocking the event loop."""
        ids = await self.aput(_of_document(document_id, passages), vectors)
        await asyncio.to_thread(self._delete, _others(document_id, ids))
        return ids

    def get(self, ids: str | Sequence[str]) -> list[Hit]:
        """The passages of these ids, in order; unknown ones are left out. A chunk's id is its `point_id`. Scores are 0."""
        ids = listed(ids)
        if not ids or not self._exists():
            return []
        wanted = {passage_id: (passage_point_id(passage_id), chunk_point_id(passage_id)) for passage_id in ids}
        points: list[models.ExtendedPointId] = list(dict.fromkeys(point for both in wanted.values() for point in both if point))
        records = self._client.retrieve(self._collection, points, with_payload=True)
        found = {str(record.id): record for record in records if str(record.id) not in self._retriever.hidden()}
        matching = ((found.get(own) or (found.get(chunk) if chunk else None)) for own, chunk in wanted.values())
        return [_hit(record) for record in matching if record is not None]

    def select(self, filters: Filters = None) -> Iterator[Hit]:
        """Everything that meets `filters`, in the order of the point ids, page by page: there is no limit. Scores are 0."""
        conditions, offset = build_filter(filters), None
        heavy = named_points(conditions) > PAGE  # such a filter takes longer to send and to read than what is found
        while self._exists():
            page, offset = self._client.scroll(
                self._collection, self._retriever.visible(conditions), limit=IDS if heavy else PAGE, offset=offset, with_payload=not heavy
            )
            yield from map(_hit, self._records([record.id for record in page]) if heavy else page)
            if offset is None:
                return

    def _records(self, points: Sequence[models.ExtendedPointId]) -> Iterator[models.Record]:
        """What is stored of points, in their order, those left out that are gone by now."""
        for start in range(0, len(points), PAGE):
            part = points[start : start + PAGE]
            found = {record.id: record for record in self._client.retrieve(self._collection, part, with_payload=True)}
            yield from (found[point] for point in part if point in found)

    def count(self, filters: Filters = None) -> int:
        """How many meet `filters`."""
        if not self._exists():
            return 0
        return self._client.count(self._collection, count_filter=self._retriever.visible(build_filter(filters)), exact=True).count

    def delete(self, ids: str | Sequence[str]) -> None:
        """Delete passages by id; unknown ids, and those of chunks, are left alone."""
        points: list[models.ExtendedPointId] = [passage_point_id(passage_id) for passage_id in listed(ids)]
        if points:
            self._delete(models.PointIdsList(points=points))

    def delete_where(self, filters: Filters) -> None:
        """Delete every passage that meets `filters`. Chunks of ingested documents stay: `KnowledgeBase.delete` deletes those.

        Raises:
            ConfigurationError: without a filter, or with one of empty groups only. `clear` deletes all.
        """
        conditions = build_filter(filters)
        if conditions is None or restricts_nothing(conditions):
            raise ConfigurationError("delete_where needs a filter. To delete every passage: clear().")
        self._delete(models.FilterSelector(filter=models.Filter(must=[conditions], must_not=[NOT_A_PASSAGE])))

    def clear(self) -> None:
        """Delete every passage. Chunks of ingested documents stay."""
        self._delete(models.FilterSelector(filter=models.Filter(must_not=[NOT_A_PASSAGE])))

    def vectors(self, point_ids: Sequence[str]) -> dict[str, list[float]]:
        """The stored embeddings by `Hit.point_id`, as far as there are such points."""
        if not point_ids or not self._exists():
            return {}
        records = self._client.retrieve(self._collection, list(point_ids), with_payload=False, with_vectors=[DENSE])
        return {str(record.id): cast("dict[str, list[float]]", record.vector)[DENSE] for record in records}

    def search(self, query: str | None, **keywords: Unpack[SearchKeywords]) -> Hits:
        """Find passages and chunks, best first; keywords, result and errors as `Retriever.search`. Empty while there is no collection."""
        there = self._searchable(keywords.get("vector"))
        return self._retriever.search(query, **keywords) if there else self._retriever.nothing(query, **keywords)

    async def asearch(self, query: str | None, **keywords: Unpack[SearchKeywords]) -> Hits:
        """`search` without blocking the event loop; concurrent queries are embedded in shared batches."""
        there = await asyncio.to_thread(self._searchable, keywords.get("vector"))
        return await self._retriever.asearch(query, **keywords) if there else self._retriever.nothing(query, **keywords)

    def search_diverse(self, query: str | None, **keywords: Any) -> Hits:
        """Find passages and chunks that differ from each other; keywords as `Retriever.search_diverse`."""
        return self._retriever.search_diverse(query, **keywords) if self._searchable(keywords.get("vector")) else Hits()

    async def asearch_diverse(self, query: str | None, **keywords: Any) -> Hits:
        """`search_diverse` without blocking the event loop; concurrent queries are embedded in shared batches."""
        there = await asyncio.to_thread(self._searchable, keywords.get("vector"))
        return await self._retriever.asearch_diverse(query, **keywords) if there else Hits()

    @property
    def client(self) -> QdrantBase:
        """The Qdrant client that reaches the collection."""
        return self._client

    @property
    def collection(self) -> str:
        """The collection's name."""
        return self._collection

    @property
    def embedder_name(self) -> str:
        """The embedder's name, loaded or not."""
        return self._embedder_name()

    @property
    def instruction(self) -> str | None:
        """The task of queries that bring none of their own; None is the models' usual one."""
        return self._retriever.instruction

    def embedder(self) -> EmbedderLike:
        """The embedder, loaded on first use."""
        return self._embedder()

    def close(self) -> None:
        """Close what was opened by `open`. Safe to repeat."""
        self._resources.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _exists(self) -> bool:
        return self._client.collection_exists(self._collection)

    def _searchable(self, vector: Sequence[float] | None) -> bool:
        """Whether there is a collection; a vector that is given has to fit it.

        Raises:
            StoreError: there was a collection, and what was in it is lost.
            DimensionError: a vector of another width than the collection's.
        """
        there = self._exists()
        if not there:
            self._missing()
        if there and vector is not None and len(vector) != self._width:
            check_width(self._client, self._collection, vector)
            self._width = len(vector)
        return there

    def _ready(self) -> EmbedderLike:
        embedder = self._embedder()
        with self._preparing:
            if not self._prepared or not self._exists():
                self._prepare(embedder)
                self._prepared = True
        return embedder

    def _write(self, part: _Part, vectors: Vectors) -> None:
        dim = self._embedder().dim
        wrong = next((len(vector) for vector in vectors if len(vector) != dim), None)
        if wrong is not None:
            raise DimensionError(f"Vectors of {wrong} dimensions do not fit a collection of {dim}.")
        languages = [primary(passage.language) or detect(passage.text) for passage in part.passages]
        sparse = self._bm25.documents(part.texts, languages)
        points = [passage_point(*fields) for fields in zip(part.passages, languages, vectors, sparse, strict=True)]
        self._client.upsert(self._collection, points, wait=True)
        self._languages.forget()

    def _delete(self, selector: models.FilterSelector | models.PointIdsList) -> None:
        if self._exists():
            self._client.delete(self._collection, points_selector=selector, wait=True)
            self._languages.forget()


@dataclass(frozen=True, slots=True)
class _Part:
    """Passages written together, and their vectors where those are known. Of passages with the same id the last one counts."""

    passages: list[Passage]
    vectors: list[Sequence[float]] | None
    ids: list[str]

    @property
    def texts(self) -> list[str]:
        return [passage.embedding_text for passage in self.passages]


def _parts(passages: Iterable[Passage], vectors: Vectors | None) -> Iterator[_Part]:
    known: Iterable[Any] = itertools.repeat(None) if vectors is None else vectors
    pairs = zip(passages, known, strict=vectors is not None)
    while part := list(itertools.islice(pairs, PASSAGES_PER_REQUEST)):
        for passage, _ in part:
            check_passage(passage)
        ids = [passage.id for passage, _ in part]
        last = dict(zip(ids, part, strict=True)).values()
        yield _Part([passage for passage, _ in last], None if vectors is None else [vector for _, vector in last], ids)


def _of_document(document_id: str, passages: Iterable[Passage]) -> Iterator[Passage]:
    return (replace(passage, document_id=document_id) for passage in passages)


def _others(document_id: str, ids: Sequence[str]) -> models.FilterSelector:
    """Passages of a document that are not among `ids`."""
    kept: list[models.ExtendedPointId] = [passage_point_id(passage_id) for passage_id in ids]
    of_document = models.FieldCondition(key="document_id", match=models.MatchValue(value=document_id))
    return models.FilterSelector(filter=models.Filter(must=[of_document], must_not=[NOT_A_PASSAGE, models.HasIdCondition(has_id=kept)]))


def _hit(record: models.Record) -> Hit:
    return to_hit(record, score=0.0, stages={})


def _of_client(
    client: QdrantClient, embedder: EmbedderLike | str | None, reranker: RerankerLike | str | None, settings: Settings
) -> Passages:
    """Passages of a collection that no catalog goes with."""
    one_call_at_a_time(client)
    name = settings.collection
    binding = ModelBinding(ModelChoice.of(settings, embedder, reranker), lambda: held(client, name))
    languages = HeldLanguages(client, name)
    retriever = Retriever(
        client, name, binding.embedder, binding.reranker, settings.retrieval, languages=languages, instruction=settings.instruction
    )

    def prepare(embedder: EmbedderLike) -> None:
        ensure_collection(client, settings.store, embedder.space)
        binding.remember(Remembered(embedder.space, binding.reranker_name))

    passages = Passages(
        client,
        name,
        retriever,
        binding.embedder,
        languages=languages,
        prepare=prepare,
        embedder_name=lambda: binding.embedder_name,
    )
    passages._resources.callback(binding.close)
    return passages
