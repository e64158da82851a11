"""The embedding model: roles kept apart, spaces told apart, batches as asked for, the event loop free."""

from __future__ import annotations

import asyncio
import copy
import pickle
from typing import Any

import numpy as np
import pytest
from llama_index.core.ingestion import IngestionPipeline
from llama_index.core.ingestion.pipeline import get_transformation_hash
from llama_index.core.instrumentation.events.embedding import EmbeddingEndEvent
from llama_index.core.schema import TextNode
from llama_index.core.storage.kvstore import SimpleKVStore
from llama_index.embeddings.qwen3_rag import Qwen3Embedding

from qwen3_rag import Embedder
from qwen3_rag.errors import ConfigurationError, DimensionError, EmbeddingSpaceError
from qwen3_rag.models.base import ResultArray
from tests.fakes import HashEmbedder


class Recording(HashEmbedder):
    """Tells queries from documents, and remembers the calls."""

    def __init__(self, dim: int = 64, **options: Any) -> None:
        super().__init__(dim, **options)
        self.calls: list[tuple[str, list[str], str | None, int | None]] = []

    def embed_queries(self, texts: Any, instruction: str | None = None, dim: int | None = None) -> ResultArray:
        self.calls.append(("query", list(texts), instruction, dim))
        return super().embed_queries([f"{instruction} {text}" for text in texts], None, dim)

    def embed_documents(self, texts: Any, dim: int | None = None) -> ResultArray:
        self.calls.append(("document", list(texts), None, dim))
        return super().embed_documents(texts, dim)


def test_nano_is_the_cores(nano: Embedder):
    model = Qwen3Embedding("nano", dim=128, instruction="Find the page", dtype="float32")
    assert model.get_query_embedding("keys") == pytest.approx(nano.embed_queries(["keys"], "Find the page", 128)[0].tolist(), abs=1e-6)
    assert model.get_text_embedding("keys") == pytest.approx(nano.embed_documents(["keys"], 128)[0].tolist(), abs=1e-6)
    assert np.linalg.norm(model.get_text_embedding("keys")) == pytest.approx(1)
    facts = model.to_dict()
    assert (facts["model_name"], facts["dim"], facts["instruction"], facts["class_name"]) == (
        "nano",
        128,
        "Find the page",
        "Qwen3Embedding",
    )
    assert (facts["revision"], facts["max_length"]) == (nano.space.revision, nano.max_tokens)
    assert model.embedder.dim == 320


async def test_sync_and_async_agree():
    model = Qwen3Embedding(embedder=Recording(), instruction="Find")
    texts = [f"text {number}" for number in range(150)]
    assert await model.aget_query_embedding("q") == model.get_query_embedding("q")
    assert await model.aget_text_embedding("t") == model.get_text_embedding("t")
    assert await model.aget_text_embedding_batch(texts) == model.get_text_embedding_batch(texts)
    [node] = await model.acall([TextNode(text="t")])
    assert node.embedding == model.get_text_embedding("t")


async def test_batch_size_is_honoured():
    embedder = Recording()
    model = Qwen3Embedding(embedder=embedder, embed_batch_size=7)
    model.get_text_embedding_batch(["t"] * 20)
    await model.aget_text_embedding_batch(["t"] * 20)
    assert [len(texts) for _, texts, _, _ in embedder.calls] == [7, 7, 6] * 2


async def test_more_batches_than_may_wait_for_the_model(nano: Embedder):
    model = Qwen3Embedding(embedder=nano, embed_batch_size=1)
    assert len(await model.aget_text_embedding_batch(["word"] * 1100)) == 1100


async def test_the_event_loop_is_free():
    """While the embedder is held up, the loop goes on: the embedder waits for it to have turned a hundred times."""
    turns = 0
    enough = asyncio.Event()
    loop = asyncio.get_running_loop()

    class Slow(HashEmbedder):
        def embed_documents(self, texts: Any, dim: int | None = None) -> ResultArray:
            asyncio.run_coroutine_threadsafe(asyncio.wait_for(enough.wait(), 30), loop).result()
            return super().embed_documents(texts, dim)

        embed_queries = embed_documents  # type: ignore[assignment]

    model = Qwen3Embedding(embedder=Slow())

    async def turn() -> None:
        nonlocal turns
        while turns < 100:
            turns += 1
            await asyncio.sleep(0)
        enough.set()

    await asyncio.gather(turn(), model.aget_text_embedding("t"), model.aget_text_embedding_batch(["t"]))
    assert turns == 100


def test_a_cache_tells_roles_instructions_and_spaces_apart():
    store = SimpleKVStore()
    embedders = [Recording(), Recording(), Recording(revision="2"), Recording()]
    models = [
        Qwen3Embedding(embedder=embedders[0], embeddings_cache=store),
        Qwen3Embedding(embedder=embedders[1], embeddings_cache=store, instruction="Other"),
        Qwen3Embedding(embedder=embedders[2], embeddings_cache=store),
        Qwen3Embedding(embedder=embedders[3], embeddings_cache=store, dim=32),
    ]
    for _ in range(3):
        queries = [model.get_query_embedding("words") for model in models]
        documents = [model.get_text_embedding("words") for model in models]
        assert [model.get_text_embedding_batch(["words", "words"]) for model in models] == [[each, each] for each in documents]
        assert queries[0] != queries[1] != documents[1]
        assert len(queries[3]) == len(documents[3]) == 32
    # Documents do not depend on the instruction, so the second model finds those of the first.
    assert [[role for role, texts, *_ in embedder.calls if texts] for embedder in embedders] == [
        ["query", "document"],
        ["query"],
        ["query", "document"],
        ["query", "document"],
    ]


@pytest.mark.parametrize("changed", [{"instruction": "Other"}, {"dim": 32}], ids=str)
def test_a_copy_has_keys_of_its_own(changed: dict[str, Any]):
    model = Qwen3Embedding(embedder=Recording(), embeddings_cache=SimpleKVStore())
    model.get_query_embedding("t")
    copied = model.model_copy(update=changed)
    assert copied.get_query_embedding("t") == Qwen3Embedding(embedder=Recording(), **changed).get_query_embedding("t")
    assert copied.get_query_embedding("t") != model.get_query_embedding("t")


async def test_a_cache_used_by_tasks():
    embedder = Recording()
    model = Qwen3Embedding(embedder=embedder, instruction="Find")
    model.embeddings_cache = SimpleKVStore()
    for _ in range(2):
        queries, documents = await asyncio.gather(
            asyncio.gather(*(model.aget_query_embedding(f"w{number}") for number in range(5))),
            model.aget_text_embedding_batch([f"w{number}" for number in range(5)]),
        )
        assert all(query != document for query, document in zip(queries, documents, strict=True))
    assert await model.aget_text_embedding("w0") == documents[0]
    assert sorted(role for role, *_ in embedder.calls) == ["document"] + ["query"] * 5


def test_the_cache_itself():
    model = Qwen3Embedding(embedder=Recording(), embeddings_cache=SimpleKVStore())
    cache = model.embeddings_cache
    model.get_text_embedding("t")
    assert cache.get("t", "embeddings") is not None
    assert cache.get_all("embeddings").keys().isdisjoint({"t"})
    assert cache.delete("t", "embeddings")
    assert cache.get("t", "embeddings") is None
    with pytest.raises(TypeError, match="BaseKVStore"):
        Qwen3Embedding(embedder=Recording(), embeddings_cache={})


def test_transformations_of_two_spaces_differ():
    nodes = [TextNode(text="t")]
    models = [
        Qwen3Embedding(embedder=HashEmbedder()),
        Qwen3Embedding(embedder=HashEmbedder(), dim=32),
        Qwen3Embedding(embedder=HashEmbedder(model="other", revision="2")),
        Qwen3Embedding(embedder=HashEmbedder(revision="2")),
        Qwen3Embedding(embedder=HashEmbedder(), max_length=16),
        Qwen3Embedding(embedder=HashEmbedder(), instruction="Find"),
    ]
    assert len({get_transformation_hash(nodes, model) for model in models}) == len(models)
    with_cache = Qwen3Embedding(embedder=HashEmbedder(), embeddings_cache=SimpleKVStore())
    again = Qwen3Embedding(embedder=HashEmbedder(), embeddings_cache=SimpleKVStore())
    assert get_transformation_hash(nodes, with_cache) == get_transformation_hash(nodes, again)


def test_an_ingestion_cache_never_mixes_them():
    embedders = [HashEmbedder(), HashEmbedder(), HashEmbedder(revision="2")]
    models = [Qwen3Embedding(embedder=embedders[0]), Qwen3Embedding(embedder=embedders[1], dim=32), Qwen3Embedding(embedder=embedders[2])]
    pipeline = IngestionPipeline(transformations=[models[0]])
    for _ in range(2):
        for model, width in zip(models, (64, 32, 64), strict=True):
            pipeline.transformations = [model]
            [node] = pipeline.run(nodes=[TextNode(id_="a", text="words")])
            assert len(node.embedding) == width
    assert [embedder.embedded for embedder in embedders] == [["words"]] * 3


def test_long_texts_are_cut():
    embedder = Recording()
    model = Qwen3Embedding(embedder=embedder, max_length=8)
    words = [f"w{number}" for number in range(20)]
    model.get_text_embedding(" ".join(words))
    model.get_query_embedding(" ".join(words))
    assert [texts for _, texts, _, _ in embedder.calls if texts] == [[" ".join(words[:7])]] * 2
    for impossible in (3, 10_000):
        with pytest.raises(ConfigurationError, match="max_length"):
            Qwen3Embedding(embedder=embedder, max_length=impossible)


def test_what_does_not_fit_is_refused(nano: Embedder):
    with pytest.raises(DimensionError, match="32 to 320"):
        Qwen3Embedding(embedder=nano, dim=7)
    with pytest.raises(EmbeddingSpaceError, match="revision"):
        Qwen3Embedding(embedder=nano, revision="another")


def test_a_worker_process_loads_the_same_model():
    model = Qwen3Embedding("nano", dim=64, instruction="Find", embeddings_cache=SimpleKVStore())
    copy = pickle.loads(pickle.dumps(model))
    assert copy.to_dict() == model.to_dict() | {"embeddings_cache": None}
    assert copy.get_text_embedding("keys") == model.get_text_embedding("keys")
    given = pickle.loads(pickle.dumps(Qwen3Embedding(embedder=HashEmbedder(), dim=32)))
    assert given.get_text_embedding("keys") == HashEmbedder().embed_documents(["keys"], 32)[0].tolist()


async def test_events_and_spans(events: Any, spans: Any):
    model = Qwen3Embedding(embedder=Recording())
    model.get_query_embedding("q")
    await model.aget_text_embedding_batch(["a", "b"])
    assert [event.chunks for event in events.of(EmbeddingEndEvent)] == [["q"], ["a", "b"]]
    assert {"Qwen3Embedding.get_query_embedding", "Qwen3Embedding._get_query_embedding"} <= set(spans())


def test_a_deep_copy_shares_the_model():
    model = Qwen3Embedding(embedder=Embedder.load("nano"))
    copied = copy.deepcopy(model)
    assert copied is not model
    assert copied.get_query_embedding("lunch at noon") == model.get_query_embedding("lunch at noon")
