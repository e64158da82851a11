"""Stores on the embedded engine and in local mode, models that are fast, and nano where results matter."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.span_handlers import SimpleSpanHandler
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore

from qwen3_rag import Embedder
from tests.conftest import _no_settings_from_outside, shared_data  # noqa: F401 - fixtures
from tests.fakes import HashEmbedder, OverlapReranker


@pytest.fixture(scope="session")
def nano() -> Embedder:
    return Embedder.load("nano", dtype="float32")


@pytest.fixture(params=["folder", "memory"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The embedded engine, and qdrant-client's local mode."""
    return str(tmp_path / "kb") if request.param == "folder" else ":memory:"


@pytest.fixture(scope="session")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Qwen3VectorStore]:
    """One store of the embedded engine for all tests that begin with an empty one: making a folder takes longer than most tests."""
    place = tmp_path_factory.mktemp("store") / "kb"
    with Qwen3VectorStore(place, embedder=HashEmbedder(), reranker=OverlapReranker()) as opened:
        yield opened


@pytest.fixture(params=["folder", "memory"])
def store(request: pytest.FixtureRequest) -> Iterator[Qwen3VectorStore]:
    """An empty store."""
    if request.param == "folder":
        opened = request.getfixturevalue("on_disk")
        opened.clear()
        yield opened
        return
    with Qwen3VectorStore(":memory:", embedder=HashEmbedder(), reranker=OverlapReranker()) as opened:
        yield opened


class Events(BaseEventHandler):
    """Keeps what happens."""

    seen: list[BaseEvent] = []  # noqa: RUF012 - a pydantic field

    @classmethod
    def class_name(cls) -> str:
        return "Events"

    def handle(self, event: BaseEvent, **_: Any) -> None:
        self.seen.append(event)

    def of(self, kind: type[BaseEvent]) -> list[Any]:
        return [event for event in self.seen if isinstance(event, kind)]


@pytest.fixture
def events() -> Iterator[Events]:
    handler = Events()
    root = get_dispatcher()
    root.add_event_handler(handler)
    yield handler
    root.event_handlers.remove(handler)


@pytest.fixture
def spans() -> Iterator[Callable[[], list[str]]]:
    """The names of the methods that made spans so far."""
    handler = SimpleSpanHandler()
    root = get_dispatcher()
    root.add_span_handler(handler)
    yield lambda: [span.id_.rsplit("-", 5)[0] for span in handler.completed_spans]
    root.span_handlers.remove(handler)
