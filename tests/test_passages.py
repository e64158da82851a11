"""Passages of their own ids, in every kind of place that can be opened."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from qdrant_client import QdrantClient, models

from qwen3_rag import Document, KnowledgeBase, Passage, Passages, Settings
from qwen3_rag.errors import ConfigurationError, DimensionError, EmbeddingSpaceError, StoreError
from qwen3_rag.store import EdgeClient, as_qdrant_client
from qwen3_rag.store.points import embedding_text, passage_point_id
from tests.fakes import HashEmbedder, OverlapReranker

TEXTS = {
    "a": "keys are rotated every ninety days",
    "b": "lunch is served at noon",
    "c": "der Schlüssel wird alle neunzig Tage getauscht",
    "x/y?z=1#ü": "odd ids are welcome",
}


@pytest.fixture(params=["folder", "memory", "client", "knowledge-base"])
def passages(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Passages]:
    models = {"embedder": HashEmbedder(), "reranker": OverlapReranker()}
    match request.param:
        case "folder":
            with Passages.open(tmp_path / "kb", **models) as opened:
                yield opened
        case "memory":
            with Passages.open(":memory:", **models) as opened:
                yield opened
        case "client":
            client = QdrantClient(":memory:")
            with Passages.open(client, **models) as opened:
                yield opened
            client.close()
        case _:
            with KnowledgeBase.open(tmp_path / "kb", **models) as kb, Passages.open(kb) as opened:
                yield opened


def filled(passages: Passages) -> Passages:
    assert passages.put(Passage(key, text, {"length": len(text)}, extra={"kept": key}) for key, text in TEXTS.items()) == list(TEXTS)
    return passages


def test_nothing_is_there_at_first(passages: Passages):
    assert passages.search("keys") == []
    assert passages.search_diverse("keys") == []
    assert passages.get(["a"]) == []
    assert list(passages.select()) == []
    assert passages.count() == 0
    passages.delete(["a"])
    passages.clear()


def test_put_get_and_find(passages: Passages):
    filled(passages)
    hits = passages.get(["b", "nowhere", "x/y?z=1#ü"])
    assert [hit.id for hit in hits] == ["b", "x/y?z=1#ü"]
    assert hits[0].text == TEXTS["b"]
    assert hits[0].metadata == {"length": len(TEXTS["b"])}
    assert hits[0].extra == {"kept": "b"}
    assert hits[0].document_id == "b"
    assert passages.search("when are keys rotated", top_k=1)[0].id == "a"


def test_putting_again_replaces(passages: Passages):
    filled(passages).put([Passage("a", "something else entirely")])
    assert passages.count() == len(TEXTS)
    [hit] = passages.get(["a"])
    assert (hit.text, hit.metadata, hit.extra) == ("something else entirely", {}, {})


def test_of_one_id_given_twice_the_last_counts(passages: Passages):
    assert passages.put([Passage("a", "first"), Passage("b", "other"), Passage("a", "last")]) == ["a", "b", "a"]
    assert [hit.text for hit in passages.get(["a", "b"])] == ["last", "other"]


def test_delete_by_id_and_by_filter(passages: Passages):
    filled(passages).delete(["a", "nowhere"])
    assert passages.count() == 3
    passages.delete_where({"length": {"$lt": 21}})
    assert {hit.id for hit in passages.select()} == {"b", "c"}
    with pytest.raises(ConfigurationError, match="clear"):
        passages.delete_where({})
    passages.clear()
    assert passages.count() == 0


@pytest.mark.parametrize("filters", [None, {}, {"$and": []}, {"$and": [{}, {"$and": []}]}], ids=str)
def test_deleting_by_a_filter_of_nothing_is_refused(filters: Any):
    with Passages.open(":memory:", embedder=HashEmbedder(), reranker="off") as passages:
        filled(passages)
        with pytest.raises(ConfigurationError, match="needs a filter"):
            passages.delete_where(filters)
        assert passages.count() == len(TEXTS)
        passages.delete_where({"$and": [{}, {"length": {"$gt": 0}}]})
        assert passages.count() == 0


def test_filters_see_ids_and_metadata(passages: Passages):
    filled(passages)
    assert passages.count({"passage_id": ["a", "c"]}) == 2
    assert [hit.id for hit in passages.search("keys", filters={"length": len(TEXTS["b"])})] == ["b"]


def test_select_has_no_limit(passages: Passages):
    passages.put(Passage(f"n{i}", f"number {i}") for i in range(300))
    assert len({hit.id for hit in passages.select()}) == 300


def test_replace_leaves_only_the_new_version(passages: Passages):
    filled(passages)
    passages.replace("doc", [Passage("d1", "old one"), Passage("d2", "old two"), Passage("d3", "old three")])
    assert passages.replace("doc", [Passage("d2", "new two"), Passage("d4", "new four")]) == ["d2", "d4"]
    assert {hit.id: hit.text for hit in passages.select({"document_id": "doc"})} == {"d2": "new two", "d4": "new four"}
    assert passages.count() == len(TEXTS) + 2


def test_vectors_that_are_known(passages: Passages):
    vectors = HashEmbedder().embed_documents(["zebra", "apple"])
    passages.put([Passage("1", "text without meaning"), Passage("2", "text without meaning")], vectors)
    near = passages.search("zebra", mode="dense", rerank=False, vector=vectors[0].tolist())
    assert [hit.id for hit in near] == ["1", "2"]
    assert near[0].score == pytest.approx(1.0, abs=1e-3)
    with pytest.raises(DimensionError, match="3 dimensions"):
        passages.put([Passage("3", "x")], [[1.0, 0.0, 0.0]])
    with pytest.raises(ValueError, match="zip"):
        passages.put([Passage("3", "x")], [])


async def test_by_vector_without_words(passages: Passages):
    filled(passages)
    [vector] = HashEmbedder().embed_queries(["lunch noon"]).tolist()
    [hit] = passages.search(None, mode="dense", rerank=False, vector=vector, top_k=1)
    assert hit.id == "b"
    assert await passages.asearch(None, mode="dense", rerank=False, vector=vector, top_k=1) == [hit]
    assert passages.vectors([hit.point_id])[hit.point_id] == pytest.approx(
        HashEmbedder().embed_documents([TEXTS["b"]])[0].tolist(), abs=1e-5
    )
    assert passages.vectors([str(uuid.uuid4())]) == {}
    for words_needed in ({"mode": "dense", "rerank": False}, {"mode": "dense", "vector": vector}, {"vector": vector, "rerank": False}):
        with pytest.raises(ConfigurationError, match="query"):
            passages.search(None, **words_needed)
        with pytest.raises(ConfigurationError, match="query"):
            await passages.asearch(None, **words_needed)


def test_client_and_collection_are_those_searched(passages: Passages):
    filled(passages)
    assert passages.client.count(passages.collection).count == len(TEXTS)


def test_diverse_by_vector_or_text(passages: Passages):
    passages.put([Passage("1", "red apple"), Passage("2", "red apple"), Passage("3", "red car"), Passage("4", "blue sky")])
    relevant = passages.search_diverse("red apple", top_k=2, lambda_mult=1.0)
    assert [hit.text for hit in relevant] == ["red apple", "red apple"]
    diverse = passages.search_diverse(None, top_k=2, lambda_mult=0.0, vector=HashEmbedder().embed_queries(["red apple"])[0].tolist())
    assert diverse[0].text == "red apple"
    assert diverse[1].text == "blue sky"
    with pytest.raises(ConfigurationError, match="lambda_mult"):
        passages.search_diverse("red", lambda_mult=1.5)


async def test_diverse_async(passages: Passages):
    filled(passages)
    for asked in ({"query": "keys"}, {"query": None, "vector": HashEmbedder().embed_queries(["keys"])[0].tolist()}):
        assert await passages.asearch_diverse(**asked, top_k=3) == passages.search_diverse(**asked, top_k=3)
    with pytest.raises(ConfigurationError, match="empty"):
        await passages.asearch_diverse(" ")


async def test_async(passages: Passages):
    await passages.aput([Passage(key, text) for key, text in TEXTS.items()])
    found = await asyncio.gather(*(passages.asearch(text, top_k=1) for text in TEXTS.values()))
    assert [hits[0].id for hits in found] == list(TEXTS)
    await passages.areplace("a", [Passage("a", "brand new")])
    assert passages.get(["a"])[0].text == "brand new"


@pytest.mark.parametrize("bad", ["", None, 7])
def test_ids_are_text(passages: Passages, bad: object):
    with pytest.raises(ConfigurationError, match="id is text"):
        passages.put([Passage(bad, "x")])  # type: ignore[arg-type]


def test_metadata_that_json_cannot_hold(passages: Passages):
    with pytest.raises(ConfigurationError, match="passage 'a'"):
        passages.put([Passage("a", "x", {"socket": object()})])
    assert passages.count() == 0


def test_dense_weight_zero_is_lexical(passages: Passages):
    filled(passages)
    hits = passages.search("lunch noon", dense_weight=0.0, rerank=False)
    assert hits[0].id == "b"
    assert [hit.stages["fused"].score for hit in hits if hit.stages.get("lexical") is None] == pytest.approx(
        [hits[-1].stages["fused"].score] * (len(hits) - 1)
    )


def test_vectors_of_any_other_width_are_refused(passages: Passages):
    with pytest.raises(DimensionError, match="3 dimensions do not fit a collection of 64"):
        passages.put([Passage("a", "x"), Passage("b", "y")], [[0.1] * 64, [0.1] * 3])
    assert passages.count() == 0


async def test_a_query_vector_of_another_width_is_refused(passages: Passages):
    assert passages.search(None, vector=[0.1] * 3, mode="dense", rerank=False) == []  # there is nothing it could not fit
    filled(passages)
    asked = {"vector": [0.1] * 3, "mode": "dense", "rerank": False}
    for _ in range(2):
        with pytest.raises(DimensionError, match="3 dimensions does not fit a collection of"):
            passages.search(None, **asked)
        with pytest.raises(DimensionError, match="Embed the query with that model and dim"):
            await passages.asearch_diverse(None, vector=[0.1] * 3)
        assert passages.search(None, vector=[0.1] * 64, mode="dense", rerank=False)


def test_an_empty_query_with_its_vector(passages: Passages):
    filled(passages)
    vector = HashEmbedder().embed_queries(["lunch at noon"])[0].tolist()
    assert passages.search("", vector=vector, mode="dense", rerank=False, top_k=1)[0].id == "b"
    with pytest.raises(ConfigurationError, match="empty"):
        passages.search("", vector=vector)


def test_an_open_knowledge_base_takes_no_models(tmp_path: Path):
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker="off") as kb, pytest.raises(ConfigurationError):
        Passages.open(kb, embedder="nano")


def test_a_client_of_another_space_is_refused():
    client = QdrantClient(":memory:")
    with Passages.open(client, embedder=HashEmbedder(), reranker="off") as passages:
        filled(passages)
    with pytest.raises(EmbeddingSpaceError):
        Passages.open(client, embedder=HashEmbedder(revision="2"), reranker="off")


def test_beside_ingested_documents(tmp_path: Path):
    """Both are found together; neither an ingest nor a deletion of the one touches the other; the counts agree."""
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker="off") as kb:
        kb.ingest([Document("doc", "ingested words about elephants")])
        passages = filled(kb.passages())
        assert {hit.id for hit in kb.search("elephants keys lunch")} >= {"a", "b"}
        [chunk] = [hit for hit in kb.search("elephants") if hit.passage_id is None]
        assert passages.get([chunk.id])[0].text == "ingested words about elephants"

        passages.put([Passage(chunk.id, "a passage under the id of a chunk's point")])
        assert kb.status().to_dict() | {"chunks": 1, "points": 1, "passages": 5} == kb.status().to_dict()
        assert passages.get([chunk.id])[0].text.startswith("a passage under")
        passages.delete([chunk.id, chunk.id])
        assert passages.get([chunk.id])[0].text == "ingested words about elephants"

        kb.ingest([Document("doc", "ingested anew")], force=True)
        assert passages.count({"passage_id": {"$exists": True}}) == len(TEXTS)
        passages.clear()
        assert kb.status().points == kb.status().chunks == 1
        assert kb.status().passages == 0


def test_languages_are_those_of_the_store(tmp_path: Path):
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker="off") as kb:
        filled(kb.passages())
        trace = kb.search("der Schlüssel wird getauscht", explain=True).trace
        assert trace is not None
        assert trace.language == "de"


async def test_a_lost_store_is_no_empty_answer(tmp_path: Path):
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker="off") as kb:
        kb.ingest([Document("doc", "keys are rotated")])
        kb._client.delete_collection(kb.passages().collection)
        for search in (kb.search, kb.passages().search, kb.passages().search_diverse):
            with pytest.raises(StoreError, match="anew"):
                search("keys")
        for asearch in (kb.asearch, kb.passages().asearch, kb.passages().asearch_diverse):
            with pytest.raises(StoreError, match="anew"):
                await asearch("keys")


def test_the_reranker_reads_what_was_embedded(tmp_path: Path):
    reranker = OverlapReranker()
    with Passages.open(tmp_path / "kb", embedder=HashEmbedder(), reranker=reranker) as passages:
        passages.put(
            [Passage("a", "The limit is 500 EUR.", embed_as="title: travel expenses\n\nThe limit is 500 EUR."), Passage("b", "Travel")]
        )
        hits = passages.search("travel expenses limit")
    assert sorted(reranker.scored) == ["Travel", "title: travel expenses\n\nThe limit is 500 EUR."]
    assert [(hit.id, hit.text) for hit in hits] == [("a", "The limit is 500 EUR."), ("b", "Travel")]


@pytest.mark.parametrize("embed_as", ["a: b\n\nthe text", "the text, and more", "of something else", "", None, "the text"])
def test_what_was_embedded_is_given_back_and_not_stored_twice(tmp_path: Path, embed_as: str | None):
    with Passages.open(tmp_path / "kb", embedder=HashEmbedder(), reranker="off") as passages:
        passages.put([Passage("a", "the text", embed_as=embed_as)])
        [hit] = passages.get(["a"])
        assert embedding_text(hit) == ("the text" if embed_as is None else embed_as)
        [record] = passages.client.retrieve(passages.collection, [hit.point_id])
    assert str(record.payload).count("the text") == 1


def test_a_knowledge_base_over_a_client_that_passages_filled(tmp_path: Path):
    client = QdrantClient(":memory:")
    with Passages.open(client, embedder=HashEmbedder(), reranker="off") as passages:
        filled(passages)
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker="off", client=client) as kb:
        assert kb.search("lunch at noon")[0].id == "b"
        kb.ingest([Document("doc", "now it also has documents")])
        assert (kb.status().points, kb.status().passages) == (1, len(TEXTS))


def test_the_embedders_name_needs_no_embedder(passages: Passages, tmp_path: Path):
    assert passages.embedder_name == "hash"
    with Passages.open(tmp_path / "other", embedder="no/such-model") as unloaded:
        assert unloaded.embedder_name == "no/such-model"


def test_many_put_the_first_passage_at_once(passages: Passages):
    together = threading.Barrier(16)

    def put(number: int) -> None:
        together.wait()
        passages.put([Passage(str(number), f"text {number}")])

    with ThreadPoolExecutor(16) as threads:
        for done in [threads.submit(put, number) for number in range(16)]:
            done.result()
    assert passages.count() == 16


def test_many_write_and_search_at_once(passages: Passages):
    """No error, and each passage has its own vector."""
    filled(passages)
    texts = {f"p{number}": f"number {number}" for number in range(60)}

    def put_and_search(key: str) -> None:
        passages.put([Passage(key, texts[key])])
        assert passages.search("number", rerank=False)

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(put_and_search, texts))
    hits = passages.get(list(texts))
    assert [hit.text for hit in hits] == list(texts.values())
    vectors = passages.vectors([hit.point_id for hit in hits])
    expected = HashEmbedder().embed_documents(list(texts.values()))
    assert np.allclose([vectors[hit.point_id] for hit in hits], expected, atol=1e-6)


def test_two_make_the_same_collection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """As two processes do on a server: both see none, one is faster."""
    edge = EdgeClient(str(tmp_path / "store"))
    clients = [as_qdrant_client(edge), as_qdrant_client(edge)]
    first, second = (Passages.open(client, embedder=HashEmbedder(), reranker="off") for client in clients)
    first.put([Passage("a", "text")])
    answers = iter([False])
    exists = clients[1].collection_exists
    monkeypatch.setattr(clients[1], "collection_exists", lambda name: next(answers, None) is None and exists(name))
    second.put([Passage("b", "text")])
    assert first.count() == 2
    for client in (*clients, edge):
        client.close()


def test_collection_of_the_settings():
    client = QdrantClient(":memory:")
    settings = Settings.load(collection="mine")
    with Passages.open(client, embedder=HashEmbedder(), reranker="off", settings=settings) as passages:
        passages.put([Passage(str(uuid.uuid4()), "text")])
    assert client.count("mine").count == 1


def test_what_an_ingest_hides_is_not_read_either(tmp_path: Path):
    """While a batch is being written, its chunks are in the store in two versions, one of which nobody may meet."""
    with KnowledgeBase.open(tmp_path / "kb", embedder=HashEmbedder(), reranker="off") as kb:
        kb.ingest([Document("doc", "the only version"), Document("other", "something else")])
        passages = kb.passages()
        [chunk] = kb.search("only version", top_k=1)
        kb._visibility.hide([chunk.point_id])
        assert passages.get([chunk.point_id]) == []
        assert [hit.document_id for hit in passages.select()] == ["other"]
        assert passages.count() == 1
        kb._visibility.show([chunk.point_id])
        assert passages.count() == 2


def test_a_string_is_one_id_and_not_its_letters(passages: Passages):
    passages.put([Passage("1", "one"), Passage("2", "two"), Passage("12", "twelve")])
    assert [hit.passage_id for hit in passages.get("12")] == ["12"]
    passages.delete("12")
    assert sorted(hit.passage_id for hit in passages.select()) == ["1", "2"]


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"metadata": {"price": float("nan")}}, r"'price' of passage 'p' is nan.*None"),
        ({"metadata": {"deep": {"er": [1.0, float("-inf")]}}}, r"'deep.er' of passage 'p' is -inf"),
        ({"metadata": {"name": "\ud800"}}, r"metadata 'name' of passage 'p' is not valid Unicode"),
        ({"metadata": {"\ud800": 1}}, r"metadata of passage 'p' cannot be stored.*surrogates not allowed"),
        ({"text": "bad \ud800"}, r"text of passage 'p' is not valid Unicode: a lone surrogate at character 4"),
        ({"id": "\ud800"}, r"id of passage .* is not valid Unicode"),
        ({"headings": ("\ud800",)}, r"heading of passage 'p' is not valid Unicode"),
        ({"text": None}, r"passage 'p': its text is not a string"),
        ({"extra": {"kept": float("inf")}}, r"'kept' of passage 'p' is inf"),
    ],
)
def test_what_cannot_be_stored_is_named_before_anything_is_written(passages: Passages, bad: dict[str, Any], said: str):
    with pytest.raises(ConfigurationError, match=f"(?i){said}"):
        passages.put([Passage("good", "good"), Passage(**({"id": "p", "text": "text"} | bad))])
    assert passages.count() == 0


def test_options_are_checked_where_nothing_is_there_yet(passages: Passages):
    for options in ({"top_k": -1}, {"mode": "nonsense"}, {"recall_threshold": "x"}, {"dense_weight": True}, {"instruction": 5}):
        with pytest.raises(ConfigurationError, match=next(iter(options))):
            passages.search("keys", **options)
    with pytest.raises(ConfigurationError, match="empty"):
        passages.search("")
    assert passages.search("keys", explain=True).trace.steps[-1].returned == 0


def test_many_ids_and_a_filter_are_asked_for_in_parts(passages: Passages, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("qwen3_rag.passages.PAGE", 4)
    passages.put([Passage(str(number), f"text {number}", {"even": number % 2 == 0}) for number in range(24)])
    wanted = models.HasIdCondition(has_id=[passage_point_id(str(number)) for number in range(4, 24)])
    asked: list[int] = []
    scroll = passages.client.scroll

    def counting(*args: Any, **options: Any) -> Any:
        asked.append(1)
        return scroll(*args, **options)

    monkeypatch.setattr(passages.client, "scroll", counting)
    even = models.FieldCondition(key="metadata.even", match=models.MatchValue(value=True))
    found = list(passages.select(models.Filter(must=[wanted, even])))
    assert sorted(int(hit.passage_id) for hit in found) == list(range(4, 24, 2))
    assert [hit.point_id for hit in found] == sorted(hit.point_id for hit in found)
    assert len(asked) == 1  # the long list goes over once
