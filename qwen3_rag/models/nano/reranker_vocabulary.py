r"""The tokenizer of nano's reranker: that of the embedder, with a token that begins the query and one that begins the document.

The reranker's prompt reads `<Instruct>: …\n<Query>: …\n<Document>: …`. Layer 1 has to tell the three apart, so `\n<Query>:` and
`\n<Document>:` become one token each, by rules that no document can meet: the template encodes everything up to `<Document>:` as one
text, and each document as another that begins with a space. So `<Document>:` is a marker only where such a text ends, and a document that
quotes the template stays words. Servers are sent the prompt in one piece, in which the first `\n<Document>:` after the query counts.

It knows nothing of weights. It reads and writes `tokenizer.json`, whose format is that of the `tokenizers` library.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from qwen3_rag.errors import ModelFormatError
from qwen3_rag.models.nano.vocabulary import (
    QUERY_MARKER,
    SPECIAL_TOKENS,
    TEXT_MARKER,
    THINK_TOKENS,
    UNKNOWN,
    replacing,
    spelled_in_bytes,
    with_token,
    without_template,
)
from qwen3_rag.models.tokenization import TOKENIZER_FILE

DOCUMENT_MARKER = "␝"
"""A symbol that stands for the marker while a text is normalised; in a text itself it becomes a space."""
_CONFIG_FILE = "tokenizer_config.json"

_RULES = (
    (r"\A(?:user\n)?<Instruct>: [\s\S]*?\K\n<Query>:", QUERY_MARKER),
    (rf"\A<Instruct>: [\s\S]*?{QUERY_MARKER}[\s\S]*\K\n<Document>:\z", DOCUMENT_MARKER),
    (rf"\Auser\n<Instruct>: [\s\S]*?{QUERY_MARKER}[\s\S]*?\K\n<Document>:", DOCUMENT_MARKER),
)
"""Patterns and what replaces them, in order. \\K keeps what was matched before it."""


@dataclass(frozen=True, slots=True)
class RerankVocabulary:
    """The tokenizer as its file has it, and the ids of tokens that stand for no text.

    `sink_id` opens a chat turn, `turn_end_id` ends it; `blank_ids` are all others without meaning, markers included.
    """

    description: Mapping[str, Any]
    tokenizer: Tokenizer
    query_marker_id: int
    document_marker_id: int
    sink_id: int
    turn_end_id: int
    end_of_text_id: int
    blank_ids: tuple[int, ...]
    yes_id: int
    no_id: int

    def __len__(self) -> int:
        return self.tokenizer.get_vocab_size(with_added_tokens=True)


def rerank_vocabulary(embedder: Path) -> RerankVocabulary:
    """Make the tokenizer from that of a nano embedder. Its words keep their ids; special tokens move up by one.

    Raises:
        ModelFormatError: the folder's tokenizer is not nano's.
    """
    description = _with_markers(_read(embedder / TOKENIZER_FILE))
    tokenizer = Tokenizer.from_str(json.dumps(description, ensure_ascii=False))
    ids = tokenizer.get_vocab(with_added_tokens=True)
    end_of_text, sink, turn_end = (ids[token] for token in SPECIAL_TOKENS)
    query, document = (ids[spelled_in_bytes(marker)] for marker in (QUERY_MARKER, DOCUMENT_MARKER))
    unused = [ids[token] for token in (spelled_in_bytes(TEXT_MARKER),) if token in ids]  # a trained embedder has it
    blank = (end_of_text, turn_end, query, document, ids[UNKNOWN], *(ids[token] for token in THINK_TOKENS), *unused)
    return RerankVocabulary(description, tokenizer, query, document, sink, turn_end, end_of_text, blank, ids["yes"], ids["no"])


def save_rerank_tokenizer(vocabulary: RerankVocabulary, embedder: Path, folder: Path) -> None:
    """Write `tokenizer.json`, and `tokenizer_config.json` as the embedder has it."""
    (folder / TOKENIZER_FILE).write_text(json.dumps(vocabulary.description, ensure_ascii=False), encoding="utf-8")
    shutil.copyfile(embedder / _CONFIG_FILE, folder / _CONFIG_FILE)


def _read(path: Path) -> dict[str, Any]:
    try:
        description: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        rules = description["normalizer"]["normalizers"]
        known = description["model"]["vocab"]
        if rules[0]["pattern"] == {"String": QUERY_MARKER} and spelled_in_bytes(QUERY_MARKER) in known:
            return description
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ModelFormatError(f"{path} cannot be read as nano's tokenizer ({error!r}). Give the folder of a nano embedder.") from error
    raise ModelFormatError(f"{path} is not nano's tokenizer: it has no query marker. Give the folder of a nano embedder.")


def _with_markers(original: Mapping[str, Any]) -> dict[str, Any]:
    description, _ = with_token(original, DOCUMENT_MARKER)
    normalizers = description["normalizer"]["normalizers"]
    # The first is the embedder's: a marker symbol in a text becomes a space. Its own template's rules go.
    rules = [replacing({"Regex": pattern}, f" {marker} ") for pattern, marker in _RULES]
    kept = without_template(normalizers)
    description["normalizer"]["normalizers"] = [normalizers[0], replacing({"String": DOCUMENT_MARKER}, " "), *rules, *kept]
    decoders = [step for step in description["decoder"]["decoders"] if step.get("pattern") != {"String": f" {QUERY_MARKER}"}]
    shown = ((QUERY_MARKER, "\n<query>:"), (DOCUMENT_MARKER, "\n<document>:"))
    description["decoder"]["decoders"] = [*decoders, *(replacing({"String": f" {marker}"}, text) for marker, text in shown)]
    return description
