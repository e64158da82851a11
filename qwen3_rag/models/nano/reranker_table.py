"""What nano's reranker knows of each token: a code that words of one stem share, a direction of meaning, and how much a match is worth.

Directions come from the rows of a nano embedder. The worth of a word is read off its place in the vocabulary: WordPiece vocabularies are
in order of frequency, and by Zipf's law the logarithm of the rank is, up to a constant, minus the logarithm of the probability. Stems
and stopwords are those of the lexical search. It knows nothing of the network.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from tokenizers import Tokenizer

from qwen3_rag.errors import ModelFormatError
from qwen3_rag.models.checkpoint import Checkpoint
from qwen3_rag.models.nano.checkpoint import FEATURES
from qwen3_rag.models.nano.reranker_vocabulary import RerankVocabulary
from qwen3_rag.models.nano.vocabulary import CONTINUATION
from qwen3_rag.store.sparse import Bm25Encoder

CODE = 40
"""Dimensions of a stem's code: random directions, whose cosines among 22,000 stems stay below 0.7 or so."""
CONTENT = 192
"""Dimensions of meaning that are kept; the embedder's are in order of importance."""
WEIGHT_POWER = 1.5
"""Of the logarithm of the rank."""

_EMBEDDINGS = ("embed_tokens.weight", "model.embed_tokens.weight")

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RerankTable:
    """`codes` of shape (vocabulary, CODE) and `directions` of shape (vocabulary, CONTENT) have unit rows, `weights` lie in 0 … 1."""

    codes: Array
    directions: Array
    weights: Array


def rerank_table(vocabulary: RerankVocabulary, embedder: Path, seed: int) -> RerankTable:
    """Read a nano embedder's token rows and put codes and weights beside them.

    Raises:
        ModelFormatError: the folder holds no nano embedder.
    """
    generator = np.random.default_rng(seed)
    stems, stopwords = stems_of(vocabulary.tokenizer)
    codes = generator.normal(size=(stems.max() + 1, CODE))[stems]
    directions = generator.normal(size=(len(vocabulary), CONTENT))
    rows = _token_rows(embedder)[: vocabulary.document_marker_id, :CONTENT]  # tokens from there on are special
    if len(rows) < vocabulary.document_marker_id:
        raise ModelFormatError(f"{embedder} has fewer token rows than its tokenizer has tokens. Give the folder of a nano embedder.")
    known = np.linalg.norm(rows, axis=1) > 0
    directions[: len(rows)][known] = rows[known]
    weights = token_worth(len(vocabulary))
    weights[stopwords] = 0
    weights[[vocabulary.sink_id, *vocabulary.blank_ids]] = 0
    return RerankTable(_unit(codes), _unit(directions), weights)


def token_worth(count: int) -> Array:
    """(log rank / log count)^WEIGHT_POWER for ranks 2 … count + 1; shape (count,)."""
    worth: Array = (np.log(np.arange(count) + 2.0) / np.log(count + 1.0)) ** WEIGHT_POWER
    return worth


def stems_of(tokenizer: Tokenizer) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The number of each token's stem, and which tokens are stopwords or punctuation. A piece of a word is a stem of its own."""
    analyser = Bm25Encoder()
    count = tokenizer.get_vocab_size(with_added_tokens=True)
    stems, stopwords = np.arange(count), np.zeros(count, dtype=bool)
    for index in range(count):
        if (tokenizer.id_to_token(index) or "").startswith(CONTINUATION):
            continue
        terms = analyser.query(tokenizer.decode([index], skip_special_tokens=False), "en").indices
        stopwords[index] = not terms
        if len(terms) == 1:
            stems[index] = count + terms[0]
    return np.unique(stems, return_inverse=True)[1], stopwords


def _token_rows(embedder: Path) -> Array:
    """Content of the embedder's token vectors, without its features."""
    checkpoint = Checkpoint.open(embedder)
    name = next(name for name in _EMBEDDINGS if name in checkpoint.tensors)
    content = checkpoint.hidden_size - FEATURES
    if content < CONTENT:
        raise ModelFormatError(f"The model in {embedder} is {checkpoint.hidden_size} wide, less than nano is. Give a nano embedder.")
    with safe_open(checkpoint.tensors[name].file, framework="np") as file:
        rows: Array = file.get_tensor(name)[:, :content].astype(np.float64)
    return rows


def _unit(rows: Array) -> Array:
    result: Array = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return result
