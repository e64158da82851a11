"""`kill -9` at a random moment of a real ingest into the embedded engine, then a normal run: catalog and store agree exactly."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from qwen3_rag import Document, KnowledgeBase, Settings
from qwen3_rag.settings import ChunkingSettings, SourceSettings
from qwen3_rag.sources import SourceFile, discover, read
from tests.fakes import HashEmbedder
from tests.ingestion.agreement import check_agreement

TOKENS = 32
ROOT = Path(__file__).parent.parent.parent


@pytest.mark.parametrize("kills", [4, pytest.param(30, marks=[pytest.mark.slow, pytest.mark.timeout(1200)])], ids=["a few", "thirty"])
def test_killed_at_random_moments(kills: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    moments = random.Random(20260611)
    folder, kb_folder = tmp_path / "docs", tmp_path / "kb"
    folder.mkdir()
    settings = Settings.load(kb=kb_folder, chunk_tokens=TOKENS)
    seconds, midway = 1.0, 0
    for number in range(kills):
        change_files(folder, moments, number)
        midway += kill_during_ingest(kb_folder, folder, moments.uniform(0, seconds))
        with KnowledgeBase.open(settings=settings, embedder=HashEmbedder()) as kb:
            report = kb.ingest(folder)
            assert report.failed == []
            check_agreement(kb._catalog, kb._client, expected(folder), ChunkingSettings(TOKENS))
        seconds = max(0.1, report.seconds)
    with capsys.disabled():
        print(f" [{midway} of {kills} kills came before the run was done]", end="")
    assert midway > 0


def kill_during_ingest(kb: Path, folder: Path, delay: float) -> bool:
    """Start an ingest, kill it `delay` seconds after it opened the knowledge base; tells whether it was still at work."""
    command = [sys.executable, "-m", "tests.ingestion.ingest_child", str(kb), str(folder), str(TOKENS)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(delay)
        child.send_signal(signal.SIGKILL)
        return "done" not in child.stdout.read()


def change_files(folder: Path, moments: random.Random, number: int) -> None:
    """Add, change and remove files, so that every run has all three to do."""
    for _ in range(40):
        name = f"{moments.randrange(90)}.txt"
        words = [f"w{moments.randrange(500)}" for _ in range(moments.randrange(20, 400))]
        (folder / name).write_text(f"round {number}\n\n" + " ".join(words), encoding="utf-8")
    for path in sorted(folder.iterdir())[:: moments.randrange(7, 12)][:3]:
        path.unlink()


def expected(folder: Path) -> dict[str, Document]:
    files = [item for item in discover([folder], SourceSettings()) if isinstance(item, SourceFile)]
    return {item.document_id: read(item, SourceSettings()) for item in files}
