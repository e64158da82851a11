"""The checkpoint of nano's reranker: token rows, the layers of `reranker_layers`, and a configuration, as float16 in Hugging Face's format.

A row is a token's code, its direction and its features, filled up so that all rows have the same norm and RMSNorm only scales them. The
head is tied: the rows of yes and no hold +1 and -1 in SCORE, and the final norm lets nothing else through. This module knows no texts.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

from qwen3_rag.models.checkpoint import CONFIG_FILE, WEIGHTS_FILE
from qwen3_rag.models.nano.reranker_layers import (
    COMPARED,
    FEATURES,
    HEAD_DIM,
    HEADS,
    HIDDEN,
    INNER,
    KEY_HEADS,
    ROPE_THETA,
    SIZE,
    Feature,
    Formula,
    feature,
    layers,
)
from qwen3_rag.models.nano.reranker_table import CODE, CONTENT, RerankTable
from qwen3_rag.models.nano.reranker_vocabulary import RerankVocabulary

CONTEXT = 32_768
CODE_SHARE = 0.6
"""Of the squared length of what is compared; the rest is the direction's leading part."""
_LONGEST_REST = 140.0
"""Squared length of the rest of a direction at most, so that a row has room for its features."""
_ATTENTION = frozenset(("q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm"))

Array = NDArray[np.float64]


def save_rerank_checkpoint(table: RerankTable, vocabulary: RerankVocabulary, formula: Formula, folder: Path, seed: int) -> None:
    """Write `config.json` and `model.safetensors`. The same arguments give the same bytes."""
    (folder / CONFIG_FILE).write_text(json.dumps(_config(vocabulary), indent=2) + "\n", encoding="utf-8")
    tensors = {"model.embed_tokens.weight": token_rows(table, vocabulary), "model.norm.weight": _final_norm()}
    for index, layer in enumerate(layers(formula, np.random.default_rng(seed))):
        tensors |= {f"model.layers.{index}.{_within_layer(name)}.weight": tensor for name, tensor in layer.items()}
    halves = {name: np.ascontiguousarray(tensor.astype(np.float16)) for name, tensor in sorted(tensors.items())}
    save_file(halves, folder / WEIGHTS_FILE, metadata={"format": "pt"})
    (folder / WEIGHTS_FILE).chmod(0o644)  # safetensors makes files that only their owner can read


def token_rows(table: RerankTable, vocabulary: RerankVocabulary) -> Array:
    """The embedding matrix, shape (vocabulary, HIDDEN)."""
    rows = np.zeros((len(vocabulary), HIDDEN))
    rows[:, : CODE + CONTENT] = _meanings(table)
    without = [vocabulary.sink_id, *vocabulary.blank_ids]
    rows[without] = 0
    features = rows[:, -FEATURES:]
    features[:, Feature.ONE] = 1
    features[:, Feature.WEIGHT] = table.weights
    features[vocabulary.sink_id, Feature.SINK] = SIZE
    features[list(vocabulary.blank_ids), Feature.BLANK] = SIZE
    markers = (Feature.IS_QUERY_MARKER, Feature.IS_DOCUMENT_MARKER, Feature.IS_TURN_END)
    features[:, [*markers, Feature.QUERY_SEEN, Feature.DOCUMENT_SEEN]] = -1
    for which, token in zip(markers, (vocabulary.query_marker_id, vocabulary.document_marker_id, vocabulary.turn_end_id), strict=True):
        features[token, which] = 1
    features[[vocabulary.yes_id, vocabulary.no_id], Feature.SCORE] = 1, -1
    features[:, Feature.FILLER] = np.sqrt(HIDDEN - np.square(rows).sum(1))
    return rows


def _meanings(table: RerankTable) -> Array:
    """Codes and directions, scaled so that the compared part of each has the length SIZE."""
    lead = COMPARED - CODE
    lengths = np.linalg.norm(table.directions[:, :lead], axis=1, keepdims=True)
    directions = table.directions / lengths * SIZE * np.sqrt(1 - CODE_SHARE)
    rest = directions[:, lead:]
    rest *= np.minimum(1, np.sqrt(_LONGEST_REST) / np.linalg.norm(rest, axis=1, keepdims=True))
    return np.concatenate([table.codes * SIZE * np.sqrt(CODE_SHARE), directions], axis=1)


def _final_norm() -> Array:
    norm = np.zeros(HIDDEN)
    norm[feature(Feature.SCORE)] = 1
    return norm


def _within_layer(name: str) -> str:
    if name in _ATTENTION:
        return f"self_attn.{name}"
    return name if name.endswith("layernorm") else f"mlp.{name}"


def _config(vocabulary: RerankVocabulary) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": len(vocabulary),
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": 4,
        "num_attention_heads": HEADS,
        "num_key_value_heads": KEY_HEADS,
        "head_dim": HEAD_DIM,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-6,
        "rope_theta": ROPE_THETA,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "bos_token_id": vocabulary.end_of_text_id,
        "eos_token_id": vocabulary.end_of_text_id,
        "dtype": "float16",
    }
