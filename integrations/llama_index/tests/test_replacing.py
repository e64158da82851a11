"""Ingesting an updated document anew: LlamaIndex deletes it first, ours writes first. Another thread looks between all steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core.ingestion import DocstoreStrategy, IngestionPipeline
from llama_index.core.schema import BaseNode, Document, TextNode, TransformComponent
from llama_index.core.storage.docstore import SimpleDocumentStore
from llama_index.core.vector_stores.types import VectorStoreQuery
from llama_index.node_parser.qwen3_rag import Qwen3NodeParser
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore

from qwen3_rag.errors import ConfigurationError
from tests.fakes import HashEmbedder

OLD, NEW = "the old text of the page", "the new text of the page"


class Reader:
    """Looks into the store from another thread, and remembers which versions it found, in turn."""

    def __init__(self, store: Qwen3VectorStore) -> None:
        self.store = store
        self.found: list[frozenset[str]] = []
        self._thread = ThreadPoolExecutor(1)

    def look(self) -> None:
        self._thread.submit(self._look).result()

    def _look(self) -> None:
        result = self.store.query(VectorStoreQuery(query_str="text of the page", similarity_top_k=10))
        texts = {node.get_content() for node in result.nodes or []}
        assert set(result.ids or []) == {node.node_id for node in self.store.get_nodes()}
        self.found.append(frozenset(texts & {OLD, NEW}))


class Looking(TransformComponent):
    """The step of a pipeline at which the reader looks: after LlamaIndex has seen what changed, before it writes."""

    look: Callable[[], None]

    def __call__(self, nodes: Sequence[BaseNode], **_: Any) -> Sequence[BaseNode]:
        self.look()
        return nodes


def looked_at(store: Qwen3VectorStore, reader: Reader, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reader also looks before and after every write to Qdrant."""
    for name in ("upsert", "delete"):
        write = getattr(store.client, name)

        def around(*args: Any, _write: Any = write, **options: Any) -> Any:
            reader.look()
            result = _write(*args, **options)
            reader.look()
            return result

        monkeypatch.setattr(store.client, name, around)


def pipeline(store: Qwen3VectorStore, reader: Reader, **options: Any) -> IngestionPipeline:
    parser = Qwen3NodeParser(embedder=HashEmbedder())
    steps = [parser, Looking(look=reader.look), store.embed_model()]
    return IngestionPipeline(transformations=steps, vector_store=store, docstore=SimpleDocumentStore(), disable_cache=True, **options)


def page(text: str) -> Document:
    return Document(id_="page", text=text)


@pytest.fixture
def reader(store: Qwen3VectorStore) -> Reader:
    return Reader(store)


def test_the_stock_order_has_a_gap(store: Qwen3VectorStore, reader: Reader, monkeypatch: pytest.MonkeyPatch):
    ingestion = pipeline(store, reader)
    ingestion.run(documents=[page(OLD)])
    reader.found.clear()
    looked_at(store, reader, monkeypatch)
    ingestion.run(documents=[page(NEW)])
    assert reader.found == [{OLD}, frozenset(), frozenset(), frozenset(), {NEW}]


def test_ours_has_none(store: Qwen3VectorStore, reader: Reader, monkeypatch: pytest.MonkeyPatch):
    ingestion = pipeline(store, reader)
    with store.replacing():
        ingestion.run(documents=[page(OLD)])
    reader.found.clear()
    looked_at(store, reader, monkeypatch)
    with store.replacing():
        ingestion.run(documents=[page(NEW)])
    assert reader.found == [{OLD}, {OLD}, {OLD, NEW}, {OLD, NEW}, {NEW}]


async def test_nor_asynchronously(store: Qwen3VectorStore, reader: Reader, monkeypatch: pytest.MonkeyPatch):
    ingestion = pipeline(store, reader)
    async with store.replacing():
        await ingestion.arun(documents=[page(OLD)])
    reader.found.clear()
    looked_at(store, reader, monkeypatch)
    async with store.replacing():
        await ingestion.arun(documents=[page(NEW)])
    assert reader.found == [{OLD}, {OLD}, {OLD, NEW}, {OLD, NEW}, {NEW}]


async def test_nor_when_nodes_are_replaced_by_hand(store: Qwen3VectorStore, reader: Reader, monkeypatch: pytest.MonkeyPatch):
    parser = Qwen3NodeParser(embedder=HashEmbedder())
    store.replace_nodes("page", parser([page(OLD)]))
    looked_at(store, reader, monkeypatch)
    store.replace_nodes("page", parser([page(NEW)]))
    assert reader.found == [{OLD}, {OLD, NEW}, {OLD, NEW}, {NEW}]
    await store.areplace_nodes("page", parser([page(OLD)]))
    assert reader.found[4:] == [{NEW}, {OLD, NEW}, {OLD, NEW}, {OLD}]
    with pytest.raises(ConfigurationError, match="'page', not of 'other'"):
        store.replace_nodes("other", parser([page(NEW)]))
    store.replace_nodes("page", [])
    assert store.get_nodes() == []


def test_what_is_gone_goes_at_the_end(store: Qwen3VectorStore, reader: Reader):
    ingestion = pipeline(store, reader, docstore_strategy=DocstoreStrategy.UPSERTS_AND_DELETE)
    other = Document(id_="other", text="another page")
    with store.replacing():
        ingestion.run(documents=[page(OLD), other])
        ingestion.run(documents=[other])
        assert {node.ref_doc_id for node in store.get_nodes()} == {"page", "other"}
    assert {node.ref_doc_id for node in store.get_nodes()} == {"other"}


def test_an_error_deletes_nothing_and_the_next_run_mends(store: Qwen3VectorStore, reader: Reader):
    ingestion = pipeline(store, reader)
    with store.replacing():
        ingestion.run(documents=[page(OLD)])
    broken = IngestionPipeline(
        transformations=[Looking(look=lambda: 1 // 0)], vector_store=store, docstore=ingestion.docstore, disable_cache=True
    )
    with pytest.raises(ZeroDivisionError), store.replacing():
        broken.run(documents=[page(NEW)])
    assert [node.get_content() for node in store.get_nodes()] == [OLD]
    with store.replacing():
        ingestion.run(documents=[page(NEW)])
    assert [node.get_content() for node in store.get_nodes()] == [NEW]


async def test_others_delete_as_ever(store: Qwen3VectorStore):
    """What is under way is the caller's own: another task's deletion is done at once."""
    store.add([TextNode(id_=name, text="t") for name in "abc"])
    inside, deleted = asyncio.Event(), asyncio.Event()

    async def replace() -> None:
        async with store.replacing():
            inside.set()
            await store.adelete("a")
            await deleted.wait()
            assert {node.node_id for node in store.get_nodes()} == {"a", "c"}

    async def delete() -> None:
        await inside.wait()
        await store.adelete("b")
        deleted.set()

    await asyncio.gather(replace(), delete())
    assert {node.node_id for node in store.get_nodes()} == {"c"}


async def test_nodes_replaced_by_hand_inside_stay(store: Qwen3VectorStore):
    parser = Qwen3NodeParser(embedder=HashEmbedder())
    store.add(parser([page(OLD)]))
    with store.replacing():
        store.delete("page")
        store.replace_nodes("page", [TextNode(id_="by hand", text=NEW)])
    assert [node.node_id for node in store.get_nodes()] == ["by hand"]
    async with store.replacing():
        await store.adelete("page")
        await store.areplace_nodes("page", [TextNode(id_="again", text=NEW)])
    assert [node.node_id for node in store.get_nodes()] == ["again"]


def test_one_inside_another_is_refused(store: Qwen3VectorStore):
    store.add([TextNode(id_="a", text="t")])
    with pytest.raises(ConfigurationError, match="under way already"), store.replacing(), store.replacing():
        pass
    store.delete("a")
    assert store.get_nodes() == []


async def test_a_task_that_outlives_it_deletes_as_ever(store: Qwen3VectorStore):
    store.add([TextNode(id_="a", text="t")])
    ended = asyncio.Event()

    async def delete() -> None:
        await ended.wait()
        await store.adelete("a")

    async with store.replacing():
        task = asyncio.create_task(delete())
    ended.set()
    await task
    assert store.get_nodes() == []


def test_two_stores_do_not_mix(store: Qwen3VectorStore):
    with Qwen3VectorStore(":memory:", embedder=HashEmbedder(), reranker="off") as other:
        for each in (store, other):
            each.add([TextNode(id_="a", text="t")])
        with store.replacing():
            other.delete("a")
            store.delete("a")
            assert (len(store.get_nodes()), len(other.get_nodes())) == (1, 0)
            with other.replacing():
                store.add([TextNode(id_="a", text="again")])
        assert [node.get_content() for node in store.get_nodes()] == ["again"]
