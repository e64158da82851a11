from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwen3_rag.training.synthesis.settings import ServerSettings
from qwen3_rag.types import Passage
from tests.models.remote.server import InferenceServer, serving
from tests.training.synthesis.chat_server import ChatModel, chat_server

THINGS = ["kettle", "lantern", "winch", "rudder", "compass", "anchor", "sextant", "bellows", "loom", "press", "kiln", "sluice"]
PASSAGES = [
    Passage(
        f"p{number}",
        f"The {thing} of the harbour museum was repaired in {1900 + number}. After {number + 3} days the {thing} could be shown to "
        f"visitors again, and the keeper wrote down every part of the {thing} that had been replaced with brass.",
        title=f"The {thing}",
        language="en",
    )
    for number, thing in enumerate(THINGS)
]
ROLES = ["A keeper of a museum", "A pupil with homework", "A clerk", "A sailor", "A welder"]


@pytest.fixture(autouse=True)
def _no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def model() -> ChatModel:
    return ChatModel()


@pytest.fixture
def chat(model: ChatModel) -> Iterator[InferenceServer]:
    with serving(chat_server(model)) as server:
        yield server


@pytest.fixture
def server(chat: InferenceServer) -> ServerSettings:
    return ServerSettings(url=f"{chat.url}/v1", model="small", concurrency=3, timeout=10.0, retries=3, price_in=1000.0, price_out=2000.0)


@pytest.fixture
def passages_file(tmp_path: Path) -> Path:
    path = tmp_path / "passages.jsonl"
    lines = [json.dumps({"id": item.id, "title": item.title, "text": item.text, "language": "en"}) for item in PASSAGES]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path
