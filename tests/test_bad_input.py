"""Bad input, through the facade: a clear error that names the thing and the way out, and a knowledge base that is as it was."""

from __future__ import annotations

import errno
import io
import os
import re
import shutil
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fpdf import FPDF
from fpdf.enums import AccessPermission

from qwen3_rag import Document, KnowledgeBase, Settings
from qwen3_rag.catalog import Catalog
from qwen3_rag.errors import (
    CatalogError,
    CatalogVersionError,
    ConfigurationError,
    DimensionError,
    EmbeddingSpaceError,
    FilterError,
    ModelNotFoundError,
    SourceUnavailableError,
    StoreError,
    StoreFullError,
    StoreUnavailableError,
)
from qwen3_rag.ingestion import IngestReport
from tests.fakes import HashEmbedder

OTTER = "The otter sleeps on its back in the kelp."
PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + bytes(64)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    docs = tmp_path / "docs"
    docs.mkdir()
    (docs / "otter.txt").write_text(OTTER, encoding="utf-8")
    return docs


@pytest.fixture
def kb(tmp_path: Path, folder: Path) -> Iterator[KnowledgeBase]:
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder()) as base:
        base.ingest(folder)
        yield base


def assert_unchanged(kb: KnowledgeBase) -> None:
    state = kb.status()
    assert (state.documents, state.chunks, state.points) == (1, 1, 1)
    assert kb.search("otter")[0].text == OTTER


def encrypted_pdf() -> bytes:
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("helvetica")
    pdf.cell(text="secret")
    pdf.set_encryption(owner_password="owner", user_password="user", permissions=AccessPermission.none())
    return bytes(pdf.output())


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("zero.md", b"", "empty"),
        ("locked.pdf", encrypted_pdf(), "encrypted|password"),
        ("large.txt", b"x" * (50 * 1024 * 1024), "larger"),
        ("picture.pdf", PNG, "PNG"),
        ("letter.txt", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "PDF"),
        ("short.json", b'{"half": ', "JSON"),
        ("archive.docx", b"PK\x03\x04" + bytes(60), "archive.docx"),
        ("garbage.md", bytes(range(256)) * 8, "binary|encoding|UTF-8"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_a_bad_file_is_reported_and_left_out(kb: KnowledgeBase, folder: Path, name: str, content: bytes, said: str):
    (folder / name).write_bytes(content)
    assert_left_out(kb.ingest(folder), folder / name, said)
    assert_unchanged(kb)


def test_an_unreadable_file_is_reported_and_its_document_stays(kb: KnowledgeBase, folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Permissions are simulated where bytes are read: the superuser may read everything."""
    path = folder / "otter.txt"
    path.write_text("changed, but nobody may read it", encoding="utf-8")
    original = io.open

    def refused(file: object, *args: object, **kwargs: object) -> object:
        if Path(str(file)).name == path.name:
            raise PermissionError(errno.EACCES, "Permission denied", str(file))
        return original(file, *args, **kwargs)  # type: ignore[call-overload]

    monkeypatch.setattr(io, "open", refused)
    report = kb.ingest(folder)
    monkeypatch.undo()
    assert_left_out(report, path, "ermission")
    assert_unchanged(kb)


def assert_left_out(report: IngestReport, path: Path, said: str) -> None:
    left_out = {item.document_id: item.reason or "" for item in [*report.skipped, *report.failed]}
    assert list(left_out) == [path.as_posix()]
    assert re.search(said, left_out[path.as_posix()]), left_out


@pytest.mark.parametrize(
    ("document", "said"),
    [
        (Document(id="x" * 3000, text="text"), "shorter id"),
        (Document(id="", text="text"), "empty id"),
        (Document(id="a", text="text", metadata={"when": object()}), "Metadata"),
        (Document(id="a", text="half a pair \ud800"), "surrogate"),
    ],
    ids=["long id", "no id", "metadata that is not JSON", "lone surrogate"],
)
def test_a_bad_document_fails_alone(kb: KnowledgeBase, document: Document, said: str):
    report = kb.ingest([document])
    assert [item.document_id for item in report.failed] == [document.id]
    assert said in (report.failed[0].reason or "")
    assert_unchanged(kb)


@pytest.mark.parametrize("dim", [7, 4096])
def test_a_dimension_the_model_does_not_have(tmp_path: Path, folder: Path, dim: int):
    with pytest.raises(DimensionError, match=r"nano.*32 to 320"):
        KnowledgeBase.open(settings=Settings.load(kb=tmp_path / "new", dim=dim), embedder="nano").ingest(folder)


def test_another_embedding_space(kb: KnowledgeBase, tmp_path: Path):
    with pytest.raises(EmbeddingSpaceError, match="qwen3-rag ingest"):
        KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(revision="2"))
    assert_unchanged(kb)


def test_a_model_that_is_nowhere(kb: KnowledgeBase, tmp_path: Path, folder: Path):
    began = time.monotonic()
    with pytest.raises(ModelNotFoundError, match=r"(?s)no-such/model.*folder.*nano"):
        KnowledgeBase.open(tmp_path / "new", embedder="no-such/model").ingest(folder)
    assert time.monotonic() - began < 60
    assert_unchanged(kb)


def test_a_path_that_does_not_exist_among_some_that_do(kb: KnowledgeBase, folder: Path):
    (folder / "new.txt").write_text("new", encoding="utf-8")
    with pytest.raises(SourceUnavailableError, match="nowhere"):
        kb.ingest([folder, folder / "nowhere"])
    assert_unchanged(kb)


def test_a_query_or_a_filter_that_means_nothing(kb: KnowledgeBase):
    with pytest.raises(ConfigurationError, match="empty"):
        kb.search("  ")
    with pytest.raises(FilterError, match=r"\$gte"):
        kb.search("otter", filters={"year": {"$above": 3}})
    assert_unchanged(kb)


def test_a_second_process_is_told_who_has_it(kb: KnowledgeBase, tmp_path: Path):
    command = [sys.executable, "-m", "qwen3_rag", "search", "otter", "--kb", str(tmp_path / "kb")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 1
    assert str(os.getpid()) in result.stderr
    assert "Traceback" not in result.stderr
    assert_unchanged(kb)


def test_a_catalog_of_a_newer_version(kb: KnowledgeBase, tmp_path: Path):
    kb.close()
    with sqlite3.connect(tmp_path / "kb" / "catalog.db") as connection:
        (table,) = connection.execute("SELECT name FROM sqlite_master WHERE name LIKE '%alembic_version'").fetchone()
        (revision,) = connection.execute(f"SELECT version_num FROM {table}").fetchone()
        connection.execute(f"UPDATE {table} SET version_num = 'from-the-future'")
    with pytest.raises(CatalogVersionError, match="from-the-future"):
        KnowledgeBase.open(tmp_path / "kb")
    with sqlite3.connect(tmp_path / "kb" / "catalog.db") as connection:
        connection.execute(f"UPDATE {table} SET version_num = ?", (revision,))
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder()) as again:
        assert_unchanged(again)


def test_a_catalog_that_is_no_database(kb: KnowledgeBase, tmp_path: Path):
    kb.close()
    for file in (tmp_path / "kb").glob("catalog.db*"):
        file.write_bytes(b"not a database " * 100)
    with pytest.raises(CatalogError, match=r"catalog\.db"):
        KnowledgeBase.open(tmp_path / "kb")


def test_a_store_whose_list_is_damaged(kb: KnowledgeBase, tmp_path: Path):
    kb.close()
    manifest = tmp_path / "kb" / "store" / "store.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(StoreError, match=r"store\.json"):
        KnowledgeBase.open(tmp_path / "kb")
    manifest.write_bytes(whole)
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder()) as again:
        assert_unchanged(again)


def test_a_store_that_was_lost(kb: KnowledgeBase, tmp_path: Path, folder: Path):
    kb.close()
    shutil.rmtree(tmp_path / "kb" / "store")
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder()) as again:
        for use in (lambda: again.search("otter"), lambda: again.ingest(folder)):
            with pytest.raises(StoreError, match="--force"):
                use()
        again.ingest(folder, force=True)
        assert_unchanged(again)


def test_servers_that_are_not_there(tmp_path: Path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(StoreUnavailableError, match=f"127.0.0.1:{port}"):
        KnowledgeBase.open(settings=Settings.load(kb=tmp_path / "a", url=f"http://127.0.0.1:{port}"))
    with pytest.raises(CatalogError, match=f"127.0.0.1:{port}") as caught:
        Catalog.open(Settings.load(database_url=f"postgresql://user:hunter2@127.0.0.1:{port}/rag").catalog)
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize(("line", "said"), [("colour = 3", "colour"), ("top_k = [", "qwen3-rag.toml")], ids=["unknown", "not TOML"])
def test_a_settings_file_that_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str, said: str):
    monkeypatch.chdir(tmp_path)
    Path("qwen3-rag.toml").write_text(line, encoding="utf-8")
    with pytest.raises(ConfigurationError, match=said):
        Settings.load()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 256 MB: the store keeps 64 MB of it free."""
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256m", "tmpfs", str(disk)], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small disk cannot be mounted here; it needs root")
    yield disk
    subprocess.run(["umount", "-l", str(disk)], check=True)


def test_a_full_disk_ends_the_run_and_the_next_one_completes_it(small_disk: Path):
    documents = [Document(id=f"{number:03}", text=f"{OTTER} Number {number}.") for number in range(40)]
    ballast = small_disk / "ballast"
    with KnowledgeBase.open(small_disk / "kb", embedder=HashEmbedder()) as kb:
        kb.ingest(documents[:20])
        ballast.write_bytes(b"x" * (shutil.disk_usage(small_disk).free - 32 * 1024 * 1024))
        with pytest.raises(StoreFullError, match=re.escape(str(small_disk))):
            kb.ingest(documents)
        assert kb.status().documents == 20
        assert kb.search("otter number 7")[0].text.startswith(OTTER)
    ballast.unlink()
    with KnowledgeBase.open(small_disk / "kb", embedder=HashEmbedder()) as kb:
        assert kb.ingest(documents).added == 20
        state = kb.status()
        assert (state.documents, state.chunks, state.points) == (40, 40, 40)


@pytest.mark.parametrize(
    "fields", [{"text": None}, {"title": 5}, {"metadata": [1]}, {"metadata": {"name": "\ud800"}}, {"title": "\ud800"}], ids=str
)
def test_fields_of_the_wrong_kind_fail_alone_and_quietly(kb: KnowledgeBase, fields: dict[str, object], caplog: pytest.LogCaptureFixture):
    report = kb.ingest([Document(**{"id": "a", "text": "text", **fields}), Document(id="b", text="kettle")])  # type: ignore[arg-type]
    assert [item.document_id for item in report.failed] == ["a"]
    assert next(iter(fields)) in (report.failed[0].reason or "")
    assert caplog.records == []
    assert kb.delete("b") == 1
    assert_unchanged(kb)


@pytest.mark.parametrize("sources", [None, 5, "", [""], [{"id": "a"}], [Document(id=5, text="text")]], ids=str)  # type: ignore[arg-type]
def test_what_is_no_source_is_refused(kb: KnowledgeBase, sources: object):
    with pytest.raises(ConfigurationError):
        kb.ingest(sources)  # type: ignore[arg-type]
    assert_unchanged(kb)


@pytest.mark.parametrize("ids", [None, 5, b"a", ["a", 5], [["a"]]], ids=str)
def test_what_is_no_id_deletes_nothing(kb: KnowledgeBase, ids: object):
    with pytest.raises(ConfigurationError, match=r"Ids are strings"):
        kb.delete(ids)  # type: ignore[arg-type]
    with pytest.raises(ConfigurationError, match=r"Ids are strings"):
        kb.passages().delete(ids)  # type: ignore[arg-type]
    assert_unchanged(kb)


@pytest.mark.parametrize("query", [None, ["otter"], "otter \ud800"], ids=["none", "list", "surrogate"])
def test_what_is_no_query_is_refused(kb: KnowledgeBase, query: object):
    with pytest.raises(ConfigurationError, match="query"):
        kb.search(query)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", ["\ud800", {"$in": ["\ud800"]}, {"$gt": float("nan")}, 10**400], ids=ascii)
def test_filter_values_that_no_document_can_have(kb: KnowledgeBase, value: object):
    with pytest.raises(FilterError, match=r"metadata\.name"):
        kb.search("otter", filters={"name": value})


def test_an_integer_larger_than_the_engine_knows_is_a_value_like_any(kb: KnowledgeBase):
    kb.ingest([Document(id="a", text=OTTER, metadata={"n": 2**80})])
    assert [hit.document_id for hit in kb.search("otter", filters={"n": 2**80})] == ["a"]


@pytest.mark.parametrize(
    ("embedder", "dim"), [("nano", None), (HashEmbedder(dim=32), None), (HashEmbedder(), 7)], ids=["other model", "other dim", "dim 7"]
)
def test_reopening_with_another_space(kb: KnowledgeBase, tmp_path: Path, embedder: HashEmbedder | str, dim: int | None):
    with pytest.raises(EmbeddingSpaceError, match=r"hash.*64 dimensions"):
        KnowledgeBase.open(settings=Settings.load(kb=tmp_path / "kb", dim=dim), embedder=embedder)
    assert_unchanged(kb)


def test_an_embedder_of_another_library_is_refused_at_once(tmp_path: Path):
    with pytest.raises(ConfigurationError, match="EmbedderLike"):
        KnowledgeBase.open(tmp_path / "kb", embedder=object())  # type: ignore[arg-type]


def test_a_catalog_that_was_lost(kb: KnowledgeBase, tmp_path: Path, folder: Path):
    """Points without a catalog are found with the model they were made with, and never mixed with new ones."""
    kb.close()
    for file in (tmp_path / "kb").glob("catalog.db*"):
        file.rename(tmp_path / file.name)
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder()) as again:
        with pytest.raises(StoreError, match="knows nothing of"):
            again.ingest(folder)
        assert again.search("otter")[0].text == OTTER
        assert again.status().points == 1
    with pytest.raises(EmbeddingSpaceError):
        KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(revision="2")).search("otter")
    for file in (tmp_path / "kb").glob("catalog.db*"):
        file.unlink()
    for file in tmp_path.glob("catalog.db*"):
        file.rename(tmp_path / "kb" / file.name)
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder()) as again:
        assert_unchanged(again)


@pytest.mark.parametrize("url", ["localhost:6333x", "ftp://localhost"])
def test_a_url_that_is_none(tmp_path: Path, url: str):
    with pytest.raises(ConfigurationError, match="http://localhost:6333"):
        KnowledgeBase.open(settings=Settings.load(kb=tmp_path / "kb", url=url))
    assert not (tmp_path / "kb").exists()


def test_a_list_in_the_environment_that_is_no_list(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("QWEN3_RAG_INCLUDE", "*.md")
    with pytest.raises(ConfigurationError, match="JSON"):
        Settings.load()
    monkeypatch.setenv("QWEN3_RAG_INCLUDE", "")
    assert Settings.load().include == ()
