"""Languages are asked for now and then, and anew after a write."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from qwen3_rag.store.held import SECONDS, HeldLanguages


class Client:
    """Holds languages; something may happen while it answers."""

    def __init__(self) -> None:
        self.held = ["en"]
        self.asked = 0
        self.meanwhile: Callable[[], None] = lambda: None

    def collection_exists(self, name: str) -> bool:
        return True

    def facet(self, *_: Any, **__: Any) -> Any:
        self.asked += 1
        hits = [SimpleNamespace(value=language, count=1) for language in self.held]
        self.meanwhile()
        return SimpleNamespace(hits=hits)


def test_an_answer_is_good_for_some_seconds_or_until_a_write():
    now, client = [0.0], Client()
    languages = HeldLanguages(client, "documents", lambda: now[0])  # type: ignore[arg-type]
    assert (languages(), languages(), client.asked) == ({"en": 1}, {"en": 1}, 1)
    client.held.append("de")
    now[0] += SECONDS + 1
    assert (languages(), client.asked) == ({"en": 1, "de": 1}, 2)
    client.held.append("fr")
    languages.forget()
    assert (languages(), client.asked) == ({"en": 1, "de": 1, "fr": 1}, 3)


def test_an_answer_from_before_a_write_is_not_kept():
    client = Client()
    languages = HeldLanguages(client, "documents")  # type: ignore[arg-type]

    def write() -> None:
        client.held.append("de")
        client.meanwhile = lambda: None
        languages.forget()

    client.meanwhile = write
    languages()
    assert languages() == {"en": 1, "de": 1}
