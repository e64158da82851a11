"""Ten thousand small documents through the write order, on SQLite."""

import time

import pytest

from qwen3_rag.catalog import Catalog, Counts
from qwen3_rag.settings import CatalogSettings
from tests.catalog.builders import SPACE, chunk, document, write_all


@pytest.mark.slow
def test_ten_thousand_documents_in_seconds(sqlite_url: str) -> None:
    with Catalog.open(CatalogSettings(sqlite_url)) as catalog:
        catalog.create_collection("docs", SPACE)
        began = time.process_time()
        for version in ("1", "2"):
            for start in range(0, 10_000, 128):
                write_all(
                    catalog,
                    *(
                        (document(f"{i}", version), [chunk(n, f"{i}-{n}-{version if n == 0 else 0}") for n in range(5)])
                        for i in range(start, min(start + 128, 10_000))
                    ),
                )
        written = time.process_time()
        assert len(catalog.document_states("docs")) == 10_000
        read = time.process_time()
        assert catalog.counts("docs") == Counts(10_000, 50_000, 0)
    assert written - began < 40, "20 s of processor time for each of two versions; measured: 3 to 4 s"
    assert read - written < 2
