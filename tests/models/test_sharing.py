"""Tasks share the model: results are those of serial calls, cancelled ones cost nothing, the event loop stays free."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import numpy as np
import pytest

from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.packing import Item
from qwen3_rag.models.query_cache import QueryCache
from qwen3_rag.models.reranker import Reranker
from tests.models.tiny_qwen3 import make_checkpoint

TOLERANCE = 1e-5


class Watch:
    """Counts the batches and the sequences that a model computes. The first batch is held until `callers` have called."""

    def __init__(self, model: Embedder | Reranker, callers: int = 1) -> None:
        inference = model._loaded.inference
        self.batches: list[int] = []
        compute, until = inference._compute, time.monotonic() + 20

        def counted(items: list[Item]) -> np.ndarray:
            while not self.batches and len(inference._jobs) + len(items) < callers and time.monotonic() < until:
                time.sleep(0.001)
            self.batches.append(len(items))
            return compute(items)

        inference._compute = counted  # type: ignore[method-assign,assignment]


@pytest.fixture
def embedder(tiny: Path) -> Embedder:
    return Embedder.load(str(tiny), device="cpu")


@pytest.fixture
def reranker(tiny: Path) -> Reranker:
    return Reranker.load(str(tiny), device="cpu")


async def test_many_tasks_share_batches_and_get_what_serial_calls_get(embedder: Embedder, tiny: Path) -> None:
    queries = [f"how are the keys of ward {number} rotated?" for number in range(64)]
    serial = Embedder.load(str(tiny), device="cpu")
    expected = np.concatenate([serial.embed_queries([query]) for query in queries])
    watch = Watch(embedder, callers=64)
    together = await asyncio.gather(*(embedder.aembed_queries([query]) for query in queries))
    np.testing.assert_allclose(np.concatenate(together), expected, atol=TOLERANCE)
    assert sum(watch.batches) == 64
    assert len(watch.batches) < 16


async def test_documents_and_queries_share_batches_and_never_mix(embedder: Embedder) -> None:
    pairs = await asyncio.gather(*(f([f"keys {n}"]) for n in range(20) for f in (embedder.aembed_queries, embedder.aembed_documents)))
    documents = [embedder.embed_documents([f"keys {number}"]) for number in range(20)]
    queries = [embedder.embed_queries([f"keys {number}"]) for number in range(20)]
    np.testing.assert_allclose(np.concatenate(pairs[0::2]), np.concatenate(queries), atol=TOLERANCE)
    np.testing.assert_allclose(np.concatenate(pairs[1::2]), np.concatenate(documents), atol=TOLERANCE)


async def test_cancelled_tasks_cost_nothing(embedder: Embedder) -> None:
    watch = Watch(embedder, callers=100)
    tasks = [asyncio.ensure_future(embedder.aembed_documents([f"text {number} " * 50])) for number in range(100)]
    await asyncio.sleep(0)
    for task in tasks[1::2]:
        task.cancel()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results[1::2])
    assert all(isinstance(result, np.ndarray) for result in results[0::2])
    assert sum(watch.batches) < 75


async def test_the_event_loop_stays_free(embedder: Embedder) -> None:
    beats = 0

    async def beat() -> None:
        nonlocal beats
        while True:
            await asyncio.sleep(0.001)
            beats += 1

    heart = asyncio.ensure_future(beat())
    await embedder.aembed_documents([f"text {number} " * 60 for number in range(200)])
    heart.cancel()
    assert beats >= 5


async def test_reranking_tasks_share_batches(reranker: Reranker) -> None:
    documents = [[f"text {number} {place}" for place in range(3)] for number in range(12)]
    expected = [reranker.score(f"query {number}", texts) for number, texts in enumerate(documents)]
    watch = Watch(reranker, callers=12)
    together = await asyncio.gather(*(reranker.ascore(f"query {number}", texts) for number, texts in enumerate(documents)))
    np.testing.assert_allclose(np.stack(together), np.stack(expected), atol=TOLERANCE)
    assert sum(watch.batches) == 36
    assert len(watch.batches) < 12


def test_several_queries_share_one_batch(reranker: Reranker) -> None:
    requests = [("keys?", ["locks", "doors " * 30]), ("night shift?", []), ("when?", ["at noon", "locks", "locks"])]
    expected = [reranker.score(query, documents) for query, documents in requests]
    watch = Watch(reranker)
    found = reranker.score_many(requests)
    assert len(watch.batches) == 1
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=TOLERANCE)
        assert one.truncated is not None
        assert len(one.truncated) == len(one)


def test_a_deadline_leaves_the_last_unscored(reranker: Reranker) -> None:
    documents = [f"text {number} " * 60 for number in range(400)]
    reranker.score("keys", documents[:8])
    began = time.monotonic()
    scores = reranker.score("keys", documents, deadline=0.05)
    assert time.monotonic() - began < 2
    scored = int(np.isfinite(scores).sum())
    assert scored < 400
    assert np.isnan(scores[scored:]).all()
    if scored:
        np.testing.assert_allclose(scores[:scored], reranker.score("keys", documents[:scored]), atol=TOLERANCE)


def test_a_query_asked_again_is_not_computed(embedder: Embedder) -> None:
    watch = Watch(embedder)
    first = embedder.embed_queries(["keys", "locks"])
    again = embedder.embed_queries(["locks", "keys", "doors"])
    assert sum(watch.batches) == 3
    np.testing.assert_array_equal(again[:2], first[::-1])
    assert again.truncated is not None
    assert len(again.truncated) == 3


def test_the_cache_keeps_instruction_dim_and_role_apart(embedder: Embedder) -> None:
    watch = Watch(embedder)
    embedder.embed_queries(["keys"])
    embedder.embed_queries(["keys"], "Find the shift")
    embedder.embed_queries(["keys"], dim=32)
    embedder.embed_documents(["keys"])
    assert sum(watch.batches) == 4


def test_what_a_caller_does_to_its_vectors_does_not_reach_the_cache(embedder: Embedder) -> None:
    first = embedder.embed_queries(["keys"])
    kept = first.copy()
    first[:] = 0
    np.testing.assert_array_equal(embedder.embed_queries(["keys"]), kept)


def test_the_least_recently_used_query_is_forgotten() -> None:
    cache = QueryCache(2)
    for text in ("a", "b"):
        cache.put((None, 2, text), np.ones(2, dtype=np.float32), truncated=False)
    assert cache.get((None, 2, "a")) is not None
    cache.put((None, 2, "c"), np.ones(2, dtype=np.float32), truncated=True)
    assert cache.get((None, 2, "b")) is None
    assert cache.get((None, 2, "a")) is not None
    held = cache.get((None, 2, "c"))
    assert held is not None
    assert held.truncated


def test_memory_that_runs_out_costs_nothing_but_time(tmp_path: Path) -> None:
    embedder = Embedder.load(str(make_checkpoint(tmp_path)), device="cpu")
    texts = [f"text {number} " * 20 for number in range(40)]
    expected = embedder.embed_documents(texts)
    inference = embedder._loaded.inference
    forward = inference._forward

    def small(items: list[Item]) -> object:
        if sum(len(item.ids) for item in items) > 400:
            raise RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory")
        return forward(items)

    inference._forward = small  # type: ignore[assignment]
    np.testing.assert_allclose(embedder.embed_documents(texts), expected, atol=TOLERANCE)
    assert inference.budget.tokens <= 400
