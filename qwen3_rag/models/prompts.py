"""What Qwen3 embedding and reranking models read: instruction, query and document as token ids, cut to the context.

Templates are those of the Qwen3 Embedding paper (arXiv 2506.05176) and the official model cards. Truncation never touches them: fixed
parts and instruction are budgeted first, then the query, and the document gets the rest. This module knows no torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.packing import Item
from qwen3_rag.models.tokenization import TextTokenizer

TEMPLATE_VERSION = "qwen3-instruct-query/1"
"""Part of every embedding space: vectors made with another template do not compare."""

DEFAULT_TASK = "Given a web search query, retrieve relevant passages that answer the query"
END_OF_TEXT = "<|endoftext|>"
QUERY_SHARE = 4
"""A reranker's query has at most one in so many tokens of the context; the rest is for template and document."""
LEAST_SHARED = 4
"""Tokens of an instruction that are worth being computed apart; nano's is one."""

_TURN, _TURN_END, _THINK, _THINK_END = "<|im_start|>", "<|im_end|>", "<think>", "</think>"
_JUDGE = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)
_RERANK_PREFIX = (_TURN, f"system\n{_JUDGE}", _TURN_END, "\n", _TURN, "user\n")
_RERANK_SUFFIX = (_TURN_END, "\n", _TURN, "assistant\n", _THINK, "\n\n", _THINK_END, "\n\n")
_SPECIAL = frozenset((_TURN, _TURN_END, _THINK, _THINK_END))


@dataclass(frozen=True, slots=True)
class Prompt:
    """Token ids that a model reads, whether text was cut to make them fit, and how many of the first ids are the template's.

    Prompts that begin alike can share the computing of their first `shared` ids.
    """

    ids: list[int]
    truncated: bool
    shared: int = 0

    @property
    def item(self) -> Item:
        """What is computed."""
        return Item(self.ids, self.shared)


def query_text(query: str, instruction: str | None = None) -> str:
    """The embedding model's query text. There is no space after `Query:`."""
    return f"Instruct: {DEFAULT_TASK if instruction is None else instruction}\nQuery:{query}"


def rerank_query_text(query: str, instruction: str | None = None) -> str:
    """The reranking model's prompt up to the document, special tokens spelled out, for servers that are sent text."""
    return f"{''.join(_RERANK_PREFIX)}<Instruct>: {DEFAULT_TASK if instruction is None else instruction}\n<Query>: {query}\n"


def rerank_document_text(document: str) -> str:
    """The rest of that prompt; the two are joined with nothing in between."""
    return f"<Document>: {document}{''.join(_RERANK_SUFFIX)}"


class EmbeddingTemplate:
    """Makes prompts of at most `max_tokens` ids, end-of-text included, which every prompt has exactly once and last."""

    def __init__(self, tokenizer: TextTokenizer, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._room = max_tokens - 1
        self.end_id = tokenizer.special_id(END_OF_TEXT)

    def documents(self, texts: Sequence[str]) -> list[Prompt]:
        """Documents are embedded as they are."""
        return [self._prompt(ids) for ids in self._tokenizer.encode_all(texts)]

    def queries(self, texts: Sequence[str], instruction: str | None = None) -> list[Prompt]:
        """Queries follow the instruction; only the query is ever cut.

        Raises:
            ConfigurationError: the instruction leaves no room for a query.
        """
        fixed = self._tokenizer.encode(query_text("", instruction))
        if len(fixed) >= self._room:
            raise _too_long(len(fixed), self._room)
        return [self._prompt(ids, fixed) for ids in self._tokenizer.encode_all([query_text(text, instruction) for text in texts])]

    def _prompt(self, ids: list[int], fixed: Sequence[int] = ()) -> Prompt:
        shared = _common(ids, fixed)
        return Prompt([*ids[: self._room], self.end_id], len(ids) > self._room, shared if shared >= LEAST_SHARED else 0)


class RerankTemplate:
    """Makes prompts of at most `max_tokens` ids that end where the model answers `yes_id` or `no_id`."""

    def __init__(self, tokenizer: TextTokenizer, max_tokens: int) -> None:
        self._tokenizer = tokenizer
        self._prefix = self._fixed(_RERANK_PREFIX)
        self._suffix = self._fixed(_RERANK_SUFFIX)
        self._room = max_tokens - len(self._prefix) - len(self._suffix)
        self.max_query_tokens = max_tokens // QUERY_SHARE
        self.yes_id = tokenizer.word_id("yes")
        self.no_id = tokenizer.word_id("no")

    @property
    def highest_id(self) -> int:
        """The highest id of the fixed parts."""
        return max(*self._prefix, *self._suffix)

    def prompts(self, query: str, documents: Sequence[str], instruction: str | None = None) -> list[Prompt]:
        """One prompt a document. A cut query marks all of them as truncated, for none of them was judged by the whole of it.

        Raises:
            ConfigurationError: the instruction leaves no room for query and document.
        """
        task = DEFAULT_TASK if instruction is None else instruction
        fixed = len(self._head(task, ""))
        cap = min(self.max_query_tokens, (self._room - fixed) // 2)
        if cap < 1:
            raise _too_long(fixed, self._room)
        kept = self._tokenizer.head(query, cap)
        head = self._head(task, kept)
        room, shared = self._room - len(head), len(self._prefix) + len(head)
        return [
            Prompt([*self._prefix, *head, *ids[:room], *self._suffix], len(kept) < len(query) or len(ids) > room, shared)
            # The space belongs to the document: pre-tokenization attaches it to the first word, as in the template's one string.
            for ids in self._tokenizer.encode_all([f" {document}" for document in documents])
        ]

    def _head(self, task: str, query: str) -> list[int]:
        return self._tokenizer.encode(f"<Instruct>: {task}\n<Query>: {query}\n<Document>:")

    def _fixed(self, parts: Sequence[str]) -> list[int]:
        ids: list[int] = []
        for part in parts:
            ids += [self._tokenizer.special_id(part)] if part in _SPECIAL else self._tokenizer.encode(part)
        return ids


def _common(ids: Sequence[int], fixed: Sequence[int]) -> int:
    """How many of the first ids are those of `fixed`: a query's first letters may have merged with the template's last token."""
    return next((index for index, (one, other) in enumerate(zip(ids, fixed, strict=False)) if one != other), min(len(ids), len(fixed)))


def _too_long(fixed: int, room: int) -> ConfigurationError:
    return ConfigurationError(
        f"The instruction takes {fixed} of the {max(room, 0)} tokens that this model's context has for it and the text, which leaves none "
        "for the text. Give a shorter `instruction`."
    )
