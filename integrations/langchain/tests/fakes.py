"""Stand-ins that the core's tests have no need of."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult

from qwen3_rag.models.base import ResultArray
from tests.fakes import HashEmbedder


class InstructedEmbedder(HashEmbedder):
    """Reads a query's instruction as words of the query; nano passes over it."""

    def embed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        return super().embed_queries([f"{instruction or ''} {text}" for text in texts], None, dim)


class NativeEmbedder(HashEmbedder):
    """Serves tasks itself, and fails when its blocking methods run on an event loop's thread."""

    def __init__(self) -> None:
        super().__init__()
        self.loops: set[int] = set()
        self.calls = 0

    def embed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        assert threading.get_ident() not in self.loops, "blocked the event loop"
        return super().embed_queries(texts, instruction, dim)

    async def aembed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        self.calls += 1
        return self._embed(texts, dim)

    async def aembed_documents(self, texts: Sequence[str], dim: int | None = None) -> ResultArray:
        self.calls += 1
        return self._embed(texts, dim)


class QuotingChatModel(BaseChatModel):
    """Answers with the first line of what it was given after `Context:`, word by word when streamed."""

    @property
    def _llm_type(self) -> str:
        return "quoting"

    def _generate(self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=_answer(messages)))])

    def _stream(
        self, messages: list[BaseMessage], stop: Any = None, run_manager: Any = None, **kwargs: Any
    ) -> Iterator[ChatGenerationChunk]:
        for word in _answer(messages).split(" "):
            yield ChatGenerationChunk(message=AIMessageChunk(content=f"{word} "))


def _answer(messages: list[BaseMessage]) -> str:
    return str(messages[-1].content).split("Context:")[1].strip().splitlines()[0]
