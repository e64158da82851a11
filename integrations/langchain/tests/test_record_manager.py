"""`Qwen3RecordManager` with LangChain's `index` and `aindex`: every cleanup mode with every key encoder, sync and async."""

from __future__ import annotations

import asyncio
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.documents import Document
from langchain_core.indexing import aindex, index

from langchain_qwen3_rag import Qwen3RecordManager, Qwen3VectorStore
from qwen3_rag import KnowledgeBase, Settings
from qwen3_rag.catalog import Catalog
from tests.fakes import HashEmbedder

ENCODERS: dict[str, Any] = {
    "sha1": "sha1", "sha256": "sha256", "sha512": "sha512", "blake2b": "blake2b",
    "callable": lambda document: f"{document.metadata['source']}#{document.page_content}",
}  # fmt: skip
Index = Callable[..., dict[str, int]]


@pytest.fixture(scope="module")
def kb(tmp_path_factory: pytest.TempPathFactory) -> Iterator[KnowledgeBase]:
    with KnowledgeBase.open(tmp_path_factory.mktemp("records"), embedder=HashEmbedder(), reranker="off") as kb:
        yield kb


@pytest.fixture
def store(kb: KnowledgeBase) -> Iterator[Qwen3VectorStore]:
    yield Qwen3VectorStore(kb)
    Qwen3VectorStore(kb).delete()


@pytest.fixture
def records(kb: KnowledgeBase, request: pytest.FixtureRequest) -> Qwen3RecordManager:
    return Qwen3RecordManager(request.node.name, kb)


@pytest.fixture(params=["sync", "async"])
def run(request: pytest.FixtureRequest, records: Qwen3RecordManager, store: Qwen3VectorStore) -> Index:
    def run(documents: list[Document], **options: Any) -> dict[str, int]:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Using SHA-1")
            if request.param == "sync":
                return dict(index(documents, records, store, source_id_key="source", **options))
            return dict(asyncio.run(aindex(documents, records, store, source_id_key="source", **options)))

    return run


def documents(*texts: str) -> list[Document]:
    return [Document(text, metadata={"source": text.split()[0]}) for text in texts]


def counts(added: int = 0, updated: int = 0, skipped: int = 0, deleted: int = 0) -> dict[str, int]:
    return {"num_added": added, "num_updated": updated, "num_skipped": skipped, "num_deleted": deleted}


def held(store: Qwen3VectorStore) -> set[str]:
    return {hit.text for hit in store.passages.select()}


@pytest.mark.parametrize("encoder", ENCODERS)
@pytest.mark.parametrize(
    ("cleanup", "deleted", "left"),
    [
        (None, 0, {"a one", "a two", "a new", "b one", "c one"}),
        ("incremental", 1, {"a one", "a new", "b one", "c one"}),
        ("scoped_full", 1, {"a one", "a new", "b one", "c one"}),
        ("full", 2, {"a one", "a new", "b one"}),
    ],
    ids=["none", "incremental", "scoped_full", "full"],
)
def test_incremental_indexing(run: Index, store: Qwen3VectorStore, encoder: str, cleanup: Any, deleted: int, left: set[str]):
    """`a two` became `a new`, and `c` is not among the documents of the second run."""
    options = {"cleanup": cleanup, "key_encoder": ENCODERS[encoder]}
    first = documents("a one", "a two", "b one", "c one")
    assert run(first, **options) == counts(added=4)
    assert run(first, **options) == counts(skipped=4)
    assert run(documents("a one", "a new", "b one"), **options) == counts(added=1, skipped=2, deleted=deleted)
    assert held(store) == left
    assert run(documents("a one", "a new", "b one"), **options) == counts(skipped=3)
    assert held(store) == left


def test_small_batches_and_forced_updates(run: Index, store: Qwen3VectorStore):
    options: dict[str, Any] = {"cleanup": "full", "key_encoder": "sha256", "batch_size": 2, "cleanup_batch_size": 1}
    many = documents(*(f"s{number % 3} text {number}" for number in range(7)))
    assert run(many, **options) == counts(added=7)
    assert run(many, force_update=True, **options) == counts(updated=7)
    assert run(many[:2], **options) == counts(skipped=2, deleted=5)
    assert held(store) == {"s0 text 0", "s1 text 1"}
    assert run([], **options) == counts(deleted=2)


def test_nothing_is_embedded_twice(records: Qwen3RecordManager, tmp_path: Path):
    embedder = HashEmbedder()
    with Qwen3VectorStore(tmp_path / "kb", embedder) as store:
        for _ in range(2):
            index(documents("a one", "b two"), records, store, key_encoder="sha256")
    assert embedder.embedded == ["a one", "b two"]


def test_a_cut_off_refresh_keeps_the_groups(records: Qwen3RecordManager):
    """`index` stamps known keys without their groups first, and with them later."""
    records.update(["k"], group_ids=["a"])
    records.update(["k"])
    assert records.list_keys(group_ids=["a"]) == ["k"]


async def test_every_method_sync_and_async(records: Qwen3RecordManager):
    records.create_schema()
    await records.acreate_schema()
    start = await records.aget_time()
    assert start == pytest.approx(time.time(), abs=5)
    await records.aupdate(["a", "b"], group_ids=["g", None], time_at_least=start)
    assert await records.aexists(["a", "x"]) == records.exists(["a", "x"]) == [True, False]
    later = records.get_time()
    assert later > start
    assert await records.alist_keys(before=later, group_ids=["g"], limit=5) == records.list_keys(group_ids=["g"]) == ["a"]
    assert records.list_keys(after=later) == records.list_keys(group_ids=[]) == []
    await records.adelete_keys(["a"])
    records.delete_keys(["b"])
    assert records.list_keys() == []
    with pytest.raises(ValueError, match="group ids"):
        records.update(["a"], group_ids=[])
    with pytest.raises(ValueError, match="ahead of the catalog's clock"):
        await records.aupdate(["a"], time_at_least=start + 3600)


def test_places(tmp_path: Path):
    with Qwen3RecordManager("ns", tmp_path / "kb") as records:
        records.update(["a"])
    with KnowledgeBase.open(tmp_path / "kb", embedder="nano") as kb:
        assert Qwen3RecordManager("ns", kb).exists(["a"]) == [True]
        with Qwen3RecordManager("ns", kb.catalog) as records:
            assert records.list_keys() == ["a"]
        assert Qwen3RecordManager("ns", kb).exists(["a"]) == [True]
    settings = Settings.load(database_url=f"sqlite:///{tmp_path / 'other.db'}")
    with Qwen3RecordManager("ns", settings=settings) as records:
        assert records.list_keys() == []
    with Catalog.open(settings.catalog) as catalog:
        assert Qwen3RecordManager("ns", catalog).list_keys() == []


def test_beside_the_store_of_the_same_folder(tmp_path: Path):
    with Qwen3VectorStore(tmp_path / "kb", HashEmbedder()) as store, Qwen3RecordManager("ns", tmp_path / "kb") as records:
        assert dict(index(documents("a one"), records, store, key_encoder="sha256", cleanup="full")) == counts(added=1)
        assert dict(index(documents("a two"), records, store, key_encoder="sha256", cleanup="full")) == counts(added=1, deleted=1)
        assert held(store) == {"a two"}
