"""A knowledge base whose models run elsewhere: same hits as with local ones, and nothing wrong or lost when the server fails."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen3_rag import KnowledgeBase, RemoteEmbedder, RemoteReranker, Settings
from qwen3_rag.errors import ConfigurationError, EmbeddingSpaceError, RemoteError, RemoteUnavailableError
from qwen3_rag.models.binding import ModelBinding, ModelChoice
from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.remote import Connection, Dialect, Retries
from qwen3_rag.settings import RemoteSettings
from qwen3_rag.types import Document
from tests.models.remote.server import EmbeddingModel, InferenceServer, Reply, RerankingModel, oracle, serving

ANIMALS = {"cheetah": "runs fast over the plain", "sloth": "sleeps in a tree", "whale": "sings in the deep sea", "bee": "makes honey"}
DOCUMENTS = [Document(id=name, text=f"The {name} {what}. " * 3) for name, what in ANIMALS.items()]
QUERIES = ["Who makes honey?", "Which animal is fast?", "singing in the sea"]


@pytest.fixture
def settings(embeddings: InferenceServer) -> Settings:
    return Settings.load(embedder="nano", embedder_url=embeddings.url, inference_api_key="sk-1", inference_timeout=10)


def found(kb: KnowledgeBase) -> list[list[tuple[str, float]]]:
    return [[(hit.document_id, round(hit.score, 4)) for hit in kb.search(query)] for query in QUERIES]


@pytest.fixture
def impatient(embeddings: InferenceServer) -> Iterator[RemoteEmbedder]:
    connection = Connection(retries=Retries(attempts=2, first_wait=0.01, longest_wait=0.05))
    with RemoteEmbedder("nano", embeddings.url, connection=connection) as embedder:
        yield embedder


def test_settings_point_at_a_server(tmp_path: Path, settings: Settings, embeddings: InferenceServer, nano: Embedder):
    with KnowledgeBase.open(tmp_path / "remote", settings=settings) as kb:
        assert kb.ingest(DOCUMENTS).failed == []
        remote = found(kb)
        assert kb.status().embedder == "nano"
    with KnowledgeBase.open(tmp_path / "local", embedder=nano) as kb:
        kb.ingest(DOCUMENTS)
        assert found(kb) == remote
    assert {request.headers["Authorization"] for request in embeddings.requests} == {"Bearer sk-1"}
    with KnowledgeBase.open(tmp_path / "remote", settings=settings.model_copy(update={"embedder": None})) as kb:
        assert found(kb) == remote  # the name is remembered


def test_settings_say_what_servers_take(tiny: Path, embeddings: InferenceServer, judged: RerankingModel):
    with serving(InferenceServer(judged.routes()["rerank"])) as server:
        settings = Settings.load(
            embedder="nano",
            embedder_url=embeddings.url,
            embedder_max_tokens=100,
            reranker="tiny",
            reranker_tokenizer=str(tiny),
            reranker_url=server.url,
            reranker_max_tokens=300,
            reranker_dialect="score",
            inference_canary="off",
        )
        binding = ModelBinding(ModelChoice.of(settings, None, None))
        try:
            embedder, reranker = binding.embedder(), binding.reranker()
            assert isinstance(embedder, RemoteEmbedder)
            assert isinstance(reranker, RemoteReranker)
            assert (embedder.max_tokens, reranker.max_tokens) == (100, 300)
            assert reranker.dialect is Dialect.SCORE
        finally:
            binding.close()
        assert {request.path for request in server.requests} == {"/score"}
        assert embeddings.requests == []


def test_spaces_compare_only_when_the_user_says_so(tmp_path: Path, settings: Settings, nano: Embedder):
    with KnowledgeBase.open(tmp_path, embedder=nano) as kb:
        kb.ingest(DOCUMENTS)
        local = found(kb)
    with KnowledgeBase.open(tmp_path, settings=settings) as kb, pytest.raises(EmbeddingSpaceError, match="QWEN3_RAG_EMBEDDER_REVISION"):
        kb.search(QUERIES[0])
    stated = settings.model_copy(update={"embedder_revision": nano.space.revision})
    with KnowledgeBase.open(tmp_path, settings=stated) as kb:
        assert found(kb) == local


@pytest.mark.parametrize(
    "reply",
    [Reply(500, {"error": "out of memory"}), Reply(400, {"error": "no"}), Reply(200, b"{"), Reply(200, {"data": []})],
    ids=["500", "400", "no JSON", "nothing"],
)
def test_a_server_that_fails_in_the_middle(tmp_path: Path, embeddings: InferenceServer, impatient: RemoteEmbedder, reply: Reply):
    with KnowledgeBase.open(tmp_path, embedder=impatient) as kb:
        kb.ingest(DOCUMENTS[:1])
        embeddings.faults.always = reply
        try:
            report = kb.ingest(DOCUMENTS)
            assert len(report.failed) == len(kb.failures()) == 3
        except RemoteError:
            assert kb.status().last_run is not None
        assert [document.document_id for document in kb.documents()] == ["cheetah"]
        assert kb.status().points == kb.status().chunks
        embeddings.faults.always = None
        kb.ingest(DOCUMENTS)
        assert sorted(document.document_id for document in kb.documents()) == sorted(ANIMALS)
        assert kb.status().points == kb.status().chunks
        assert kb.failures() == []
        assert [hits[0][0] for hits in found(kb)] == ["bee", "cheetah", "whale"]


def test_a_server_that_is_down_ends_the_run_and_blames_no_document(tmp_path: Path, embeddings: InferenceServer, impatient: RemoteEmbedder):
    with KnowledgeBase.open(tmp_path, embedder=impatient) as kb:
        kb.ingest(DOCUMENTS[:1])
        embeddings.faults.always = Reply(503, {"error": "down"})
        with pytest.raises(RemoteUnavailableError):
            kb.ingest(DOCUMENTS)
        assert kb.failures() == []
        embeddings.faults.always = None
        assert kb.ingest(DOCUMENTS).added == 3


def test_a_server_that_swaps_its_model(tmp_path: Path, embeddings: InferenceServer, model: EmbeddingModel, impatient: RemoteEmbedder):
    with KnowledgeBase.open(tmp_path, embedder=impatient) as kb:
        kb.ingest(DOCUMENTS[:1])
    model.name = "another"
    with RemoteEmbedder("nano", embeddings.url) as other, pytest.raises(EmbeddingSpaceError):
        KnowledgeBase.open(tmp_path, embedder=other)


def test_a_remote_reranker(tmp_path: Path, nano: Embedder, judged: RerankingModel, tiny: Path):
    judged.judge = oracle(judged.tokenizer)
    with serving(InferenceServer(judged.routes()["rerank"])) as server:
        settings = Settings.load(reranker="clever", reranker_url=server.url, reranker_tokenizer=str(tiny))
        with KnowledgeBase.open(tmp_path, settings=settings, embedder=nano) as kb:
            kb.ingest(DOCUMENTS)
            hits = kb.search("the bee makes honey")
        assert hits[0].document_id == "bee"
        assert hits[0].reranked is True
    assert server.posted("/v1/rerank")


def test_the_binding_closes_what_it_made(embeddings: InferenceServer, tiny: Path):
    remote = RemoteSettings(embedder_url=embeddings.url, reranker_url=embeddings.url, reranker_tokenizer=str(tiny))
    binding = ModelBinding(ModelChoice("nano", "clever", dim=64, remote=remote))
    embedder, reranker = binding.embedder(), binding.reranker()
    assert isinstance(embedder, RemoteEmbedder)
    assert isinstance(reranker, RemoteReranker)
    assert embedder.embed_documents(["a"]).shape == (1, 64)
    binding.close()
    with pytest.raises(ConfigurationError, match="closed"):
        embedder.embed_documents(["a"])


def test_a_key_in_the_settings_is_not_shown(settings: Settings):
    assert "sk-1" not in f"{settings!r}{settings.remote!r}"
