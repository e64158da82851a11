"""Fixtures for more than one room. Settings of the machine that runs the tests must not reach them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

SHARED = Path(__file__).parent.parent.parent / "shared"


@pytest.fixture(autouse=True)
def _no_settings_from_outside(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in list(os.environ):
        if name.startswith("QWEN3_RAG_") and not name.startswith("QWEN3_RAG_TEST_"):
            monkeypatch.delenv(name)
    return


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real data beside the checkout; tests that need it are skipped without it."""
    if not (SHARED / "data").is_dir():
        pytest.skip("the real data of ../shared/data is not on this machine")
    return SHARED / "data"
