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


def count_tokens(tokenizer: Tokenizer, texts: Sequence[str]) -> list[int]:
    """Exact number of tokens of each text, without special tokens. The batch call is used because it lets other threads run."""
    return [
        len(encoding)
        for first in range(0, len(texts), _BATCH)  # encodings are many times larger than their text
        for encoding in tokenizer.encode_batch_fast(list(texts[first : first + _BATCH]), add_special_tokens=False)
    ]


class PrefixCounter:
    """Sizes of strings against a budget of tokens. For one thread and one splitting at a time."""

    def __init__(self, tokenizer: Tokenizer, budget: int) -> None:
        self._tokenizer = tokenizer
        self._budget = budget
        self._text = ""
        self._ends: list[int] = []
        self._characters_per_token = 4.0

    def __call__(self, text: str) -> int:
        """Tokens of the text; of one over the budget, some number over the budget."""
        return max(self._tokens(text), len(text) // _CHARACTERS_PER_TOKEN)

    def _tokens(self, text: str) -> int:
        if self._text.startswith(text):
            return self._prefix(len(text))
        window = int(self._budget * self._characters_per_token * _MARGIN) + 16
        while window < len(text):
            if self._encode(text[:window]) > self._budget:
                return len(self._ends)
            window *= 2
        return self._encode(text)

    def _encode(self, text: str) -> int:
        encoding = self._tokenizer.encode_batch([text], add_special_tokens=False)[0]
        self._text = text
        self._ends = [end for _, end in encoding.offsets]
        if len(self._ends) > 16:
            self._characters_per_token = len(text) / len(self._ends)
        return len(self._ends)

    def _prefix(self, length: int) -> int:
        whole = bisect_right(self._ends, length)
        cut = whole < len(self._ends) and (self._ends[whole - 1] if whole else 0) < length
        return whole + cut
