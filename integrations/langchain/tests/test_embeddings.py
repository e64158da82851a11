"""`Qwen3Embeddings`: instructions, dimensions, and the same vectors as the core, sync and async."""

from __future__ import annotations

import asyncio
import copy
import pickle
import threading
from collections.abc import Callable

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import Qwen3Model

from integrations.langchain.tests.fakes import InstructedEmbedder, NativeEmbedder
from langchain_qwen3_rag import Qwen3Embeddings
from qwen3_rag import Embedder, RemoteEmbedder
from qwen3_rag.errors import ConfigurationError, DimensionError, ModelNotFoundError
from qwen3_rag.models.hub import nano_folder
from tests.fakes import HashEmbedder
from tests.models.remote.server import EmbeddingModel, InferenceServer, serving

TASK = "Find the runbook for an alarm"


def test_vectors_are_those_of_the_core(nano: Embedder):
    embeddings = Qwen3Embeddings("nano", dtype="float32")
    np.testing.assert_allclose(embeddings.embed_documents(["a key", "b"]), nano.embed_documents(["a key", "b"]), atol=1e-6)
    np.testing.assert_allclose(embeddings.embed_query("a key"), nano.embed_queries(["a key"])[0], atol=1e-6)
    assert embeddings.embed_documents([]) == []
    assert (embeddings.model, embeddings.dim) == ("nano", nano.dim)


def test_instruction_per_instance_and_per_call():
    embedder = InstructedEmbedder()
    plain, tasked = Qwen3Embeddings(embedder=embedder), Qwen3Embeddings(embedder=embedder, instruction=TASK)
    assert plain.embed_query("disk full") != tasked.embed_query("disk full")
    assert plain.embed_query("disk full", instruction=TASK) == tasked.embed_query("disk full")
    assert tasked.embed_query("disk full", instruction="Find lunch") != tasked.embed_query("disk full")
    assert plain.embed_documents(["disk full"]) == tasked.embed_documents(["disk full"])


def test_dim_is_a_normalised_prefix(nano: Embedder):
    short = Qwen3Embeddings(embedder=nano, dim=64)
    whole = np.array(Qwen3Embeddings(embedder=nano).embed_documents(["a key"])[0])[:64]
    np.testing.assert_allclose(short.embed_documents(["a key"])[0], whole / np.linalg.norm(whole), atol=1e-5)
    assert short.dim == len(short.embed_query("a key")) == 64


async def test_async_gives_the_same(nano: Embedder):
    embeddings = Qwen3Embeddings(embedder=nano, instruction=TASK)
    queries = await asyncio.gather(*(embeddings.aembed_query(f"query {number}") for number in range(20)))
    for number, vector in enumerate(queries):
        np.testing.assert_allclose(vector, embeddings.embed_query(f"query {number}"), atol=1e-5)
    np.testing.assert_allclose(await embeddings.aembed_documents(["a", "b"]), embeddings.embed_documents(["a", "b"]), atol=1e-5)
    tasked = Qwen3Embeddings(embedder=InstructedEmbedder(), instruction=TASK)
    assert await tasked.aembed_query("x", instruction="other") != await tasked.aembed_query("x") == tasked.embed_query("x")


async def test_async_is_the_embedders_own():
    embedder = NativeEmbedder()
    embedder.loops.add(threading.get_ident())
    embeddings = Qwen3Embeddings(embedder=embedder)
    assert len(await embeddings.aembed_query("x")) == len((await embeddings.aembed_documents(["x"]))[0]) == 64
    assert embedder.calls == 2


async def test_on_an_inference_server(nano: Embedder):
    model = EmbeddingModel(
        Qwen3Model.from_pretrained(nano_folder(), dtype=torch.float32).eval(), Tokenizer.from_file(str(nano_folder() / "tokenizer.json"))
    )
    with serving(InferenceServer({"/v1/embeddings": model})) as server, RemoteEmbedder("nano", server.url) as embedder:
        remote, local = Qwen3Embeddings(embedder=embedder, dim=64), Qwen3Embeddings(embedder=nano, dim=64)
        np.testing.assert_allclose(remote.embed_documents(["a key"]), local.embed_documents(["a key"]), atol=1e-4)
        np.testing.assert_allclose(await remote.aembed_query("a key"), local.embed_query("a key"), atol=1e-4)


async def test_a_lazy_embedder_is_loaded_once_when_needed():
    loaded: list[int] = []

    def load() -> HashEmbedder:
        loaded.append(1)
        return HashEmbedder()

    embeddings = Qwen3Embeddings.lazily("hash", load)
    assert "hash" in repr(embeddings)
    assert loaded == []
    assert await embeddings.aembed_query("x") == embeddings.embed_query("x")
    assert loaded == [1]


def test_what_cannot_be():
    with pytest.raises(ConfigurationError, match="not both"):
        Qwen3Embeddings("nano", embedder=HashEmbedder())
    for model in ({"model": "nano"}, {"embedder": Embedder.load("nano")}):
        with pytest.raises(DimensionError, match="32 to 320"):
            Qwen3Embeddings(**model, dim=8)
    with pytest.raises(ModelNotFoundError):
        Qwen3Embeddings("./no-such-folder")


@pytest.mark.parametrize("embedder", [lambda: Embedder.load("nano", dim=64), lambda: Embedder.load("nano", quantization="int8")])
@pytest.mark.parametrize("dim", [None, 48])
def test_a_worker_process_loads_the_same_model(embedder: Callable[[], Embedder], dim: int | None):
    given = Qwen3Embeddings(embedder=embedder(), dim=dim, instruction=TASK)
    for embeddings in (given, Qwen3Embeddings.lazily("nano", lambda: given.embedder, TASK)):
        pickled = pickle.dumps(embeddings)
        assert len(pickled) < 2000
        loaded = pickle.loads(pickled)
        assert (loaded.model, loaded.dim, loaded.instruction) == ("nano", given.dim, TASK)
        assert loaded.embed_query("a key") == given.embed_query("a key")


def test_an_embedder_of_another_kind_goes_along_to_a_worker_process():
    embeddings = Qwen3Embeddings(embedder=HashEmbedder(), dim=32)
    assert pickle.loads(pickle.dumps(embeddings)).embed_query("a key") == embeddings.embed_query("a key")


def test_a_deep_copy_shares_the_model():
    embeddings = Qwen3Embeddings(embedder=Embedder.load("nano"))
    copied = copy.deepcopy(embeddings)
    assert copied is not embeddings
    assert copied.embed_query("lunch at noon") == embeddings.embed_query("lunch at noon")
