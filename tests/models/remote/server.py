"""A real HTTP server on a loopback port that serves this package's own models in the dialects of inference servers, with faults at will.

It joins, tokenizes and counts as those servers do: special tokens in a text are parsed, an end-of-text token is added.
"""

from __future__ import annotations

import base64
import json
import math
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import numpy as np
import torch
from tokenizers import Tokenizer
from transformers import Qwen3ForCausalLM, Qwen3Model

from qwen3_rag.models.prompts import DEFAULT_TASK, rerank_document_text, rerank_query_text

Json = Any

TEMPLATE = f"{rerank_query_text('{query}', '{instruction}')}{rerank_document_text('{document}')}"
"""The reranker's template as a server that applies it has it."""


@dataclass
class Reply:
    """What goes out: a status, a body (bytes as they are, else as JSON) and headers."""

    status: int = 200
    body: Json = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    path: str
    body: Json
    headers: dict[str, str]
    pairs: list[tuple[str, str]] = field(default_factory=list)
    """Headers as they came, one that came twice too."""


class Faults:
    """What goes wrong. `replies` are sent instead of the next answers; `spoil` changes every answer, `spoil_body` its bytes."""

    def __init__(self) -> None:
        self.replies: list[Reply] = []
        self.always: Reply | None = None
        self.spoil: Callable[[Json], Json] = lambda answer: answer
        self.garble: bytes | None = None
        self.delay = 0.0
        self.resets = 0
        self.most_texts = math.inf
        self.too_many = Reply(413, {"error": "request entity too large"})


class InferenceServer:
    """`routes` maps a path to a function from the request's JSON to the answer's."""

    def __init__(self, routes: dict[str, Callable[[Json], Json]]) -> None:
        self.routes = routes
        self.faults = Faults()
        self.requests: list[Request] = []
        self.running = 0
        self.most_running = 0
        self.lock = threading.Lock()
        self.url = ""

    def answer(self, request: Request) -> Reply:
        self.requests.append(request)
        route = self.routes.get(request.path)
        if route is None:
            return Reply(404, {"detail": "Not Found"})
        faults = self.faults
        if faults.always is not None:
            return faults.always
        if faults.replies:
            return faults.replies.pop(0)
        if len(texts_of(request.body)) > faults.most_texts:
            return faults.too_many
        try:
            return Reply(200, faults.garble if faults.garble is not None else faults.spoil(route(request.body)))
        except KeyError as error:
            return Reply(422, {"error": f"missing field {error}", "error_type": "Validation"})

    @contextmanager
    def counted(self) -> Iterator[None]:
        with self.lock:
            self.running += 1
            self.most_running = max(self.running, self.most_running)
        try:
            yield
        finally:
            with self.lock:
                self.running -= 1

    def posted(self, path: str) -> list[Json]:
        return [request.body for request in self.requests if request.path == path]


def texts_of(body: Json) -> list[str]:
    return next((body[key] for key in ("input", "documents", "texts", "text_2") if key in body), [])


@contextmanager
def serving(server: InferenceServer) -> Iterator[InferenceServer]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.counted():
                if server.faults.resets:
                    server.faults.resets -= 1
                    self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    self.close_connection = True
                    return
                time.sleep(server.faults.delay)
                reply = server.answer(Request(self.path, body, dict(self.headers), self.headers.items()))
            content = reply.body if isinstance(reply.body, bytes) else json.dumps(reply.body).encode()
            self.send_response(reply.status)
            for name, value in {"Content-Type": "application/json", "Content-Length": str(len(content)), **reply.headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A client that has gone away is part of the tests."""

    with Quiet(("127.0.0.1", 0), Handler) as http:
        server.url = f"http://127.0.0.1:{http.server_port}"
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server
        finally:
            http.shutdown()
            thread.join()


class EmbeddingModel:
    """A network behind `/v1/embeddings`. `end` is what the server appends to each text, `before` what it puts before it."""

    def __init__(self, network: Qwen3Model, tokenizer: Tokenizer) -> None:
        self.network = network
        self.tokenizer = tokenizer
        self.end = "<|endoftext|>"
        self.before = ""
        self.name = "served"
        self.most_tokens = 32_768
        self.norm = 1.0
        self.in_base64 = False
        self.reports_usage = True
        self.prompts: list[list[int]] = []
        self.known: dict[tuple[int, ...], np.ndarray] = {}

    def __call__(self, body: Json) -> Json:
        prompts = [self.ids(text) for text in body["input"]]
        self.prompts += prompts
        rows = np.stack([self.vector(ids)[: body.get("dimensions")] for ids in prompts])
        data = [{"object": "embedding", "index": index, "embedding": self.written(row)} for index, row in enumerate(rows)]
        tokens = sum(map(len, prompts))
        usage = {"usage": {"prompt_tokens": tokens, "total_tokens": tokens}} if self.reports_usage else {}
        return {"object": "list", "model": self.name, "data": data, **usage}

    def ids(self, text: str) -> list[int]:
        ids = self.tokenizer.encode(f"{self.before}{text}", add_special_tokens=False).ids[: self.most_tokens - 1]
        return [*ids, *self.tokenizer.encode(self.end, add_special_tokens=False).ids]

    def vector(self, ids: list[int]) -> np.ndarray:
        if tuple(ids) not in self.known:
            with torch.inference_mode():
                self.known[tuple(ids)] = self.network(torch.tensor([ids])).last_hidden_state[0, -1].numpy()
        state = self.known[tuple(ids)]
        return self.norm * state / np.linalg.norm(state)

    def written(self, row: np.ndarray) -> Json:
        return base64.b64encode(row.astype("<f4").tobytes()).decode() if self.in_base64 else row.tolist()


class RerankingModel:
    """A local reranker behind the reranking endpoints. `judge` makes a score of token ids."""

    def __init__(self, judge: Callable[[list[int]], float], tokenizer: Tokenizer) -> None:
        self.judge = judge
        self.tokenizer = tokenizer
        self.template = "{query}{document}"
        self.instruction: str | None = None
        self.reports_usage = True

    def scores(self, query: str, documents: list[str]) -> tuple[list[float], dict[str, Json]]:
        filled = [self.template.format(instruction=self.instruction or DEFAULT_TASK, query=query, document=text) for text in documents]
        prompts = [self.tokenizer.encode(text, add_special_tokens=False).ids for text in filled]
        usage = {"usage": {"prompt_tokens": sum(map(len, prompts))}} if self.reports_usage else {}
        return [self.judge(ids) for ids in prompts], usage

    def rerank(self, body: Json) -> Json:
        self.instruction = body.get("instruct")
        scores, usage = self.scores(body["query"], body["documents"])
        results = [
            {"index": index, "document": {"text": text}, "relevance_score": scores[index]} for index, text in enumerate(body["documents"])
        ]
        results.sort(key=lambda row: -row["relevance_score"])
        return {"id": "rerank-1", "model": body["model"], "results": results[: body["top_n"]], **usage}

    def tei(self, body: Json) -> Json:
        scores, _ = self.scores(body["query"], body["texts"])
        return sorted(({"index": index, "score": score} for index, score in enumerate(scores)), key=lambda row: -row["score"])

    def score(self, body: Json) -> Json:
        scores, usage = self.scores(body["text_1"], body["text_2"])
        data = [{"index": index, "object": "score", "score": score} for index, score in enumerate(scores)]
        return {"id": "score-1", "object": "list", "model": body["model"], "data": data, **usage}

    def routes(self) -> dict[str, dict[str, Callable[[Json], Json]]]:
        """The routes of each dialect's servers."""
        return {
            "rerank": {"/v1/rerank": self.rerank, "/rerank": self.rerank, "/score": self.score},
            "tei": {"/rerank": self.tei},
            "score": {"/score": self.score},
            "dashscope": {"/compatible-api/v1/reranks": self.rerank},
        }


def yes_or_no(network: Qwen3ForCausalLM, tokenizer: Tokenizer) -> Callable[[list[int]], float]:
    """P(yes) as the paper has it, over the logits of the whole head."""
    yes, no = tokenizer.token_to_id("yes"), tokenizer.token_to_id("no")

    @cache
    def judge(ids: tuple[int, ...]) -> float:
        with torch.inference_mode():
            logits = network(torch.tensor([ids])).logits[0, -1]
        return float(torch.softmax(logits[[no, yes]].double(), 0)[1])

    return lambda ids: judge(tuple(ids))


def oracle(tokenizer: Tokenizer) -> Callable[[list[int]], float]:
    """The share of the query's words that the document has; like a real model, of no use if the template is not there exactly once."""

    def judge(ids: list[int]) -> float:
        text = tokenizer.decode(ids, skip_special_tokens=False)
        if text.count("<|im_start|>system") != 1 or not text.endswith("</think>\n\n"):
            return 0.5
        query, document = (set(part.lower().split()) for part in text.partition("<Query>:")[2].split("<Document>:"))
        return len(query & document) / len(query)

    return judge
