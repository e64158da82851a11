from __future__ import annotations

import pytest

from tests.models.nano.nano_reference import Reference


@pytest.fixture(scope="session")
def reference() -> Reference:
    return Reference()
