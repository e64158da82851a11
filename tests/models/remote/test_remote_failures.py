"""Every dialect × every failure: what passes is waited for, what does not is explained, and nothing comes back wrong or in part."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest
from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM, Qwen3Model

from qwen3_rag.errors import RemoteResponseError, RemoteUnavailableError
from qwen3_rag.models.base import ResultArray
from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.hub import nano_folder
from qwen3_rag.models.remote import Canary, Connection, Dialect, RemoteEmbedder, RemoteReranker, Retries
from qwen3_rag.models.remote.retrying import backoff
from qwen3_rag.models.reranker import Reranker
from tests.models.remote.conftest import HURRY
from tests.models.remote.server import (
    TEMPLATE,
    EmbeddingModel,
    Faults,
    InferenceServer,
    Reply,
    RerankingModel,
    serving,
    texts_of,
    yes_or_no,
)

TEXTS = [f"Keys are rotated every {count} days." for count in ("ninety", "two", "ten", "nine", "few")]
QUERY = "how are keys rotated?"


@dataclass
class Service:
    """One client and its server, and what the local model says."""

    server: InferenceServer
    call: Callable[[], ResultArray]
    expected: np.ndarray

    def works(self) -> None:
        np.testing.assert_allclose(self.call(), self.expected, atol=1e-5)


def rows_of(answer: Any) -> list[dict[str, Any]]:
    return answer if isinstance(answer, list) else answer.get("results", answer.get("data"))


@pytest.fixture(scope="module", params=["embeddings", *Dialect], ids=str)
def opened(
    request: pytest.FixtureRequest, nano: Embedder, nano_network: Qwen3Model, reranker: Reranker, tiny_network: Qwen3ForCausalLM, tiny: Path
) -> Iterator[Callable[..., AbstractContextManager[Service]]]:
    """Opens a client of each kind on a server of its own."""

    @contextmanager
    def embeddings(connection: Connection = HURRY) -> Iterator[Service]:
        model = EmbeddingModel(nano_network, Tokenizer.from_file(str(nano_folder() / "tokenizer.json")))
        with (
            serving(InferenceServer({"/v1/embeddings": model})) as server,
            RemoteEmbedder("nano", server.url, connection=connection) as client,
        ):
            yield Service(server, lambda: client.embed_documents(TEXTS), nano.embed_documents(TEXTS))

    @contextmanager
    def reranking(connection: Connection = HURRY) -> Iterator[Service]:
        tokenizer = Tokenizer.from_file(str(tiny / "tokenizer.json"))
        judged = RerankingModel(yes_or_no(tiny_network, tokenizer), tokenizer)
        judged.template = TEMPLATE if request.param is Dialect.DASHSCOPE else judged.template
        routes = judged.routes()[request.param]
        options = {"tokenizer": tiny, "max_tokens": 512, "canary": Canary.OFF, "connection": connection}
        with (
            serving(InferenceServer(routes)) as server,
            RemoteReranker("tiny", server.url + next(iter(routes)), dialect=request.param, **options) as client,
        ):
            yield Service(server, lambda: client.score(QUERY, TEXTS), reranker.score(QUERY, TEXTS))

    return embeddings if request.param == "embeddings" else reranking


@pytest.fixture(scope="module")
def shared(opened: Callable[..., AbstractContextManager[Service]]) -> Iterator[Service]:
    with opened() as service:
        yield service


@pytest.fixture
def service(shared: Service) -> Service:
    """A client that works and has forgotten what went wrong before."""
    shared.server.faults = Faults()
    shared.works()
    shared.server.requests.clear()
    return shared


@pytest.fixture
def fresh(opened: Callable[..., AbstractContextManager[Service]]) -> Iterator[Service]:
    """One that is thrown away, for what a client remembers."""
    with opened() as service:
        service.works()
        service.server.requests.clear()
        yield service


BUSY = {"error": {"message": "busy"}}


@pytest.mark.parametrize("status", [429, 500])
def test_once_and_then_fine(service: Service, status: int):
    service.server.faults.replies = [Reply(status, BUSY)]
    service.works()
    assert len(service.server.requests) == 2


@pytest.mark.parametrize("status", [429, 500])
def test_for_ever(service: Service, status: int):
    service.server.faults.always = Reply(status, BUSY)
    with pytest.raises(RemoteUnavailableError, match=rf"HTTP {status}: .*busy.*tried 3 times"):
        service.call()
    assert len(service.server.requests) == 3
    with pytest.raises(RemoteUnavailableError, match="tried once"):  # patience is used up for a moment
        service.call()
    service.server.faults.always = None
    service.works()


@pytest.mark.parametrize("form", ["seconds", "date", "nonsense", "past"])
def test_retry_after(service: Service, form: str):
    now = datetime.now(UTC)
    dates = {"date": now + timedelta(minutes=5), "past": now - timedelta(minutes=5)}
    value = format_datetime(dates[form], usegmt=True) if form in dates else {"seconds": "300", "nonsense": "soon"}[form]
    service.server.faults.replies = [Reply(429, BUSY, {"Retry-After": value})]
    began = time.monotonic()
    service.works()
    waited = time.monotonic() - began
    assert waited >= 0.1 or form in ("nonsense", "past")  # as long as asked, but no longer than `longest_wait`
    assert waited < 2


def test_what_passes_by_itself():
    request, hook = httpx.Request("POST", "http://host"), backoff(Retries(longest_wait=9.0))
    answers = {status: hook(httpx.HTTPStatusError("", request=request, response=httpx.Response(status))) for status in range(300, 600)}
    assert [status for status, is_retried in answers.items() if is_retried] == [408, 429, 500, 502, 503, 504]
    told = httpx.Response(503, headers={"Retry-After": "0"})
    assert hook(httpx.HTTPStatusError("", request=request, response=told)) == 0.0
    assert hook(httpx.ConnectTimeout("")) is hook(httpx.ReadError("")) is hook(httpx.RemoteProtocolError("")) is True
    assert hook(httpx.UnsupportedProtocol("")) is hook(ValueError()) is False


def test_connection_reset_once(service: Service):
    service.server.faults.resets = 1
    service.works()


def test_connection_reset_for_ever(service: Service):
    service.server.faults.resets = 1000
    with pytest.raises(RemoteUnavailableError, match=r"cannot be reached .*tried 3 times.*`timeout`"):
        service.call()


def test_timeout(opened: Callable[..., AbstractContextManager[Service]]):
    with opened(Connection(timeout=0.05, retries=Retries(attempts=2, first_wait=0.01))) as service:
        service.server.faults.delay = 0.2
        with pytest.raises(RemoteUnavailableError, match=r"ReadTimeout.*tried 2 times.*QWEN3_RAG_INFERENCE_TIMEOUT"):
            service.call()


@pytest.mark.parametrize(
    ("status", "match"),
    [
        (400, "does not take this request.*max_tokens"),
        (401, "QWEN3_RAG_INFERENCE_API_KEY"),
        (403, "QWEN3_RAG_INFERENCE_API_KEY"),
        (404, "model's name"),
        (409, "refuses the request"),
        (422, "does not take this request"),
        (307, "sends elsewhere .*'/there'"),
    ],
)
def test_refusals_are_not_repeated(service: Service, status: int, match: str):
    service.server.faults.always = Reply(status, {"detail": "because " * 200}, {"Location": "/there"})
    with pytest.raises(RemoteResponseError, match=match) as caught:
        service.call()
    assert len(service.server.requests) == 1
    assert len(str(caught.value)) < 800
    assert service.server.url in str(caught.value)


TOO_MANY = {
    "413": Reply(413, {"error": "length limit exceeded"}),
    "TEI": Reply(422, {"error": "batch size 7 > maximum allowed batch size 2", "error_type": "Validation"}),
    "DashScope": Reply(400, {"error": {"message": "batch size is invalid, it should not be larger than 2.: input.contents"}}),
}


@pytest.mark.parametrize("said", TOO_MANY)
def test_too_many_texts(fresh: Service, said: str):
    fresh.server.faults.most_texts, fresh.server.faults.too_many = 2, TOO_MANY[said]
    fresh.works()
    fresh.server.requests.clear()
    fresh.works()
    assert len(fresh.server.requests) == 3  # halved to two, and remembered


def test_one_text_is_too_large(service: Service):
    service.server.faults.always = TOO_MANY["413"]
    with pytest.raises(RemoteResponseError, match=r"one text too large .*length limit exceeded.*`max_tokens`"):
        service.call()
    service.server.faults.always = None
    service.server.requests.clear()
    service.works()
    sent = [len(texts_of(request.body)) for request in service.server.requests]
    assert len(TEXTS) in sent  # the number of texts was not what it minded; a request that was cancelled may still come in


@pytest.mark.parametrize(
    "content", [b"", b"<html>Welcome to nginx</html>", b'{"data": [', b"\xff\xfe"], ids=["empty", "html", "cut", "bytes"]
)
def test_no_json(service: Service, content: bytes):
    service.server.faults.garble = content
    with pytest.raises(RemoteResponseError, match="no JSON"):
        service.call()
    assert len(service.server.requests) == 1


def fewer(rows: list[dict[str, Any]]) -> None:
    rows.pop()


def more(rows: list[dict[str, Any]]) -> None:
    rows.append({**rows[0], "index": len(rows)})


def duplicate(rows: list[dict[str, Any]]) -> None:
    rows[1]["index"] = rows[0]["index"]


def out_of_range(rows: list[dict[str, Any]]) -> None:
    rows[0]["index"] = len(rows)


def negative(rows: list[dict[str, Any]]) -> None:
    rows[0]["index"] = -1


def no_index(rows: list[dict[str, Any]]) -> None:
    del rows[0]["index"]


def no_object(rows: list[Any]) -> None:
    rows[0] = None


def value_of(row: dict[str, Any]) -> str:
    return next(name for name in ("embedding", "relevance_score", "score") if name in row)


def replaced(value: Any) -> Callable[[list[dict[str, Any]]], None]:
    def spoil(rows: list[dict[str, Any]]) -> None:
        name = value_of(rows[2])
        rows[2][name] = [value, *rows[2][name][1:]] if name == "embedding" else value

    return spoil


def missing(rows: list[dict[str, Any]]) -> None:
    del rows[2][value_of(rows[2])]


SPOILED = {
    "fewer": (fewer, "4 results for 5 texts"),
    "more": (more, "6 results for 5 texts"),
    "duplicate": (duplicate, "two results for text"),
    "out of range": (out_of_range, "'index' is 5"),
    "negative": (negative, "'index' is -1"),
    "no index": (no_index, "'index' is None"),
    "no object": (no_object, "'index' is None"),
    "missing": (missing, "no list of numbers|without a number"),
    "NaN": (replaced(float("nan")), "NaN"),
    "infinity": (replaced(float("inf")), "infinit"),
    "null": (replaced(None), "no list of numbers|without a number"),
    "text": (replaced("high"), "no list of numbers|without a number"),
}


@pytest.mark.parametrize("fault", SPOILED)
def test_spoiled_answers(service: Service, fault: str):
    spoil, match = SPOILED[fault]

    def spoiled(answer: Any) -> Any:
        spoil(rows_of(answer))
        return answer

    service.server.faults.spoil = spoiled
    with pytest.raises(RemoteResponseError, match=match) as caught:
        service.call()
    assert service.server.url in str(caught.value)
    assert len(str(caught.value)) < 800


@pytest.mark.parametrize("answer", [{}, [], {"results": {}, "data": {}}, None], ids=repr)
def test_another_shape_of_answer(service: Service, answer: Any):
    service.server.faults.spoil = lambda _: answer
    with pytest.raises(RemoteResponseError, match=r"no list|0 results"):
        service.call()


def test_out_of_order(service: Service):
    def reverse(answer: Any) -> Any:
        rows_of(answer).reverse()
        return answer

    service.server.faults.spoil = reverse
    service.works()


@pytest.mark.parametrize(
    ("spoil", "match"),
    [
        (lambda row: row[:64], "vectors of 64 dimensions where 320"),
        (lambda row: [*row, 1.0], "vectors of 321 dimensions where 320"),
        (lambda row: [], "vectors of 0 dimensions"),
        (lambda row: [0.0] * 320, "nothing but zeros"),
        (lambda row: [row], "no list of numbers"),
        (lambda row: [1e300, *row[1:]], "infinity"),
        (lambda row: "AAAA", "neither numbers nor base64"),
        (lambda row: "%%%", "neither numbers nor base64"),
    ],
)
def test_vectors_that_are_none(embeddings: InferenceServer, spoil: Callable[[list[float]], Any], match: str):
    def spoiled(answer: Any) -> Any:
        for row in answer["data"]:
            row["embedding"] = spoil(row["embedding"])
        return answer

    with RemoteEmbedder("nano", embeddings.url, connection=HURRY) as embedder:
        embedder.embed_documents(TEXTS)
        embeddings.faults.spoil = spoiled
        with pytest.raises(RemoteResponseError, match=match):
            embedder.embed_documents(TEXTS)


def test_one_vector_of_another_width(embeddings: InferenceServer):
    def spoiled(answer: Any) -> Any:
        answer["data"][-1]["embedding"].pop()
        return answer

    with RemoteEmbedder("nano", embeddings.url, connection=HURRY) as embedder:
        embeddings.faults.spoil = spoiled
        with pytest.raises(RemoteResponseError, match="vectors of 319 and 320 dimensions"):
            embedder.embed_documents(TEXTS)


def test_nobody_listens():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: connections are refused, and nobody else gets the port
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        refused = pytest.raises(RemoteUnavailableError, match=r"cannot be reached \(ConnectError.*tried 3 times")
        with RemoteEmbedder("nano", url, connection=HURRY) as embedder, refused:
            embedder.embed_documents(TEXTS)


def test_waits_grow(embeddings: InferenceServer):
    embeddings.faults.always = Reply(503, BUSY)
    connection = Connection(retries=Retries(attempts=4, first_wait=0.05, longest_wait=5.0))
    began = time.monotonic()
    with RemoteEmbedder("nano", embeddings.url, connection=connection) as embedder, pytest.raises(RemoteUnavailableError):
        embedder.embed_documents(TEXTS)
    assert 0.05 + 0.1 + 0.2 <= time.monotonic() - began < 2
