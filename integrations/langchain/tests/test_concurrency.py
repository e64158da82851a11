"""32 threads and 200 tasks search while documents are added, replaced and deleted: no error, no torn document, no blocked event loop."""

from __future__ import annotations

import asyncio
import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from qdrant_client import QdrantClient

from langchain_qwen3_rag import Qwen3Embeddings, Qwen3Retriever, Qwen3VectorStore
from qwen3_rag.store import EdgeClient, as_qdrant_client
from tests.fakes import HashEmbedder, OverlapReranker

THREADS, TASKS, KEYS = 32, 200, 40
STORE_CALLS = ("collection_exists", "query_batch_points", "retrieve", "upsert", "delete")


class Heartbeat:
    """Counts the turns of an event loop. Whoever waits for the next turns on the loop's own thread would wait for ever."""

    def __init__(self) -> None:
        self.count = 0
        self._turned = threading.Condition()

    async def beat(self) -> None:
        while True:
            with self._turned:
                self.count += 1
                self._turned.notify_all()
            await asyncio.sleep(0.001)

    def wait_for(self, turns: int) -> None:
        with self._turned:
            until = self.count + turns
            assert self._turned.wait_for(lambda: self.count >= until, timeout=30), "the event loop stood still during a call"


class WaitingEmbedder(HashEmbedder):
    """Takes two turns of the loop for each call."""

    def __init__(self, heartbeat: Heartbeat) -> None:
        super().__init__()
        self.heartbeat = heartbeat

    def _embed(self, *args: Any) -> Any:
        self.heartbeat.wait_for(2)
        return super()._embed(*args)


@pytest.fixture
def heartbeat() -> Heartbeat:
    return Heartbeat()


@pytest.fixture
def client(heartbeat: Heartbeat, tmp_path: Path) -> Iterator[QdrantClient]:
    """The embedded engine; each call takes a turn of the loop."""
    edge = EdgeClient(str(tmp_path / "store"))
    client = as_qdrant_client(edge)
    for name in STORE_CALLS:
        setattr(client, name, _after_a_turn(heartbeat, getattr(client, name)))
    yield client
    client.close()
    edge.close()


def _after_a_turn(heartbeat: Heartbeat, call: Any) -> Any:
    def waiting(*args: Any, **keywords: Any) -> Any:
        heartbeat.wait_for(1)
        return call(*args, **keywords)

    return waiting


def version(key: int, number: int) -> Document:
    text = f"key{key} version{number} common words"
    return Document(text, id=f"doc {key}", metadata={"key": key, "version": number, "copy": text})


def check(documents: list[Document]) -> int:
    for document in documents:
        key, number = document.metadata["key"], document.metadata["version"]
        assert document.id == f"doc {key}"
        assert document.page_content == document.metadata["copy"] == version(key, number).page_content
    assert len({document.id for document in documents}) == len(documents)
    return len(documents)


def in_a_thread(store: Qwen3VectorStore, number: int) -> int:
    """Every fourth thread writes and deletes, the others search."""
    dice, found = random.Random(number), 0
    for turn in range(6):
        key = dice.randrange(KEYS)
        if number % 4 == 0:
            store.add_documents([version(key, turn + 1), version((key + 1) % KEYS, turn + 1)])
            store.delete([f"doc {(key + 2) % KEYS}"])
        found += check(store.similarity_search(f"key{key} common", k=5, rerank=turn % 2 == 0))
        check(store.get_by_ids([f"doc {key}"]))
    return found


async def in_a_task(store: Qwen3VectorStore, retriever: Qwen3Retriever, number: int) -> int:
    key = number % KEYS
    if number % 10 == 0:
        await store.aadd_documents([version(key, number)])
    if number % 10 == 5:
        await store.adelete([f"doc {key}"])
    if number % 3 == 0:
        return check(await store.amax_marginal_relevance_search(f"key{key} common", k=3))
    documents = await retriever.ainvoke(f"key{key} common")
    for document in documents:
        assert 0 <= document.metadata["relevance_score"] <= 1
    return check(documents)


async def test_threads_and_tasks(heartbeat: Heartbeat, client: QdrantClient):
    beating = asyncio.create_task(heartbeat.beat())
    store = await Qwen3VectorStore.afrom_documents(
        [version(key, 0) for key in range(KEYS)],
        Qwen3Embeddings(embedder=WaitingEmbedder(heartbeat)),
        where=client,
        reranker=OverlapReranker(),
    )
    retriever = Qwen3Retriever(store=store, k=5)
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(THREADS) as threads:
        searching = [loop.run_in_executor(threads, in_a_thread, store, number) for number in range(THREADS)]
        tasks = [in_a_task(store, retriever, number) for number in range(TASKS)]
        found = await asyncio.gather(*searching, *tasks)
    assert len(found) == THREADS + TASKS
    assert sum(found) > THREADS + TASKS
    assert not beating.done()
    beating.cancel()
    store.close()
