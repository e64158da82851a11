"""Counts tokens for the splitter, many times faster than by encoding every candidate anew. It knows nothing of documents.

The splitter asks for the sizes of many strings that begin at the same place. One encoding answers for all prefixes of a string, and
of a string far over the budget only the beginning is encoded. Both are a token or two off at the cut; the chunker encodes every
finished chunk, so what is promised never rests on these numbers.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from tokenizers import Tokenizer

_MARGIN = 1.2
_CHARACTERS_PER_TOKEN = 32
"""At most so many characters count as one token: a tokenizer may take a word of any length for a single unknown token."""

_BATCH = 64


class Encodings:
    """Token ids of the texts of one document, without special tokens, each encoded once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self._known: dict[str, list[int]] = {}

    def __call__(self, texts: Sequence[str]) -> list[list[int]]:
        """Ids of each text. The batch call of the tokenizer is used because it lets other threads run."""
        unknown = [text for text in dict.fromkeys(texts) if text not in self._known]
        for first in range(0, len(unknown), _BATCH):  # encodings are many times larger than their text
            part = unknown[first : first + _BATCH]
            encodings = self.tokenizer.encode_batch_fast(part, add_special_tokens=False)
            self._known.update((text, encoding.ids) for text, encoding in zip(part, encodings, strict=True))
        return [self._known[text] for text in texts]

    def count(self, texts: Sequence[str]) -> list[int]:
        """Exact number of tokens of each text."""
        return [len(ids) for ids in self(texts)]

    def keep(self, text: str, ids: list[int]) -> None:
        """Remember what was encoded elsewhere."""
        self._known[text] = ids

    def known(self, text: str) -> int | None:
        """Number of tokens of a text that was encoded before."""
        ids = self._known.get(text)
        return None if ids is None else len(ids)


class PrefixCounter:
    """Sizes of strings against a budget of tokens. For one thread and one splitting at a time."""

    def __init__(self, encodings: Encodings, budget: int) -> None:
        self._encodings = encodings
        self._budget = budget
        self._text = ""
        self._ends: list[int] = []
        self._characters_per_token = 4.0

    def __call__(self, text: str) -> int:
        """Tokens of the text; of one over the budget, some number over the budget."""
        known = self._encodings.known(text)
        return max(self._tokens(text) if known is None else known, len(text) // _CHARACTERS_PER_TOKEN)

    def is_short(self, text: str) -> bool:
        """Whether a text is likely to be within the budget."""
        return len(text) <= self._window

    @property
    def _window(self) -> int:
        return int(self._budget * self._characters_per_token * _MARGIN) + 16

    def _tokens(self, text: str) -> int:
        if self._text.startswith(text):
            return self._prefix(len(text))
        if len(self._ends) > self._budget and text.startswith(self._text):
            return len(self._ends)
        window = self._window
        while window < len(text):
            beginning = text[:window]
            tokens = self._prefix(window) if self._text.startswith(beginning) else self._encode(beginning)
            if tokens > self._budget:
                return tokens
            window *= 2
        return self._encode(text)

    def _encode(self, text: str) -> int:
        encoding = self._encodings.tokenizer.encode_batch([text], add_special_tokens=False)[0]
        self._text = text
        self._ends = [end for _, end in encoding.offsets]
        if len(self._ends) <= self._budget:  # it may become a chunk as it is
            self._encodings.keep(text, encoding.ids)
        if len(self._ends) > 16:
            self._characters_per_token = len(text) / len(self._ends)
        return len(self._ends)

    def _prefix(self, length: int) -> int:
        whole = bisect_right(self._ends, length)
        cut = whole < len(self._ends) and (self._ends[whole - 1] if whole else 0) < length
        return whole + cut
