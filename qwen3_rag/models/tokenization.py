"""A checkpoint's tokenizer, split in two: plain text never becomes a special token, special tokens are looked up by name.

A text that contains `<|im_start|>` or `<think>` is encoded as the characters it consists of, so that a document cannot open a chat
turn or end itself. For every other text the ids are those of the checkpoint's own tokenizer. This module knows no template.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tokenizers import Tokenizer

from qwen3_rag.errors import ModelFormatError
from qwen3_rag.types import EncodedText

TOKENIZER_FILE = "tokenizer.json"
_SURROGATES = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class TextTokenizer:
    """`plain` encodes text, without special tokens, truncation or padding; `special` maps the added tokens to their ids."""

    plain: Tokenizer
    special: Mapping[str, int]
    folder: Path

    @classmethod
    def load(cls, folder: Path) -> TextTokenizer:
        """Read `tokenizer.json` of a checkpoint.

        Raises:
            ModelFormatError: the file is missing or is not a tokenizer.
        """
        path = folder / TOKENIZER_FILE
        try:
            description = json.loads(path.read_text(encoding="utf-8"))
            special = {token["content"]: int(token["id"]) for token in description.get("added_tokens") or ()}
            bare = {**description, "added_tokens": [], "post_processor": None, "truncation": None, "padding": None}
            plain = Tokenizer.from_str(json.dumps(bare, ensure_ascii=False))
        except FileNotFoundError:
            raise ModelFormatError(f"{path} is missing. Copy the tokenizer.json of the checkpoint into that folder.") from None
        except Exception as error:  # the Rust library raises plain Exception for a file it cannot read
            raise ModelFormatError(f"{path} is not a tokenizer that can be read ({error}). Download the checkpoint again.") from error
        return cls(plain, special, folder)

    def encode(self, text: str) -> list[int]:
        """Ids of a text, nothing added."""
        return self.plain.encode(writable(text), add_special_tokens=False).ids

    def encode_all(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text, in parallel where the machine has cores to spare. What was encoded by this tokenizer already is not again."""
        known = [text.ids_in(self.plain) if isinstance(text, EncodedText) else None for text in texts]
        unknown = [writable(text) for text, ids in zip(texts, known, strict=True) if ids is None]
        encodings = iter(self.plain.encode_batch_fast(unknown, add_special_tokens=False) if unknown else ())
        return [next(encodings).ids if ids is None else list(ids) for ids in known]

    def head(self, text: str, limit: int) -> str:
        """The longest start of `text`, in whole characters, that takes at most `limit` tokens."""
        encoding = self.plain.encode(writable(text), add_special_tokens=False)
        offsets = encoding.offsets
        keep = min(limit, len(offsets))
        while keep < len(offsets):
            end = offsets[keep - 1][1] if keep else 0
            # A character of several tokens shows the same span in each of them; cutting inside it would keep the whole character.
            if end <= offsets[keep][0] and len(self.encode(text[:end])) <= limit:
                return text[:end]
            keep -= 1
        return text

    def special_id(self, name: str) -> int:
        """The id of a special token.

        Raises:
            ModelFormatError: the tokenizer does not know it, or text that spells it could become it.
        """
        token = self.special.get(name, self.plain.token_to_id(name))
        if token is None:
            raise ModelFormatError(f"The tokenizer in {self.folder} has no token {name!r}. It is not that of a Qwen3 retrieval checkpoint.")
        if token in self.encode(name):
            raise ModelFormatError(f"The tokenizer in {self.folder} turns text that spells {name!r} into the special token itself.")
        return token

    def word_id(self, word: str) -> int:
        """The id of a word that must be one single token.

        Raises:
            ModelFormatError: it is not.
        """
        ids = self.encode(word)
        if len(ids) != 1 or self.plain.id_to_token(ids[0]) != word:
            raise ModelFormatError(
                f"The tokenizer in {self.folder} has no single token for the word {word!r}, which a reranker answers with."
            )
        return ids[0]

    @property
    def highest_id(self) -> int:
        """The highest id that text can be encoded to."""
        return max(self.plain.get_vocab(with_added_tokens=False).values(), default=-1)


def writable(text: str) -> str:
    """`text` with lone surrogates, which have no UTF-8 form, as U+FFFD."""
    return _SURROGATES.sub("\ufffd", text)
