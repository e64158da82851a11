"""What LangChain's suite does not ask of a vector store: ids, scores, diversity, modes, places, and what is shared with the core."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from langchain_core.documents import Document
from langchain_core.embeddings import DeterministicFakeEmbedding
from langchain_core.load import dumpd
from qdrant_client import AsyncQdrantClient, QdrantClient

from integrations.langchain.tests.fakes import InstructedEmbedder
from langchain_qwen3_rag import Qwen3Embeddings, Qwen3Reranker, Qwen3VectorStore
from qwen3_rag import Document as SourceDocument
from qwen3_rag import Embedder, KnowledgeBase, Passage, Passages, Settings
from qwen3_rag.errors import ConfigurationError, DimensionError, EmbeddingSpaceError
from tests.fakes import HashEmbedder, OverlapReranker

TEXTS = {"a": "keys are rotated every ninety days", "b": "lunch is served at noon", "c/1?x#ü": "the vault opens with two keys"}
Open = Callable[..., Qwen3VectorStore]


def filled(store: Qwen3VectorStore) -> Qwen3VectorStore:
    metadatas = [{"length": len(text), "nested": {"list": [1, "two", None]}} for text in TEXTS.values()]
    assert store.add_texts(list(TEXTS.values()), metadatas, ids=list(TEXTS)) == list(TEXTS)
    return store


def ids(found: list[Document]) -> list[str | None]:
    return [document.id for document in found]


def test_any_text_is_an_id_and_metadata_comes_back_untouched(store: Qwen3VectorStore):
    filled(store)
    [found] = store.get_by_ids(["c/1?x#ü"])
    assert found == Document(
        id="c/1?x#ü", page_content=TEXTS["c/1?x#ü"], metadata={"length": len(TEXTS["c/1?x#ü"]), "nested": {"list": [1, "two", None]}}
    )
    assert store.similarity_search("the vault", k=1) == [found]
    assert ids(store.get_by_ids(["b", "nowhere", "a", "b"])) == ["b", "a"]


def test_ids_in_every_way_they_can_be_given(store: Qwen3VectorStore):
    assert store.add_documents([Document("one", id="own")], ids=["given"]) == ["given"]
    assert store.add_documents([Document("one", id="own"), Document("two", id="other")], ids=[None, "given"]) == ["own", "given"]
    own, random = store.add_documents([Document("one", id="own"), Document("two")])
    assert own == "own"
    assert len(random) == 36
    assert store.add_texts(["x", "y"], ids=["k", None])[0] == "k"
    with pytest.raises(ValueError, match="2 texts but 1 ids"):
        store.add_texts(["x", "y"], ids=["k"])
    with pytest.raises(ValueError, match="2 texts but 1 metadatas"):
        store.add_texts(["x", "y"], [{}])
    with pytest.raises(ConfigurationError, match="id is text"):
        store.add_texts(["x"], ids=[""])
    assert store.add_texts([]) == []


def test_texts_may_be_an_iterator_and_are_embedded_as_they_are(open_store: Open):
    embedder = HashEmbedder()
    store = open_store(embedding=embedder)
    store.add_texts((text for text in ["one", "two"]), [{"title": "T", "source": "s.md"}] * 2)
    assert embedder.embedded == ["one", "two"]


def test_scores_are_those_that_order(store: Qwen3VectorStore):
    filled(store)
    for options in ({}, {"mode": "dense"}, {"mode": "lexical"}, {"rerank": True}):
        found = store.similarity_search_with_score("keys rotated", k=3, **options)
        scores = [score for _, score in found]
        assert scores == sorted(scores, reverse=True)
        assert found[0][0].id == "a"
    assert store.similarity_search_with_score("keys rotated", k=1, rerank=True)[0][1] == 1.0


def test_a_blended_order_keeps_the_rerankers_scores(store: Qwen3VectorStore):
    filled(store)
    reranked = store.similarity_search_with_score("keys noon", k=3, rerank=True)
    by_recall = store.similarity_search_with_score("keys noon", k=3, rerank=True, rerank_weight=0.0)
    assert [document.id for document, _ in by_recall] == ids(store.similarity_search("keys noon", k=3))
    assert {document.id: score for document, score in by_recall} == {document.id: score for document, score in reranked}


def test_relevance_is_the_cosine_or_the_rerankers_probability(store: Qwen3VectorStore):
    filled(store)
    query = HashEmbedder().embed_queries(["keys"])[0]
    for options in ({}, {"mode": "dense"}):
        for document, relevance in store.similarity_search_with_relevance_scores("keys", k=3, **options):
            cosine = float(query @ HashEmbedder().embed_documents([document.page_content])[0])
            assert relevance == pytest.approx(min(max(cosine, 0.0), 1.0), abs=1e-3)
    reranked = store.similarity_search_with_relevance_scores("keys noon", k=3, rerank=True)
    assert {document.id: score for document, score in reranked} == {"a": 0.5, "b": 0.5, "c/1?x#ü": 0.5}
    assert store.similarity_search_with_relevance_scores("zebra", k=3, rerank=True, score_threshold=0.1) == []
    with pytest.raises(ConfigurationError, match="mode='dense'"):
        store.similarity_search_with_relevance_scores("keys", mode="lexical")


@pytest.mark.parametrize("option", ["rerank_threshold", "rerank_weight", "rerank_deadline"])
async def test_an_option_of_reranking_needs_reranking(store: Qwen3VectorStore, option: str):
    filled(store)
    for given in ({}, {"rerank": False}):
        with pytest.raises(ConfigurationError, match=rf"{option} needs rerank=True"):
            store.similarity_search("keys", **given, **{option: 0.9})
        with pytest.raises(ConfigurationError, match=rf"{option} needs rerank=True"):
            await store.asimilarity_search_with_score("keys", **given, **{option: 0.9})
    for rerank in (True, None):  # None reranks where there is a reranker
        assert store.similarity_search("keys", rerank=rerank, **{option: 0.9})[0].id in TEXTS
    assert len(store.similarity_search("keys", **{option: None})) == 3


def test_thresholds_of_a_plain_search(store: Qwen3VectorStore):
    filled(store)
    assert ids(store.similarity_search("keys rotated", rerank=True, score_threshold=0.6)) == ["a"]
    assert store.similarity_search("keys", mode="dense", score_threshold=2.0) == []
    assert ids(store.as_retriever(search_type="similarity_score_threshold", search_kwargs={"score_threshold": 0.6}).invoke(TEXTS["b"])) == [
        "b"
    ]


def test_k_is_any_number(store: Qwen3VectorStore):
    filled(store)
    assert len(store.similarity_search("keys", k=2)) == 2
    assert len(store.similarity_search("keys", k=500)) == 3
    with pytest.raises(ConfigurationError, match="top_k"):
        store.similarity_search("keys", k=0)


def test_by_vector(store: Qwen3VectorStore):
    filled(store)
    vector = store.embeddings.embed_query(TEXTS["b"])
    [(best, score), *others] = store.similarity_search_with_score_by_vector(vector, k=3)
    assert best.id == "b"
    assert score == pytest.approx(1.0, abs=1e-3)
    assert [document.id for document, _ in others] == ids(store.similarity_search_by_vector(vector, k=3))[1:]
    assert ids(store.similarity_search_by_vector(vector, k=3, filter={"length": len(TEXTS["a"])})) == ["a"]
    for search in (store.similarity_search_by_vector, store.max_marginal_relevance_search_by_vector):
        with pytest.raises(DimensionError, match=r"3 dimensions does not fit a collection of .* Embed the query with"):
            search([1.0, 0.0, 0.0])


def test_diversity_has_the_right_direction(store: Qwen3VectorStore):
    store.add_texts(["red apple", "red apple pie", "red car", "blue sky"], ids=["1", "2", "3", "4"])
    relevant = store.max_marginal_relevance_search("red apple", k=2, fetch_k=4, lambda_mult=1.0)
    diverse = store.max_marginal_relevance_search("red apple", k=2, fetch_k=4, lambda_mult=0.0)
    assert ids(relevant) == ["1", "2"]
    assert ids(diverse) == ["1", "4"]
    vector = store.embeddings.embed_query("red apple")
    assert store.max_marginal_relevance_search_by_vector(vector, k=2, fetch_k=4, lambda_mult=0.0) == diverse
    assert ids(store.as_retriever(search_type="mmr", search_kwargs={"k": 2, "lambda_mult": 0.0}).invoke("red apple")) == ["1", "4"]
    assert len(store.max_marginal_relevance_search("red", k=4, fetch_k=1)) == 4


async def test_async_gives_the_same(open_store: Open):
    store = open_store()
    await store.aadd_texts(list(TEXTS.values()), ids=list(TEXTS))
    assert await store.asimilarity_search("keys") == store.similarity_search("keys")
    assert await store.asimilarity_search_with_score("keys", rerank=True) == store.similarity_search_with_score("keys", rerank=True)
    relevance = await store.asimilarity_search_with_relevance_scores("keys")
    assert relevance == store.similarity_search_with_relevance_scores("keys")
    vector = await store.embeddings.aembed_query("keys")
    assert await store.asimilarity_search_by_vector(vector) == store.similarity_search_by_vector(vector)
    assert await store.amax_marginal_relevance_search("keys") == store.max_marginal_relevance_search("keys")
    by_vector = await store.amax_marginal_relevance_search_by_vector(vector, lambda_mult=0.1)
    assert by_vector == store.max_marginal_relevance_search_by_vector(vector, lambda_mult=0.1)
    assert await store.aget_by_ids(["a"]) == store.get_by_ids(["a"])
    assert await store.asearch("keys", "mmr") == store.search("keys", "mmr")
    assert await store.adelete(["a"]) is True
    assert await store.aget_by_ids(["a"]) == []


def test_delete(store: Qwen3VectorStore):
    filled(store)
    assert store.delete(["a", "nowhere"]) is True
    assert store.delete([]) is True
    assert ids(store.get_by_ids(list(TEXTS))) == ["b", "c/1?x#ü"]
    assert store.delete(filter={"length": {"$lt": 25}}) is True
    assert ids(store.get_by_ids(list(TEXTS))) == ["c/1?x#ü"]
    with pytest.raises(ConfigurationError, match="not by both"):
        store.delete(["a"], filter={"length": 1})
    with pytest.raises(ConfigurationError, match="empty filter deletes nothing"):
        store.delete(filter={})
    assert store.delete() is True
    assert store.get_by_ids(list(TEXTS)) == []


def test_what_is_not_known_is_refused(store: Qwen3VectorStore):
    filled(store)
    with pytest.raises(TypeError, match="search_params"):
        store.similarity_search("keys", search_params={})
    for call in (store.similarity_search_by_vector, store.max_marginal_relevance_search_by_vector):
        with pytest.raises(ConfigurationError, match="offset"):
            call([1.0] * 64, offset=3)
    with pytest.raises(ConfigurationError, match="namespace"):
        store.add_texts(["x"], namespace="n")


@pytest.mark.parametrize(("name", "instead"), [("filters", "filter"), ("top_k", "k")])
async def test_the_cores_names_are_refused_by_the_name_to_write(store: Qwen3VectorStore, name: str, instead: str):
    """A filter that is passed over would show one tenant what belongs to another."""
    filled(store)
    given, vector = {name: {"length": 1} if name == "filters" else 1}, [1.0] * 64
    for search in (
        store.similarity_search,
        store.similarity_search_with_score,
        store.similarity_search_with_relevance_scores,
        store.max_marginal_relevance_search,
    ):
        with pytest.raises(ConfigurationError, match=rf"{instead}=… instead of {name}=…"):
            search("keys", **given)
        with pytest.raises(ConfigurationError, match=rf"{instead}=… instead of {name}=…"):
            await getattr(store, f"a{search.__name__}")("keys", **given)
    for by_vector in (
        store.similarity_search_by_vector,
        store.similarity_search_with_score_by_vector,
        store.max_marginal_relevance_search_by_vector,
    ):
        with pytest.raises(ConfigurationError, match=rf"{instead}=… instead of {name}=…"):
            by_vector(vector, **given)
    for kind in ("similarity", "mmr"):
        with pytest.raises(ConfigurationError, match=rf"{instead}=… instead of {name}=…"):
            store.as_retriever(search_type=kind, search_kwargs=given).invoke("keys")


def test_from_texts_and_documents(where: str):
    documents = [Document("keys", id="k", metadata={"n": 1}), Document("lunch")]
    with Qwen3VectorStore.from_documents(documents, Qwen3Embeddings(embedder=HashEmbedder()), where=where) as store:
        assert store.get_by_ids(["k"]) == documents[:1]
        assert len(store.similarity_search("lunch keys")) == 2


async def test_from_texts_async(where: str):
    store = await Qwen3VectorStore.afrom_texts(["keys"], HashEmbedder(), [{"n": 1}], ids=["k"], where=where, collection="mine")
    assert store.get_by_ids(["k"]) == [Document("keys", id="k", metadata={"n": 1})]
    store.close()
    store = await Qwen3VectorStore.afrom_documents([Document("keys")], HashEmbedder(), where=":memory:")
    store.close()


def test_a_failed_from_texts_gives_the_folder_back(tmp_path: Path):
    with pytest.raises(ConfigurationError):
        Qwen3VectorStore.from_texts(["x"], HashEmbedder(), ids=[""], where=tmp_path / "kb")
    Qwen3VectorStore(tmp_path / "kb", HashEmbedder()).close()


def test_a_folder_remembers(tmp_path: Path, nano: Embedder):
    with Qwen3VectorStore(tmp_path / "kb", Qwen3Embeddings(embedder=nano, dim=64)) as store:
        filled(store)
    with Qwen3VectorStore(tmp_path / "kb") as store:
        assert store.similarity_search("when do we eat", k=1)[0].id == "b"
        assert isinstance(store.embeddings, Qwen3Embeddings)
        assert store.embeddings.dim == 64
    with pytest.raises(EmbeddingSpaceError):
        Qwen3VectorStore(tmp_path / "kb", HashEmbedder())


def test_a_client_and_a_collection_stay_open(nano: Embedder):
    client = QdrantClient(":memory:")
    for collection in ("one", "two"):
        with Qwen3VectorStore(client, Qwen3Embeddings(embedder=nano), collection=collection) as store:
            store.add_texts([collection])
    assert {found.name for found in client.get_collections().collections} == {"one", "two"}
    with Qwen3VectorStore(client, "nano", settings=Settings.load(collection="two")) as store:
        assert store.similarity_search("anything")[0].page_content == "two"
    client.close()


async def test_places_that_are_none(tmp_path: Path):
    client = AsyncQdrantClient(":memory:")
    with pytest.raises(ConfigurationError, match="AsyncQdrantClient is no place"):
        Qwen3VectorStore(client, HashEmbedder())  # type: ignore[arg-type]
    await client.close()
    with pytest.raises(ConfigurationError, match="int cannot be used as embedding"):
        Qwen3VectorStore(":memory:", 7)  # type: ignore[arg-type]


def test_over_an_open_knowledge_base(tmp_path: Path):
    embedder = HashEmbedder()
    with KnowledgeBase.open(tmp_path / "kb", embedder=embedder, reranker="off") as kb:
        kb.ingest([SourceDocument("doc", "an ingested elephant", title="Zoo", source="zoo.md", metadata={"kind": "animal"})])
        with Qwen3VectorStore.from_texts(
            list(TEXTS.values()), Qwen3Embeddings(embedder=HashEmbedder()), ids=list(TEXTS), where=kb
        ) as store:
            assert kb.search("lunch at noon")[0].id == "b"
            [chunk] = [found for found in store.similarity_search("elephant") if found.page_content == "an ingested elephant"]
            assert chunk.metadata == {
                "kind": "animal", "source": "zoo.md", "title": "Zoo", "document_id": "doc", "ordinal": 0, "start": 0, "end": 20
            }  # fmt: skip
            store.delete([str(chunk.id)])
            assert store.get_by_ids([str(chunk.id)]) == [chunk]
            store.delete()
        assert (kb.status().points, kb.status().passages) == (1, 0)
        for options in ({"reranker": "off"}, {"collection": "x"}, {"settings": Settings.load()}):
            with pytest.raises(ConfigurationError, match="when opening it"):
                Qwen3VectorStore(kb, **options)
        for other in ("nano", HashEmbedder(revision="2")):
            with pytest.raises(EmbeddingSpaceError, match="do not compare"):
                Qwen3VectorStore(kb.passages(), other)
        assert Qwen3VectorStore(kb.passages(), "hash").passages.count() == 1


def test_passages_of_others_come_as_documents(tmp_path: Path):
    with Passages.open(tmp_path / "kb", embedder=HashEmbedder()) as passages:
        passages.put([Passage("p", "keys", {"n": 1}, document_id="d", title="T", extra={"private": True})])
        assert Qwen3VectorStore(passages).get_by_ids(["p"]) == [Document("keys", id="p", metadata={"n": 1})]


def test_the_source_in_metadata_is_that_of_the_core(store: Qwen3VectorStore):
    store.add_texts(["x", "y"], [{"source": "a.md"}, {"source": 7}], ids=["1", "2"])
    assert [hit.source for hit in store.passages.get(["1", "2"])] == ["a.md", None]


def test_instruction_of_store_embeddings_and_call(open_store: Open):
    store = open_store(embedding=Qwen3Embeddings(embedder=InstructedEmbedder(), instruction="Find food"))
    assert store.instruction == "Find food"
    filled(store)
    scores = {score for _, score in store.similarity_search_with_score("keys", k=1, mode="dense")}
    other = {score for _, score in store.similarity_search_with_score("keys", k=1, mode="dense", instruction="Find poems")}
    assert scores != other
    assert ids(store.max_marginal_relevance_search("x", k=1, instruction=TEXTS["b"])) == ["b"]
    assert ids(store.max_marginal_relevance_search("x", k=1, instruction=TEXTS["a"])) == ["a"]


def test_the_embeddings_of_a_store_have_the_instruction_of_its_settings():
    with Qwen3VectorStore(":memory:", InstructedEmbedder(), settings=Settings.load(instruction="Find food")) as store:
        assert isinstance(store.embeddings, Qwen3Embeddings)
        assert store.embeddings.instruction == "Find food"


def test_any_langchain_embeddings(open_store: Open):
    embeddings = DeterministicFakeEmbedding(size=12)
    store = filled(open_store(embedding=embeddings))
    assert store.embeddings is embeddings
    assert store.similarity_search_by_vector(embeddings.embed_query(TEXTS["b"]), k=1)[0].id == "b"
    assert store.similarity_search("lunch noon", k=1, dense_weight=0.0)[0].id == "b"
    assert store.passages.embedder_name == "DeterministicFakeEmbedding"


def test_a_qwen3_reranker_in_the_store(open_store: Open):
    store = filled(open_store(reranker=Qwen3Reranker(reranker=OverlapReranker())))
    assert store.similarity_search_with_score("lunch", k=1, rerank=True)[0][1] == 1.0
    with pytest.raises(ConfigurationError, match="no reranker"):
        filled(open_store(reranker="off", collection="other")).similarity_search("lunch", rerank=True)


@pytest.mark.parametrize(
    ("option", "instead"),
    [
        ({"instruction": "Find food"}, "instruction=… of the store"),
        ({"top_n": 1}, "k=… of a search"),
        ({"rerank_weight": 0.5}, "rerank_weight=… of a search"),
        ({"score_threshold": 0.9}, "score_threshold=… of a search"),
        ({"deadline": 1.0}, "rerank_deadline=… of a search"),
    ],
)
def test_what_a_compressor_is_set_to_is_not_lost_in_a_store(option: dict[str, object], instead: str):
    compressor = Qwen3Reranker(reranker=OverlapReranker(), **option)
    [name] = option
    with pytest.raises(ConfigurationError, match=rf"\b{name}=.*{instead}.*reranker=compressor\.reranker"):
        Qwen3VectorStore(":memory:", HashEmbedder(), reranker=compressor)
    with Qwen3VectorStore(":memory:", HashEmbedder(), reranker=compressor.reranker) as store:
        assert filled(store).similarity_search("lunch", k=1, rerank=True)[0].id == "b"
    for top_n in (3, None):  # the usual one, and all, which cuts nothing off
        usual = Qwen3Reranker(reranker=OverlapReranker(), top_n=top_n, rerank_weight=1.0, deadline=None)
        Qwen3VectorStore(":memory:", HashEmbedder(), reranker=usual).close()


def test_nothing_secret_or_heavy_is_serialised(store: Qwen3VectorStore):
    assert "hash" in repr(store)
    dumped = dumpd(store)
    assert dumped["type"] == "not_implemented"
    assert not {"QdrantClient", "KnowledgeBase", "HashEmbedder object"} & set(str(dumped).split())
    assert not hasattr(store, "get_lc_namespace")
    assert math.isfinite(len(str(dumpd(store.as_retriever()))))
