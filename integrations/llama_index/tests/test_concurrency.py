"""32 threads and 200 tasks search while documents come, change and go: no error, no torn node, and an event loop that goes on."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from llama_index.core.schema import BaseNode, NodeRelationship, NodeWithScore, RelatedNodeInfo, TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.retrievers.qwen3_rag import Qwen3Retriever
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore

THREADS, TASKS = 32, 200
STABLE = [f"stable {number}" for number in range(5)]
QUERIES = [*STABLE, "document version part", "version 3", "part 2 of document 1"]
MODES = (VectorStoreQueryMode.DEFAULT, VectorStoreQueryMode.HYBRID, VectorStoreQueryMode.SPARSE, VectorStoreQueryMode.MMR)


def document(number: int, version: int) -> list[BaseNode]:
    return [
        TextNode(
            id_=f"{number}-{part}",
            text=f"document {number} version {version} part {part}",
            metadata={"number": number, "version": version, "part": part},
            excluded_embed_metadata_keys=["number", "version", "part"],
            relationships={NodeRelationship.SOURCE: RelatedNodeInfo(node_id=f"document {number}")},
        )
        for part in range(3)
    ]


def check(nodes: Sequence[BaseNode]) -> None:
    """Each node is one of those that were written, whole."""
    for node in nodes:
        if node.node_id not in STABLE:
            written = document(node.metadata["number"], node.metadata["version"])[node.metadata["part"]]
            assert node.model_copy(update={"embedding": None, "metadata": _without_scores(node)}).get_content() == written.get_content()
            assert (node.node_id, node.ref_doc_id, _without_scores(node)) == (written.node_id, written.ref_doc_id, written.metadata)


def _without_scores(node: BaseNode) -> dict[str, Any]:
    return {name: value for name, value in node.metadata.items() if not name.endswith("_score")}


def _bare(found: list[NodeWithScore]) -> list[BaseNode]:
    return [each.node for each in found]


@pytest.fixture
def busy(store: Qwen3VectorStore) -> Qwen3VectorStore:
    store.add([TextNode(id_=text, text=text) for text in STABLE])
    for number in range(4):
        store.add(document(number, 0))
    return store


def test_threads(busy: Qwen3VectorStore):
    searching = threading.Event()

    def write() -> None:
        for version in itertools.count(1):
            if searching.is_set():
                return
            busy.replace_nodes(f"document {version % 4}", document(version % 4, version))
            busy.delete(f"document {(version + 2) % 4}")
            busy.add(document((version + 2) % 4, version))

    def search(number: int) -> int:
        retriever = Qwen3Retriever(busy, top_k=6)
        for turn in range(6):
            words = QUERIES[(number + turn) % len(QUERIES)]
            found = busy.query(VectorStoreQuery(query_str=words, mode=MODES[turn % len(MODES)], similarity_top_k=6)).nodes or []
            check(found)
            check(_bare(retriever.retrieve(words)))
            if words in STABLE:
                assert found[0].node_id == words
        check(busy.get_nodes())
        return number

    writer = threading.Thread(target=write)
    writer.start()
    with ThreadPoolExecutor(THREADS) as pool:
        assert list(pool.map(search, range(THREADS))) == list(range(THREADS))
    searching.set()
    writer.join()


class Heart:
    """Beats once a turn of the event loop. A call that runs elsewhere can wait for beats; one that runs on the loop waits in vain."""

    def __init__(self) -> None:
        self.beats = 0
        self._changed = threading.Condition()

    async def beat(self) -> None:
        while True:
            with self._changed:
                self.beats += 1
                self._changed.notify_all()
            await asyncio.sleep(0)

    def await_beats(self, count: int) -> None:
        with self._changed:
            until = self.beats + count
            assert self._changed.wait_for(lambda: self.beats >= until, timeout=60), "the event loop stood still"


def beating_within(store: Qwen3VectorStore, heart: Heart, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Every request to the store lasts at least three beats; the list has one entry for each."""
    gaps: list[int] = []

    def slow(call: Callable[..., Any]) -> Callable[..., Any]:
        def lasting(*args: Any, **options: Any) -> Any:
            before = heart.beats
            heart.await_beats(3)
            result = call(*args, **options)
            gaps.append(heart.beats - before)
            return result

        return lasting

    for name in ("query_batch_points", "retrieve", "scroll", "upsert", "delete", "collection_exists"):
        monkeypatch.setattr(store.client, name, slow(getattr(store.client, name)))
    return gaps


async def test_tasks(busy: Qwen3VectorStore, monkeypatch: pytest.MonkeyPatch):
    heart = Heart()
    gaps = beating_within(busy, heart, monkeypatch)
    beating = asyncio.create_task(heart.beat())
    done = 0

    async def write(number: int) -> None:
        version = 0
        while done < TASKS:
            version += 1
            await busy.areplace_nodes(f"document {number}", document(number, version))
            await busy.adelete(f"document {number}")
            await busy.async_add(document(number, version + 1))

    async def search(number: int) -> None:
        nonlocal done
        words = QUERIES[number % len(QUERIES)]
        query = VectorStoreQuery(query_str=words, mode=MODES[number % len(MODES)], similarity_top_k=6)
        found = (await busy.aquery(query)).nodes or []
        check(found)
        check(_bare(await Qwen3Retriever(busy, top_k=6).aretrieve(words)))
        if words in STABLE:
            assert found[0].node_id == words
        done += 1

    await asyncio.gather(*(search(number) for number in range(TASKS)), *(write(number) for number in range(4)))
    check(await busy.aget_nodes())
    beating.cancel()
    assert done == TASKS
    assert len(gaps) > 4 * TASKS
    assert min(gaps) >= 3
