from __future__ import annotations

import time
from dataclasses import replace

import pytest

from qwen3_rag.errors import ConfigurationError, RemoteResponseError, RemoteUnavailableError
from qwen3_rag.training.synthesis.client import ChatClient
from qwen3_rag.training.synthesis.journal import Completion
from qwen3_rag.training.synthesis.settings import AnswerFormat, ServerSettings
from tests.models.remote.server import InferenceServer, Reply
from tests.training.synthesis.chat_server import ChatModel

PROMPT = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "We want a pair.\n- keywords: x\n- a: x\n- b: x\n- c: x"}]
SCHEMA = {"type": "object"}


async def ask(server: ServerSettings, api_key: str | None = None) -> Completion:
    client = ChatClient(server, api_key)
    try:
        return await client.complete(PROMPT, SCHEMA, seed=5)
    finally:
        await client.close()


async def test_text_and_tokens_come_back(chat: InferenceServer, server: ServerSettings):
    completion = await ask(replace(server, extra={"top_k": 20}), "secret")
    assert '"role"' in completion.text
    assert (completion.finish, completion.prompt_tokens, completion.completion_tokens) == ("stop", 100, 10)
    [request] = chat.requests
    assert {name.lower(): value for name, value in request.headers.items()}["authorization"] == "Bearer secret"
    assert request.body == {
        "model": "small",
        "messages": PROMPT,
        "temperature": 0.7,
        "max_tokens": 512,
        "seed": 5,
        "response_format": {"type": "json_object"},
        "top_k": 20,
    }


@pytest.mark.parametrize(
    ("answer_format", "sent"),
    [
        (AnswerFormat.TEXT, None),
        (AnswerFormat.JSON_OBJECT_SCHEMA, {"type": "json_object", "schema": SCHEMA}),
        (AnswerFormat.JSON_SCHEMA, {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}),
    ],
)
async def test_servers_are_told_what_they_understand(
    chat: InferenceServer, server: ServerSettings, answer_format: AnswerFormat, sent: object
):
    await ask(replace(server, answer_format=answer_format))
    assert chat.requests[0].body.get("response_format") == sent


@pytest.mark.parametrize("reply", [Reply(429, {"error": "slow down"}, {"Retry-After": "1"}), Reply(500, {}), Reply(503, {})])
async def test_what_passes_is_asked_again(chat: InferenceServer, server: ServerSettings, reply: Reply):
    chat.faults.replies = [reply]
    began = time.monotonic()
    assert (await ask(server)).text
    assert len(chat.requests) == 2
    if reply.headers:
        assert time.monotonic() - began >= 1


def said(**changed: object) -> dict[str, object]:
    """A chat completion, with something else in it."""
    choice = {"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "{}"}}
    return {"id": "c", "object": "chat.completion", "created": 0, "model": "small", "choices": [choice], **changed}


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 5}, {"prompt_tokens": 5, "completion_tokens": None}], ids=str)
async def test_tokens_that_are_not_told_count_as_none(chat: InferenceServer, server: ServerSettings, usage: dict[str, object] | None):
    chat.faults.always = Reply(200, said(usage=usage))
    assert await ask(server) == Completion("{}", "stop", 5 if usage else 0, 0)


async def test_half_a_character_is_replaced(chat: InferenceServer, server: ServerSettings):
    message = {"role": "assistant", "content": "cut \ud83d"}
    chat.faults.always = Reply(200, said(choices=[{"index": 0, "finish_reason": "length", "message": message}]))
    assert await ask(server) == Completion("cut ?", "length")


@pytest.mark.parametrize("content", [[{"type": "text", "text": "{}"}], 5, {}], ids=str)
async def test_content_that_is_no_text_is_refused(chat: InferenceServer, server: ServerSettings, content: object):
    chat.faults.always = Reply(200, said(choices=[{"index": 0, "message": {"role": "assistant", "content": content}}]))
    with pytest.raises(RemoteResponseError, match="whose message has no text"):
        await ask(server)


@pytest.mark.parametrize("choice", [{"index": 0, "text": "{}"}, {"index": 0, "message": None}], ids=str)
async def test_a_choice_without_a_message_is_refused(chat: InferenceServer, server: ServerSettings, choice: dict[str, object]):
    chat.faults.always = Reply(200, said(choices=[choice]))
    with pytest.raises(RemoteResponseError, match="whose message has no text"):
        await ask(server)


async def test_a_server_that_hangs_is_asked_again(model: ChatModel, server: ServerSettings):
    model.hang_once = 2.0
    assert (await ask(replace(server, timeout=0.3))).text
    assert model.calls == 2


async def test_a_server_that_stays_away_is_named(chat: InferenceServer, server: ServerSettings):
    chat.faults.always = Reply(503, {"error": "loading"})
    with pytest.raises(RemoteUnavailableError, match=r"HTTP 503.*loading.*sent 2 times.*same command again"):
        await ask(replace(server, retries=1))
    with pytest.raises(RemoteUnavailableError, match="cannot be reached"):
        await ask(replace(server, url="http://127.0.0.1:9/v1", retries=0))


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (Reply(401, {"error": "who are you"}), "HTTP 401.*OPENAI_API_KEY"),
        (Reply(404, {"detail": "no model small"}), "HTTP 404.*no model small.*Check `url`"),
        (Reply(200, b"<html>hello</html>", {"Content-Type": "text/html"}), "no chat completion"),
        (Reply(200, {"object": "list", "data": []}), "no chat completion"),
        (Reply(200, b"{", {}), "cannot be used"),
    ],
)
async def test_a_refusal_is_quoted_and_not_repeated(chat: InferenceServer, server: ServerSettings, reply: Reply, said: str):
    chat.faults.always = reply
    with pytest.raises(RemoteResponseError, match=said):
        await ask(server)
    assert len(chat.requests) == 1


def test_a_model_must_be_named(server: ServerSettings):
    with pytest.raises(ConfigurationError, match="Say which model"):
        ChatClient(replace(server, model=""))
