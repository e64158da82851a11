"""Which client the settings open, and what a server that is away, busy or unwilling looks like."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import grpc
import pytest
from pydantic import SecretStr
from qdrant_client import QdrantClient, models
from qdrant_client.grpc import ListCollectionsResponse
from qdrant_client.grpc.collections_service_pb2_grpc import CollectionsServicer, add_CollectionsServicer_to_server
from qdrant_client.grpc.points_service_pb2_grpc import PointsServicer, add_PointsServicer_to_server

from qwen3_rag.errors import StoreError, StoreUnavailableError
from qwen3_rag.settings import StoreSettings
from qwen3_rag.store import EdgeClient, as_async_qdrant_client, as_qdrant_client, open_client

PARAMS = models.VectorParams(size=2, distance=models.Distance.DOT)


class Script(BaseHTTPRequestHandler):
    """Answers with the statuses that the test wrote down, then with an empty list of collections."""

    statuses: list[int]
    requests: list[tuple[str, str | None]]

    def do_GET(self) -> None:
        self.requests.append((self.path, self.headers.get("api-key")))
        status = self.statuses.pop(0) if self.statuses else 200
        body = json.dumps({"result": {"collections": []}, "status": "ok", "time": 0.0} if status == 200 else {"status": {"error": "no"}})
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: object) -> None:
        """Tests are quiet."""


@pytest.fixture
def server() -> Iterator[tuple[str, type[Script]]]:
    handler = type("Handler", (Script,), {"statuses": [], "requests": []})
    with HTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, args=(0.02,))
        thread.start()
        yield f"http://127.0.0.1:{http.server_port}", handler
        http.shutdown()
        thread.join()


def test_a_folder_opens_the_embedded_engine_as_a_qdrant_client(tmp_path: Path) -> None:
    client = open_client(StoreSettings(path=str(tmp_path / "kb" / "store")))
    assert isinstance(client, QdrantClient)
    assert isinstance(client._client, EdgeClient)
    client.create_collection("c", vectors_config=PARAMS)
    client.close()
    again = open_client(StoreSettings(path=str(tmp_path / "kb" / "store")))
    assert again.collection_exists("c")
    again.close()


def test_memory_opens_local_mode() -> None:
    client = open_client(StoreSettings(path=":memory:"))
    assert client.get_collections().collections == []
    client.close()


@pytest.mark.parametrize("grpc", [False, True], ids=["rest", "grpc"])
def test_a_server_that_is_not_there_is_named(grpc: bool) -> None:
    with pytest.raises(StoreUnavailableError, match=r"http://127\.0\.0\.1:9.*curl.*embedded"):
        open_client(StoreSettings(url="http://127.0.0.1:9", prefer_grpc=grpc, timeout=1))


def test_a_password_in_its_address_is_not_shown() -> None:
    with pytest.raises(StoreUnavailableError, match=r"curl http://127\.0\.0\.1:9/") as caught:
        open_client(StoreSettings(url="http://me:hunter2@127.0.0.1:9", timeout=1))
    assert "hunter2" not in str(caught.value)


def test_a_busy_server_is_asked_again(server: tuple[str, type[Script]]) -> None:
    url, handler = server
    handler.statuses[:] = [503, 502]
    with pytest.warns(UserWarning, match="insecure"):  # a key over plain HTTP
        client = open_client(StoreSettings(url=url, api_key=SecretStr("key"), timeout=5))
    assert handler.requests == [("/collections", "key")] * 3
    client.close()


def test_a_server_that_stays_busy_is_unavailable(server: tuple[str, type[Script]]) -> None:
    url, handler = server
    handler.statuses[:] = [503] * 10
    with pytest.raises(StoreUnavailableError, match="503"):
        open_client(StoreSettings(url=url, timeout=5))


def test_a_server_that_wants_a_key_says_so(server: tuple[str, type[Script]]) -> None:
    url, handler = server
    handler.statuses[:] = [401]
    with pytest.raises(StoreError, match="QWEN3_RAG_API_KEY"):
        open_client(StoreSettings(url=url, timeout=5))
    assert len(handler.requests) == 1


class Failing(CollectionsServicer, PointsServicer):
    """Lists no collections, and fails with the code that the test wrote down at everything else."""

    code = grpc.StatusCode.OK

    def _none(self, request: object, context: grpc.ServicerContext) -> ListCollectionsResponse:
        return ListCollectionsResponse()

    def _fail(self, request: object, context: grpc.ServicerContext) -> None:
        context.abort(self.code, "injected")

    List = _none
    Create = Delete = Upsert = _fail


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[QdrantClient, Failing]]:
    """A client that speaks gRPC, and the server it speaks to."""
    server, servicer = grpc.server(ThreadPoolExecutor(2)), Failing()
    add_CollectionsServicer_to_server(servicer, server)
    add_PointsServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.start()
    monkeypatch.setattr("qwen3_rag.store.client.QdrantClient", partial(QdrantClient, grpc_port=port))
    client = open_client(StoreSettings(url="http://127.0.0.1:9", prefer_grpc=True, timeout=5))
    yield client, servicer
    client.close()
    server.stop(0).wait()


CALLS = {
    "upsert": lambda client: client.upsert("c", [models.PointStruct(id=1, vector=[1.0, 2.0])]),
    "create": lambda client: client.create_collection("c", vectors_config=PARAMS),
    "delete": lambda client: client.delete_collection("c"),
}


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize(
    ("code", "kind", "message"),
    [
        ("INVALID_ARGUMENT", StoreError, r"127\.0\.0\.1:9 could not.*INVALID_ARGUMENT: injected.*log"),
        ("INTERNAL", StoreError, "INTERNAL: injected"),
        ("DEADLINE_EXCEEDED", StoreUnavailableError, "in time.*QWEN3_RAG_TIMEOUT"),
        ("UNAVAILABLE", StoreUnavailableError, "cannot be reached.*injected"),
        ("UNAUTHENTICATED", StoreError, "QWEN3_RAG_API_KEY"),
    ],
)
def test_what_a_server_says_over_grpc_is_an_error_of_the_store(
    failing: tuple[QdrantClient, Failing], call: str, code: str, kind: type[StoreError], message: str
) -> None:
    client, servicer = failing
    servicer.code = grpc.StatusCode[code]
    with pytest.raises(StoreError, match=message) as caught:
        CALLS[call](client)
    assert type(caught.value) is kind


def test_wrappers_share_the_store_and_close_alone(tmp_path: Path) -> None:
    edge = EdgeClient(tmp_path)
    client = as_qdrant_client(edge)
    client.create_collection("c", vectors_config=PARAMS)
    assert edge.collection_exists("c")
    client.close()
    assert edge.collection_exists("c")
    edge.close()


async def test_the_async_client_works_on_the_same_store(tmp_path: Path) -> None:
    edge = EdgeClient(tmp_path)
    client = as_async_qdrant_client(edge)
    await client.create_collection("c", vectors_config=PARAMS)
    await client.upsert("c", [models.PointStruct(id=1, vector=[1.0, 2.0])])
    assert (await client.query_points("c", query=[1.0, 1.0])).points[0].id == 1
    await client.close()
    assert edge.count("c").count == 1
    edge.close()


def test_what_needs_a_server_says_so(edge: EdgeClient) -> None:
    for call in (
        lambda: edge.create_snapshot("c"),
        lambda: edge.create_shard_key("c", "key"),
        lambda: edge.cluster_status(),
        lambda: edge.recover_snapshot("c", "file"),
    ):
        with pytest.raises(NotImplementedError, match="Qdrant server"):
            call()


def test_a_condition_that_the_engine_lacks_says_so(edge: EdgeClient) -> None:
    edge.create_collection("c", vectors_config=PARAMS)
    with pytest.raises(NotImplementedError, match="Qdrant server"):
        edge.count("c", models.Filter(must=[models.SliceCondition(slice=models.Slice(index=0, total=2))]))


def test_a_collection_moves_to_another_client(edge: EdgeClient) -> None:
    edge.create_collection("c", vectors_config=PARAMS)
    edge.upsert("c", [models.PointStruct(id=number, vector=[1.0, float(number)], payload={"n": number}) for number in range(250)])
    target = QdrantClient(location=":memory:")
    edge.migrate(target)
    assert target.count("c").count == 250
    target.close()


MALFORMED = {
    "not finite": models.PointStruct(id=1, vector={"d": [float("nan"), 1.0]}),
    "a sparse index twice": models.PointStruct(id=1, vector={"s": models.SparseVector(indices=[1, 1], values=[1.0, 2.0])}),
    "sparse parts that do not fit": models.PointStruct(id=1, vector={"s": models.SparseVector(indices=[1, 2], values=[1.0])}),
    "sparse where dense is": models.PointStruct(id=1, vector={"d": models.SparseVector(indices=[1], values=[1.0])}),
    "dense where sparse is": models.PointStruct(id=1, vector={"s": [1.0, 2.0]}),
    "ragged multi-vector": models.PointStruct(id=1, vector={"m": [[1.0, 2.0], [1.0]]}),
    "empty multi-vector": models.PointStruct(id=1, vector={"m": []}),
    "an id that is no UUID": models.PointStruct(id="seven", vector={"d": [1.0, 2.0]}),
    "a negative id": models.PointStruct(id=-1, vector={"d": [1.0, 2.0]}),
    "NaN in a payload": models.PointStruct(id=1, vector={"d": [1.0, 2.0]}, payload={"x": float("nan")}),
}


@pytest.mark.parametrize("fault", MALFORMED)
def test_malformed_points_never_reach_the_log(edge: EdgeClient, fault: str) -> None:
    multi = models.MultiVectorConfig(comparator=models.MultiVectorComparator.MAX_SIM)
    edge.create_collection(
        "c",
        vectors_config={"d": PARAMS, "m": models.VectorParams(size=2, distance=models.Distance.DOT, multivector_config=multi)},
        sparse_vectors_config={"s": models.SparseVectorParams()},
    )
    good = models.PointStruct(id=2, vector={"d": [1.0, 2.0], "s": models.SparseVector(indices=[1], values=[1.0]), "m": [[1.0, 2.0]]})
    with pytest.raises(ValueError, match=r"\w"):
        edge.upsert("c", [good, MALFORMED[fault]])
    assert edge.count("c").count == 0
    edge._store.get("c")._running().kill()  # so that the log is replayed
    edge.upsert("c", [good])
    assert edge.count("c").count == 1
