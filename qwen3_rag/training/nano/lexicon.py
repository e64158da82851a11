"""What nano's vocabulary says of words as words: which tokens are one stem, what a stem is worth, and a random code for each.

A text's lexical vector counts each of its stems once, by its worth, and has length one: two texts are alike by the stems that they share.
Codes of few dimensions keep that roughly, of many closely (random projection: Johnson and Lindenstrauss, 1984). Stems, stopwords and
worth are those of nano's reranker. This module knows no network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from qwen3_rag.models.nano.reranker_table import stems_of, token_worth
from qwen3_rag.models.nano.vocabulary import QUERY_MARKER, spelled_in_bytes

CODE = 64
"""Dimensions of a stem's code in the network."""
WIDE = 1024
"""Dimensions of its code where nothing has to fit in: similarities are off by a thirtieth."""
_BLOCK = 4096

Array = NDArray[np.float32]
Codes = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """Of each token: the number of its stem, and whether it is a word that counts; of each stem: its worth in 0 … 1, and its codes."""

    tokenizer: Tokenizer
    stems: NDArray[np.int64]
    counts: NDArray[np.bool_]
    worth: Codes
    codes: Codes
    wide: Codes

    @classmethod
    def of(cls, tokenizer: Tokenizer, negligible: NDArray[np.bool_], seed: int) -> Lexicon:
        """Made from nano's tokenizer.

        Args:
            tokenizer: of the constructed checkpoint.
            negligible: tokens that the embedder gives no weight, shape (vocabulary,).
            seed: of the codes.
        """
        stems, stopwords = stems_of(tokenizer)
        words = len(tokenizer.get_vocab(with_added_tokens=False)) - 1  # what follows, and the unknown token before it, are no words
        counts = ~(stopwords | negligible)
        counts[words:] = False
        counts[tokenizer.token_to_id(spelled_in_bytes(QUERY_MARKER))] = False
        worth = np.full(stems.max() + 1, np.inf)
        np.minimum.at(worth, stems, token_worth(len(stems)))  # the worth of a stem is that of its most frequent word
        generator = np.random.default_rng(seed)
        codes = generator.normal(size=(len(worth), CODE))
        wide = generator.normal(size=(len(worth), WIDE)) / np.sqrt(WIDE)
        return cls(tokenizer, stems, counts, np.sqrt(worth), codes / np.linalg.norm(codes, axis=1, keepdims=True), wide)

    def vectors(self, texts: Sequence[str]) -> tuple[Array, Array]:
        """Lexical vectors in short and in wide codes, of shapes (texts, CODE) and (texts, WIDE); zero where a text has no words."""
        short, wide = np.zeros((len(texts), CODE), np.float32), np.zeros((len(texts), WIDE), np.float32)
        for start in range(0, len(texts), _BLOCK):
            for offset, encoding in enumerate(self.tokenizer.encode_batch(list(texts[start : start + _BLOCK]))):
                ids = np.array(encoding.ids, dtype=np.int64)
                stems = np.unique(self.stems[ids[self.counts[ids]]])
                if len(stems):
                    weights = self.worth[stems] / np.linalg.norm(self.worth[stems])
                    short[start + offset], wide[start + offset] = weights @ self.codes[stems], weights @ self.wide[stems]
        return short, wide
