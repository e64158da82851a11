"""One word for a setting, wherever it is given; arguments win over the environment, the environment over TOML."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path

import pytest

from qwen3_rag import KnowledgeBase, cli
from qwen3_rag.errors import ConfigurationError
from qwen3_rag.retrieval import Retriever
from qwen3_rag.retrieval.options import SearchKeywords
from qwen3_rag.settings import Quantization, RetrievalSettings, Settings, without_user


@pytest.fixture(autouse=True)
def _clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)


def test_defaults_need_no_server():
    settings = Settings.load()
    assert settings.store.url is None
    assert settings.store.path == str(Path("kb/store"))
    assert settings.catalog.url.startswith("sqlite:///")
    assert settings.rerank_deadline is None


def test_environment_then_arguments(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("QWEN3_RAG_TOP_K", "7")
    monkeypatch.setenv("QWEN3_RAG_QUANTIZATION", "binary")
    assert Settings.load().top_k == 7
    assert Settings.load(top_k=3).top_k == 3
    assert Settings.load().store.quantization is Quantization.BINARY


def test_toml_is_the_last_resort(monkeypatch: pytest.MonkeyPatch):
    Path("qwen3-rag.toml").write_text('embedder = "nano"\ntop_k = 4\n', encoding="utf-8")
    monkeypatch.setenv("QWEN3_RAG_TOP_K", "7")
    settings = Settings.load()
    assert (settings.embedder, settings.top_k) == ("nano", 7)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"top_k": 0}, "top_k"),
        ({"colour": "blue"}, "colour"),
        ({"dense_weight": 2}, "dense_weight"),
        ({"rerank_weight": 1.01}, "rerank_weight"),
        ({"quantization": "int3"}, "quantization"),
    ],
)
def test_a_wrong_setting_is_named(values: dict[str, object], said: str):
    with pytest.raises(ConfigurationError, match=said):
        Settings.load(**values)


@pytest.mark.parametrize(
    ("variable", "said"),
    [
        ("QWEN3_RAG_TOPK", r"QWEN3_RAG_TOPK is not a setting \(did you mean QWEN3_RAG_TOP_K\?\)"),
        ("qwen3_rag_embeder", r"qwen3_rag_embeder is not a setting \(did you mean QWEN3_RAG_EMBEDDER\?\)"),
        ("QWEN3_RAG_ZZZ", r"QWEN3_RAG_ZZZ is not a setting\. .*unset.*Known settings: kb, "),
    ],
)
def test_a_misspelt_variable_is_named(monkeypatch: pytest.MonkeyPatch, variable: str, said: str):
    monkeypatch.setenv(variable, "1")
    with pytest.raises(ConfigurationError, match=said):
        Settings.load(top_k=3)
    monkeypatch.setenv(variable, "")
    assert Settings.load(top_k=3).top_k == 3


@pytest.mark.parametrize(
    "variable",
    [
        "QWEN3_RAG_TEST_QDRANT_URL",
        "QWEN3_RAG_SERVICE_HOST",
        "QWEN3_RAG_SERVICE_PORT_HTTP",
        "QWEN3_RAG_PORT",
        "QWEN3_RAG_PORT_80_TCP_ADDR",
        "QWEN3_RAG_POSTGRESQL_SERVICE_HOST",
        "QWEN3_RAG_QDRANT_PORT_6333_TCP",
        "QWEN3_RAGS",
    ],
)
def test_variables_that_mean_something_else_are_left_alone(monkeypatch: pytest.MonkeyPatch, variable: str):
    monkeypatch.setenv(variable, "tcp://10.0.0.1:80")
    monkeypatch.setenv("qwen3_rag_top_k", "7")
    assert Settings.load().top_k == 7


def test_an_option_of_a_search_has_one_word_everywhere():
    options = {field.name: field.default for field in fields(RetrievalSettings)}
    assert {name: Settings.model_fields[name].default for name in options} == options
    assert Settings.load().retrieval == RetrievalSettings()
    of_search = parameters(Retriever.search)
    assert SearchKeywords.__annotations__.keys() == of_search
    assert options.keys() - {"rrf_k"} <= of_search
    assert parameters(KnowledgeBase.search) <= of_search
    assert parameters(cli.search) - {"kb", "as_json"} <= of_search
    assert parameters(cli.search) & parameters(KnowledgeBase.search) >= {"rerank_weight", "rerank_deadline", "mode", "fusion", "candidates"}


def parameters(function: Callable[..., object]) -> set[str]:
    return set(inspect.signature(function).parameters) - {"self", "query"}


def test_two_settings_make_it_a_cluster():
    settings = Settings.load(url="http://localhost:6333", database_url="postgresql://localhost/rag")
    assert settings.store.url == "http://localhost:6333"
    assert settings.catalog.url == "postgresql://localhost/rag"


def test_the_api_key_is_not_printed():
    assert "hunter2" not in repr(Settings.load(api_key="hunter2").store)


def test_passwords_in_addresses_are_not_printed():
    urls = {name: f"http://me:hunter2@{name}" for name in ("url", "embedder_url", "reranker_url", "database_url")}
    settings = Settings.load(**urls)
    assert "hunter2" not in f"{settings!r}{settings.store!r}{settings.catalog!r}{settings.remote!r}"
    assert settings.store.place == "http://url"


@pytest.mark.parametrize(
    "address", ["http://me:hunter2@host:1/x", "me:hunter2@host:1/x", "ftp://me:hun/ter2@host:1/x", "HTTP://me@host:1/x"]
)
def test_an_address_is_shown_without_user(address: str):
    scheme, mark, _ = address.rpartition("://")
    assert without_user(address) == f"{scheme}{mark}host:1/x"
    assert without_user(without_user(address)) == without_user(address)


def test_nothing_is_written_for_a_knowledge_base_in_memory():
    settings = Settings.load(kb=":memory:")
    assert settings.store.path == ":memory:"
    assert settings.catalog.url == "sqlite://"
