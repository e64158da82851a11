"""What is sent to a server as text: templates applied once, texts cut to the context, special tokens only where the template has them.

A server parses `<|im_end|>` in a request as the special token, whoever wrote it. So every added token of the tokenizer that is spelled in
a query, an instruction or a document gets a word joiner (U+2060, invisible, no line break) after its first character: it still reads the
same, and is plain characters to the server. A local model encodes such text as plain characters as well, though not as the very same
ones. Counting and cutting are done with the local tokenizer. This module knows no HTTP.
"""

from __future__ import annotations

import logging
import re
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from qwen3_rag.errors import ConfigurationError, ModelNotFoundError
from qwen3_rag.models.hub import ModelKind, tokenizer_folder
from qwen3_rag.models.prompts import (
    END_OF_TEXT,
    EmbeddingTemplate,
    RerankTemplate,
    query_text,
    rerank_document_text,
    rerank_query_text,
)
from qwen3_rag.models.remote.config import Template
from qwen3_rag.models.tokenization import TOKENIZER_FILE, TextTokenizer, writable

WORD_JOINER = "\u2060"

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Text:
    """A text to send, its tokens without what the server adds, and whether it was cut."""

    text: str
    tokens: int
    truncated: bool


@dataclass(frozen=True, slots=True)
class Pairs:
    """One query text, one document text for each document, and the tokens of each pair."""

    query: str
    documents: list[Text]


class Writer:
    """Texts as one server's tokenizer is to read them."""

    def __init__(self, tokenizer: TextTokenizer) -> None:
        self.tokenizer = tokenizer
        spelled = sorted((name for name in tokenizer.special if len(name) > 1), key=len, reverse=True)
        self._special = re.compile("|".join(map(re.escape, spelled))) if spelled else None

    def plain(self, text: str) -> str:
        """`text` without surrogates, and with a word joiner inside everything that spells a special token."""
        text = writable(text)
        if self._special is None or not self._special.search(text):
            return text
        return self._special.sub(lambda found: f"{found[0][0]}{WORD_JOINER}{found[0][1:]}", text)

    def documents(self, texts: Sequence[str], max_tokens: int) -> list[Text]:
        """Documents as they are, cut to leave room for the end-of-text token."""
        return self._cut([self.plain(text) for text in texts], max_tokens - 1)

    def queries(self, texts: Sequence[str], instruction: str | None, max_tokens: int) -> list[Text]:
        """Queries after their instruction.

        Raises:
            ConfigurationError: the instruction leaves no room for a query.
        """
        task = None if instruction is None else self.plain(instruction)
        EmbeddingTemplate(self.tokenizer, max_tokens).queries((), task)  # refuses an instruction that is too long
        return self._cut([query_text(self.plain(text), task) for text in texts], max_tokens - 1)

    def pairs(self, query: str, documents: Sequence[str], instruction: str | None, max_tokens: int, template: Template) -> Pairs:
        """Query and documents for a reranker, cut as `RerankTemplate` cuts them.

        Raises:
            ConfigurationError: the instruction leaves no room for query and document.
        """
        task = None if instruction is None else self.plain(instruction)
        query, rules = self.plain(query), RerankTemplate(self.tokenizer, max_tokens)
        room = max_tokens - _fixed(rules, "", task)
        kept = self.tokenizer.head(query, min(rules.max_query_tokens, room // 2))
        fixed = _fixed(rules, kept, task)
        # The space is the template's, but pre-tokenization attaches it to the first word.
        cut = self._cut([f" {self.plain(document)}" for document in documents], max_tokens - fixed)
        is_ours = template is Template.CLIENT
        return Pairs(
            rerank_query_text(kept, task) if is_ours else kept,
            [
                Text(
                    rerank_document_text(document.text[1:]) if is_ours else document.text[1:],
                    fixed + document.tokens,
                    document.truncated or len(kept) < len(query),
                )
                for document in cut
            ],
        )

    def _cut(self, texts: Sequence[str], room: int) -> list[Text]:
        counts = [len(ids) for ids in self.tokenizer.encode_all(texts)]
        return [
            Text(text, count, truncated=False) if count <= room else self._head(text, room)
            for text, count in zip(texts, counts, strict=True)
        ]

    def _head(self, text: str, room: int) -> Text:
        kept = self.tokenizer.head(text, room)
        return Text(kept, len(self.tokenizer.encode(kept)), truncated=True)


def _fixed(rules: RerankTemplate, query: str, instruction: str | None) -> int:
    """Tokens of the template, the instruction and `query`; the space of the empty document is one that a document brings itself."""
    return len(rules.prompts(query, [""], instruction)[0].ids) - 1


def load_tokenizer(tokenizer: Tokenizer | str | Path | None, model: str, kind: ModelKind) -> TextTokenizer:
    """The tokenizer of a remote model: a `Tokenizer`, a hub id or a local folder; None is the one that goes by the model's name.

    Raises:
        ModelNotFoundError: it is neither here nor on the hub.
        ModelFormatError: it is no tokenizer of a Qwen3 retrieval model.
    """
    if isinstance(tokenizer, Tokenizer):
        with tempfile.TemporaryDirectory() as folder:
            tokenizer.save(str(Path(folder, TOKENIZER_FILE)))
            loaded = TextTokenizer.load(Path(folder))
    else:
        loaded = TextTokenizer.load(_folder(tokenizer, model, kind))
    loaded.special_id(END_OF_TEXT)
    return loaded


def _folder(tokenizer: str | Path | None, model: str, kind: ModelKind) -> Path:
    name = model if tokenizer is None else str(tokenizer)
    try:
        return tokenizer_folder(name, kind)
    except ModelNotFoundError as error:
        raise ModelNotFoundError(
            f"The tokenizer {name!r} of the remote {kind} {model!r} was not found ({str(error).split('. ')[0]}). Texts are counted and cut "
            f"here, so it is needed even where the model runs elsewhere. Give it as `tokenizer=` (QWEN3_RAG_{kind.upper()}_TOKENIZER): the "
            f"model's id on the hub, or a folder that holds its {TOKENIZER_FILE}."
        ) from error


def checked_limit(model: str, max_tokens: int, most: int) -> int:
    """`max_tokens` if it is possible.

    Raises:
        ConfigurationError: it is not between 2 and `most`.
    """
    if not 2 <= max_tokens <= most:
        raise ConfigurationError(f"max_tokens={max_tokens!r} is not possible with {model}. It can be 2 to {most}.")
    return max_tokens
