"""What disappeared is deleted; an unreachable folder is not mistaken for an empty one."""

from __future__ import annotations

from pathlib import Path

import pytest

from qwen3_rag.errors import MassDeletionError
from qwen3_rag.ingestion.sync import check_deletions, disappeared

FOLDER = Path("/data/docs")


def test_only_documents_below_the_folder_disappear():
    known = ["/data/docs/a.md", "/data/docs/sub/b.md", "/data/docs2/c.md", "/data/d.md"]
    assert disappeared(known, FOLDER, {"/data/docs/a.md"}) == ["/data/docs/sub/b.md"]


def test_what_could_not_be_listed_stays():
    known = ["/data/docs/a.md", "/data/docs/sub/b.md"]
    assert disappeared(known, FOLDER, (), [FOLDER / "sub"]) == ["/data/docs/a.md"]


@pytest.mark.parametrize(
    ("gone", "known", "found", "share"),
    [(1, 1, 0, 0.5), (3, 3, 0, 0.5), (60, 100, 40, 0.5), (10, 15, 5, 0.5), (1, 12, 11, 0.0)],
    ids=["the only one", "all of a few", "most of many", "most of fifteen", "none may go"],
)
def test_suspicious_deletions_are_refused(gone: int, known: int, found: int, share: float):
    with pytest.raises(MassDeletionError, match="max-delete-share"):
        check_deletions(FOLDER, [str(i) for i in range(gone)], known, found, share)


@pytest.mark.parametrize(
    ("gone", "known", "found", "share"),
    [(0, 5, 0, 0.5), (2, 3, 1, 0.5), (50, 100, 50, 0.5), (100, 100, 0, 1.0), (0, 5, 5, 0.0)],
    ids=["nothing gone", "two of three", "exactly half", "said so", "none may go and none does"],
)
def test_ordinary_deletions_pass(gone: int, known: int, found: int, share: float):
    check_deletions(FOLDER, [str(i) for i in range(gone)], known, found, share)
