from __future__ import annotations

from pathlib import Path

import pytest

from tests.models.tiny_qwen3 import make_checkpoint


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random checkpoint of two layers, tied, with a tokenizer of its own."""
    return make_checkpoint(tmp_path_factory.mktemp("tiny"), context=1024)
