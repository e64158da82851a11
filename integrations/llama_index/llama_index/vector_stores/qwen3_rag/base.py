"""`Qwen3VectorStore`: LlamaIndex's vector store on `qwen3_rag.Passages`. How nodes, filters and queries translate is in its neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Self, TypeVar, cast

from llama_index.core.bridge.pydantic import PrivateAttr
from llama_index.core.schema import BaseNode, MetadataMode
from llama_index.core.vector_stores.types import BasePydanticVectorStore, MetadataFilters, VectorStoreQuery, VectorStoreQueryResult
from llama_index.embeddings.qwen3_rag import Qwen3Embedding
from llama_index.vector_stores.qwen3_rag.filters import all_of, build_metadata_filter, of_documents, of_nodes
from llama_index.vector_stores.qwen3_rag.nodes import to_node, to_passage
from llama_index.vector_stores.qwen3_rag.queries import Plan, plan
from llama_index.vector_stores.qwen3_rag.replacement import Replacement, Replacing, under_way
from llama_index.vector_stores.qwen3_rag.substrings import points_holding
from llama_index.vector_stores.qwen3_rag.threads import asynchronous
from qdrant_client import AsyncQdrantClient, QdrantClient, models

from qwen3_rag.checks import listed
from qwen3_rag.errors import ConfigurationError
from qwen3_rag.knowledge_base import KnowledgeBase
from qwen3_rag.models.base import EmbedderLike, RerankerLike, embed_documents_async
from qwen3_rag.passages import PAGE, Passages
from qwen3_rag.settings import Settings
from qwen3_rag.types import Hit, Hits, Passage

Place = str | Path | QdrantClient | KnowledgeBase | Passages
"""Where nodes are kept: a folder, `":memory:"`, a client, an open knowledge base, or its passages."""

T = TypeVar("T")


class Qwen3VectorStore(BasePydanticVectorStore):
    """Nodes in a Qdrant collection of the core's schema, beside ingested documents and what other frameworks put there.

    Modes: default, sparse, text_search, hybrid, semantic_hybrid (which needs a reranker) and mmr. All filter operators, nested. Ids are any
    text. Deleting and clearing leave the chunks of ingested documents to their knowledge base.

    Example:
        >>> store = Qwen3VectorStore("kb", embedder="nano")  # doctest: +SKIP
        >>> index = VectorStoreIndex.from_vector_store(store, embed_model=store.embed_model())  # doctest: +SKIP
    """

    stores_text: bool = True
    is_embedding_query: bool = True
    flat_metadata: bool = False

    _passages: Passages = PrivateAttr()
    _owned: bool = PrivateAttr(default=True)

    def __init__(
        self,
        where: Place | None = None,
        *,
        embedder: EmbedderLike | str | None = None,
        reranker: RerankerLike | str | None = None,
        collection: str | None = None,
        settings: Settings | None = None,
    ) -> None:
        """Open a collection; models and settings as `qwen3_rag.Passages.open`, which also says what it raises.

        Args:
            where: a folder, `":memory:"`, a `QdrantClient`, an open `KnowledgeBase` or `Passages`; None takes the folder from `settings`.
            embedder: an object or a model name. Only needed when the collection is new; it remembers.
            reranker: an object, a model name, or `"off"`.
            collection: its name; None takes it from `settings`.
            settings: anything beyond the defaults; None reads the environment and `qwen3-rag.toml`.
        """
        super().__init__(stores_text=True)
        if collection is not None:
            settings = (settings or Settings.load()).model_copy(update={"collection": collection})
        self._owned = not isinstance(where, Passages)
        if isinstance(where, Passages):
            if embedder is not None or reranker is not None or settings is not None:
                raise ConfigurationError("Open passages have their models and settings. Give them to Passages.open instead.")
            self._passages = where
        else:
            self._passages = Passages.open(where, embedder=embedder, reranker=reranker, settings=settings)

    @classmethod
    def class_name(cls) -> str:
        """The name in serialised form."""
        return "Qwen3VectorStore"

    @property
    def passages(self) -> Passages:
        """The core's view of the collection."""
        return self._passages

    @property
    def client(self) -> QdrantClient:
        """The Qdrant client."""
        return cast("QdrantClient", self._passages.client)

    @property
    def aclient(self) -> AsyncQdrantClient:
        """An asynchronous client of the same collections, whose calls run in threads."""
        return asynchronous(self.client)

    def embed_model(self, **options: Any) -> Qwen3Embedding:
        """The embedding model of this collection, for an index over it: the same weights, loaded once, and its settings' instruction.

        `options` as `Qwen3Embedding`.
        """
        return Qwen3Embedding(embedder=self._passages.embedder(), **{"instruction": self._passages.instruction, **options})

    def add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """Write nodes; one with the id of an earlier one replaces it. Those without an embedding are embedded here.

        Returns:
            Their ids, in order.

        Raises:
            DimensionError: an embedding of another width than the collection's.
            ConfigurationError: a node that cannot be stored.
        """
        _refuse(kwargs)
        self._passages.put(_as_passages(nodes), self._vectors(nodes))
        return self._written(nodes)

    async def async_add(self, nodes: Sequence[BaseNode], **kwargs: Any) -> list[str]:
        """`add` without blocking the event loop; concurrent calls are embedded in shared batches."""
        _refuse(kwargs)
        await self._passages.aput(await asyncio.to_thread(_as_passages, nodes), await self._avectors(nodes))
        return self._written(nodes)

    def replace_nodes(self, ref_doc_id: str, nodes: Sequence[BaseNode]) -> list[str]:
        """Make `nodes` all there is of a document: they are written first, then its other nodes are deleted.

        At any moment the old or the new version can be found.

        Raises:
            ConfigurationError: a node of another document.
        """
        _check_source(ref_doc_id, nodes)
        self._passages.replace(ref_doc_id, _as_passages(nodes), self._vectors(nodes))
        return self._written(nodes, ref_doc_id)

    async def areplace_nodes(self, ref_doc_id: str, nodes: Sequence[BaseNode]) -> list[str]:
        """`replace_nodes` without blocking the event loop."""
        _check_source(ref_doc_id, nodes)
        await self._passages.areplace(ref_doc_id, await asyncio.to_thread(_as_passages, nodes), await self._avectors(nodes))
        return self._written(nodes, ref_doc_id)

    def replacing(self) -> Replacing:
        """Put an `IngestionPipeline` run, or anything else that deletes before it adds, into the core's write order.

        Inside, nodes are written at once, and those added are all there is of their documents: `delete` waits until the end, where what
        a document had before goes. If an error ends it, nothing is deleted: the next run inside `replacing` mends what has changed, but
        documents that were to go for good have to be deleted again, since the pipeline's docstore has forgotten them.

        Example:
            >>> with store.replacing():  # doctest: +SKIP
            ...     pipeline.run(documents=documents)
            >>> async with store.replacing():  # doctest: +SKIP
            ...     await pipeline.arun(documents=documents)
        """
        return Replacing(self, self._settle)

    def get_nodes(self, node_ids: str | list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """All nodes of these ids that meet `filters`, with their embeddings; without a limit. None asks for any id.

        Those asked for by id come in that order, all others in the order of their points.
        """
        node_ids = None if node_ids is None else listed(node_ids)
        if node_ids is None:
            return list(self._nodes(self._passages.select(self.filter(filters))))
        if filters is None or not filters.filters:
            return list(self._nodes(self._passages.get(node_ids)))
        met = all_of(of_nodes(node_ids), self.filter(filters))
        found = {node.node_id: node for node in self._nodes(self._passages.select(met))} if node_ids else {}
        return [found[node_id] for node_id in dict.fromkeys(node_ids) if node_id in found]

    async def aget_nodes(self, node_ids: str | list[str] | None = None, filters: MetadataFilters | None = None) -> list[BaseNode]:
        """`get_nodes` without blocking the event loop."""
        return await asyncio.to_thread(self.get_nodes, node_ids, filters)

    def delete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """Delete all nodes of a source document; a node without a source is its own."""
        _refuse(delete_kwargs)
        replacement = under_way(self)
        if replacement is not None:
            replacement.deleted(ref_doc_id)
        else:
            self._passages.delete_where({"document_id": ref_doc_id})

    async def adelete(self, ref_doc_id: str, **delete_kwargs: Any) -> None:
        """`delete` without blocking the event loop."""
        await asyncio.to_thread(self.delete, ref_doc_id, **delete_kwargs)

    def delete_nodes(self, node_ids: str | list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any) -> None:
        """Delete nodes that have one of these ids, if there are any given, and meet `filters`, if there are.

        Raises:
            ConfigurationError: neither is given. `clear` deletes all.
        """
        _refuse(delete_kwargs)
        node_ids = None if node_ids is None else listed(node_ids)
        conditions = self.filter(filters)
        if node_ids is None and conditions is None:
            raise ConfigurationError("delete_nodes needs node ids or filters. To delete every node: clear().")
        if node_ids is None or conditions is not None:
            self._passages.delete_where(all_of(None if node_ids is None else of_nodes(node_ids), conditions))
        else:
            self._passages.delete(node_ids)

    async def adelete_nodes(
        self, node_ids: str | list[str] | None = None, filters: MetadataFilters | None = None, **delete_kwargs: Any
    ) -> None:
        """`delete_nodes` without blocking the event loop."""
        await asyncio.to_thread(self.delete_nodes, node_ids, filters, **delete_kwargs)

    def clear(self) -> None:
        """Delete every node, also what other frameworks put there. Chunks of ingested documents stay."""
        self._passages.clear()

    async def aclear(self) -> None:
        """`clear` without blocking the event loop."""
        await asyncio.to_thread(self.clear)

    def query(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """Find nodes, best first.

        `hybrid` weighs the rankers by `alpha`: 0 is BM25 alone, 1 the vectors alone, None as the settings say. `semantic_hybrid` reranks
        what hybrid finds. `mmr` takes `mmr_threshold`: 1 is relevance alone, 0 the most diverse. Without `query_embedding` the words are
        embedded here.

        Args:
            query: what to find.
            kwargs: `instruction`, `candidates`, `fusion`, `rrf_k`, `recall_threshold`, `rerank`, `mmr_threshold`, as in `Passages.search`,
                and where there is reranking `rerank_weight`, `rerank_threshold`, `rerank_deadline`; `qdrant_filters`, a Qdrant filter in
                place of the query's own.

        Raises:
            ConfigurationError: a mode or keyword that is not known, a keyword that means nothing in the mode, or words missing that the
                mode needs.
            FilterError: a filter that cannot be expressed.
        """
        asked = self._plan(query, kwargs)
        search = self._passages.search_diverse if asked.diverse else self._passages.search
        return _result(search(asked.words, **asked.keywords))

    async def aquery(self, query: VectorStoreQuery, **kwargs: Any) -> VectorStoreQueryResult:
        """`query` without blocking the event loop; concurrent queries are embedded in shared batches."""
        asked = await asyncio.to_thread(self._plan, query, kwargs)
        search = self._passages.asearch_diverse if asked.diverse else self._passages.asearch
        return _result(await search(asked.words, **asked.keywords))

    def filter(self, filters: MetadataFilters | None) -> models.Filter | None:
        """The Qdrant filter that LlamaIndex's metadata filters mean in this collection now; None restricts nothing.

        Raises:
            FilterError: naming the key, for a value that its operator cannot be asked about.
        """
        return build_metadata_filter(filters, lambda path, text: points_holding(self._passages, path, text))

    def close(self) -> None:
        """Close what was opened here. Safe to repeat."""
        if self._owned:
            self._passages.close()

    def __reduce__(self) -> tuple[Any, ...]:
        """Not pickled: LlamaIndex's own way would take the open connection or model out of this object."""
        raise TypeError("An open vector store stays in its process. Open it again in the other one.")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _plan(self, query: VectorStoreQuery, kwargs: dict[str, Any]) -> Plan:
        others = dict(kwargs)
        replaced = others.pop("qdrant_filters", None)
        return plan(query, replaced if replaced is not None else self._asked(query), others)

    def _asked(self, query: VectorStoreQuery) -> models.Filter | None:
        """What a query's filters and ids mean. LlamaIndex gives no ids as an empty list."""
        documents = of_documents(query.doc_ids) if query.doc_ids else None
        return all_of(documents, of_nodes(query.node_ids) if query.node_ids else None, self.filter(query.filters))

    def _nodes(self, hits: Sequence[Hit] | Iterator[Hit]) -> Iterator[BaseNode]:
        """Nodes with their embeddings, page by page."""
        for page in _pages(hits):
            vectors = self._passages.vectors([hit.point_id for hit in page])
            for hit in page:
                node = to_node(hit)
                node.embedding = vectors.get(hit.point_id)
                yield node

    def _vectors(self, nodes: Sequence[BaseNode]) -> list[list[float]] | None:
        """The nodes' embeddings where one has one; those of the others are computed. None where the core shall embed all."""
        return _merged(nodes, lambda texts: self._passages.embedder().embed_documents(texts).tolist())

    async def _avectors(self, nodes: Sequence[BaseNode]) -> list[list[float]] | None:
        missing = await asyncio.to_thread(_missing, nodes)
        if len(missing) in (0, len(nodes)):
            return _merged(nodes, lambda _: [])
        embedder = await asyncio.to_thread(self._passages.embedder)
        computed = (await embed_documents_async(embedder, missing)).tolist()
        return _merged(nodes, lambda _: computed)

    def _written(self, nodes: Sequence[BaseNode], document_id: str | None = None) -> list[str]:
        """The nodes' ids, noted where they are to replace what their documents had before."""
        replacement = under_way(self)
        if replacement is not None:
            for node in nodes:
                replacement.written(document_id or node.ref_doc_id or node.node_id, node.node_id)
        return [node.node_id for node in nodes]

    def _settle(self, replacement: Replacement) -> None:
        """Delete what the documents had before."""
        for document_id, kept in replacement.nodes.items():
            stale = models.Filter(must=[of_documents([document_id])], must_not=[of_nodes(sorted(kept))])
            self._passages.delete_where(stale)


def _as_passages(nodes: Sequence[BaseNode]) -> list[Passage]:
    return [to_passage(node) for node in nodes]


def _missing(nodes: Sequence[BaseNode]) -> list[str]:
    return [node.get_content(metadata_mode=MetadataMode.EMBED) for node in nodes if node.embedding is None]


def _merged(nodes: Sequence[BaseNode], embed: Callable[[list[str]], list[list[float]]]) -> list[list[float]] | None:
    missing = _missing(nodes)
    if len(missing) == len(nodes):
        return None
    computed = iter(embed(missing) if missing else [])
    return [node.embedding if node.embedding is not None else next(computed) for node in nodes]


def _pages(hits: Sequence[Hit] | Iterator[Hit]) -> Iterator[list[Hit]]:
    page: list[Hit] = []
    for hit in hits:
        page.append(hit)
        if len(page) == PAGE:
            yield page
            page = []
    yield page


def _result(hits: Hits) -> VectorStoreQueryResult:
    nodes = [to_node(hit) for hit in hits]
    return VectorStoreQueryResult(nodes=nodes, similarities=[hit.score for hit in hits], ids=[node.node_id for node in nodes])


def _check_source(ref_doc_id: str, nodes: Sequence[BaseNode]) -> None:
    for node in nodes:
        if node.ref_doc_id not in (None, ref_doc_id):
            raise ConfigurationError(f"Node {node.node_id!r} is of document {node.ref_doc_id!r}, not of {ref_doc_id!r}, which is replaced.")


def _refuse(kwargs: dict[str, Any]) -> None:
    if kwargs:
        raise ConfigurationError(f"Qwen3VectorStore does not take {', '.join(sorted(kwargs))} here. Leave it away.")
