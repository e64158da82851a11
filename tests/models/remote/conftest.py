from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM, Qwen3Model

from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.hub import nano_folder
from qwen3_rag.models.remote import Connection, Retries
from qwen3_rag.models.reranker import Reranker
from qwen3_rag.models.tokenization import TextTokenizer
from tests.models.remote.server import EmbeddingModel, InferenceServer, RerankingModel, serving, yes_or_no

read_once = cache(TextTokenizer.load)
HURRY = Connection(timeout=10.0, retries=Retries(attempts=3, first_wait=0.01, longest_wait=0.1))


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture(autouse=True)
def _tokenizers_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading one takes longer than most of these tests."""
    monkeypatch.setattr(TextTokenizer, "load", read_once)


@pytest.fixture(scope="session")
def nano() -> Embedder:
    return Embedder.load("nano", dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def nano_network() -> Qwen3Model:
    return Qwen3Model.from_pretrained(nano_folder(), dtype=torch.float32).eval()


@pytest.fixture
def model(nano_network: Qwen3Model) -> EmbeddingModel:
    return EmbeddingModel(nano_network, Tokenizer.from_file(str(nano_folder() / "tokenizer.json")))


@pytest.fixture
def embeddings(model: EmbeddingModel) -> Iterator[InferenceServer]:
    with serving(InferenceServer({"/v1/embeddings": model})) as server:
        yield server


@pytest.fixture(scope="session")
def reranker(tiny: Path) -> Reranker:
    return Reranker.load(str(tiny), dtype="float32", device="cpu")


@pytest.fixture(scope="session")
def tiny_network(tiny: Path) -> Qwen3ForCausalLM:
    return Qwen3ForCausalLM.from_pretrained(tiny, dtype=torch.float32).eval()


@pytest.fixture
def judged(tiny: Path, tiny_network: Qwen3ForCausalLM) -> RerankingModel:
    tokenizer = Tokenizer.from_file(str(tiny / "tokenizer.json"))
    return RerankingModel(yes_or_no(tiny_network, tokenizer), tokenizer)
