r"""A Qwen3 checkpoint that computes a weighted mean of token vectors, written down weight by weight. Nothing is trained.

The residual stream has content dimensions, which hold token vectors, and eight feature dimensions at the end (`Feature`). Every
token's row has the same norm, so the RMSNorm of a layer only scales it.

- Layer 1, head 0 looks for the query marker. Keys are high for the marker and low for all else; the value of the marker is 2, of all
  else 0, and is added to the feature MARKED, which starts at -1. It is +1 from the marker on, and -1 before it or where there is none.
- Layer 2 averages. The query is the same at every position, the key is log weight plus a large constant times MARKED, the value is
  the content. Softmax turns log weights into weights, and where some tokens are marked the others vanish: a query is the
  mean of what follows `\nQuery:`, whatever the instruction, a document the mean of its whole text.
- Key dimensions are the slowest rotary ones, at a base where they turn by less than 0.001 rad in the whole context: position plays no part.
- A key has to survive k_norm, which fixes its norm. So a log weight is stored as a sine next to its cosine, and MARKED is -1 or +1.
- The end-of-text row holds almost no content, so its hidden state is the mean. The final norm zeroes the feature dimensions.

What has no part in this (the other heads of layer 1, the MLPs' inputs) is small noise whose output projection is zero: it changes
nothing and has gradients, should somebody train on. This module knows nothing of texts or of the teacher.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import save_file

Array = NDArray[np.float64]

HEAD_DIM = 64
FEATURES = 8
CONTEXT = 32_768
ROPE_THETA = 1e8
LAYERS = 2
RMS_NORM_EPS = 1e-6

LOG_WEIGHT_SCALE = 10.0
"""A sine of 1 is the largest log weight, of -1 one that is 20 less."""
MARK_SCALE = 20.0
"""Logits of marked and unmarked tokens differ by twice this: a factor of e^40."""
NOISE = 0.02
FAINT = 2.0**-10
"""Content of the end-of-text row: enough to give an empty text a direction, too little to turn another one."""


class Feature(IntEnum):
    """The feature dimensions, counted from the first after the content. The rest of the eight are zero."""

    ONE = 0
    LOG_WEIGHT_SINE = 1
    LOG_WEIGHT_COSINE = 2
    MARKED = 3
    IS_MARKER = 4


class KeyDim(IntEnum):
    """Key dimensions in use: the first halves of the slowest rotary pairs."""

    LOG_WEIGHT_SINE = HEAD_DIM // 2 - 1
    MARKED = HEAD_DIM // 2 - 2
    LOG_WEIGHT_COSINE = HEAD_DIM // 2 - 3
    IS_MARKER = HEAD_DIM // 2 - 1


@dataclass(frozen=True, slots=True)
class TokenTable:
    """What the checkpoint averages: `directions` of shape (vocabulary, content), unit rows, and `log_weights`, shape (vocabulary,).

    A log weight of -inf is the least the checkpoint can express: a token that counts only in the absence of others.
    """

    directions: Array
    log_weights: Array
    marker_id: int
    end_of_text_id: int

    @property
    def content(self) -> int:
        """Content dimensions."""
        return int(self.directions.shape[1])

    @property
    def hidden(self) -> int:
        """Content and feature dimensions."""
        return self.content + FEATURES

    @property
    def heads(self) -> int:
        """Heads enough to carry the content."""
        return -(-self.content // HEAD_DIM)


def save_checkpoint(table: TokenTable, folder: Path, seed: int) -> None:
    """Write `config.json` and `model.safetensors` (float16)."""
    (folder / "config.json").write_text(json.dumps(_config(table), indent=2) + "\n", encoding="utf-8")
    tensors = {name: np.ascontiguousarray(tensor.astype(np.float16)) for name, tensor in _tensors(table, seed).items()}
    weights = folder / "model.safetensors"
    save_file(tensors, weights, metadata={"format": "pt"})
    weights.chmod(0o644)  # safetensors makes files that only their owner can read


def _config(table: TokenTable) -> dict[str, Any]:
    return {
        "architectures": ["Qwen3ForCausalLM"],
        "model_type": "qwen3",
        "vocab_size": len(table.directions),
        "hidden_size": table.hidden,
        "intermediate_size": table.hidden,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": table.heads,
        "num_key_value_heads": table.heads,
        "head_dim": HEAD_DIM,
        "hidden_act": "silu",
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": RMS_NORM_EPS,
        "rope_theta": ROPE_THETA,
        "attention_bias": False,
        "attention_dropout": 0.0,
        "tie_word_embeddings": True,
        "bos_token_id": table.end_of_text_id,
        "eos_token_id": table.end_of_text_id,
        "dtype": "float16",
    }


def _tensors(table: TokenTable, seed: int) -> dict[str, Array]:
    generator = np.random.default_rng(seed)
    final_norm = np.ones(table.hidden)
    final_norm[table.content :] = 0
    tensors = {"embed_tokens.weight": _embeddings(table), "norm.weight": final_norm}
    for index, attention in enumerate((_marking_attention(table, generator), _averaging_attention(table, generator))):
        tensors |= {f"layers.{index}.self_attn.{name}": tensor for name, tensor in attention.items()}
        tensors |= {f"layers.{index}.{name}": tensor for name, tensor in _rest_of_layer(table, generator).items()}
    return dict(sorted(tensors.items()))


def _embeddings(table: TokenTable) -> Array:
    rows = np.zeros((len(table.directions), table.hidden))
    rows[:, : table.content] = table.directions * np.sqrt(table.content)
    rows[table.end_of_text_id, : table.content] *= FAINT
    sine = np.clip(1 + (table.log_weights - table.log_weights.max()) / LOG_WEIGHT_SCALE, -1, 1)
    features = rows[:, table.content :]
    features[:, Feature.ONE] = 1
    features[:, Feature.LOG_WEIGHT_SINE] = sine
    features[:, Feature.LOG_WEIGHT_COSINE] = np.sqrt(1 - sine**2)
    features[:, Feature.MARKED] = -1
    features[:, Feature.IS_MARKER] = -1
    features[table.marker_id, Feature.IS_MARKER] = 1
    return rows


def _marking_attention(table: TokenTable, generator: np.random.Generator) -> dict[str, Array]:
    """Layer 1: head 0 adds 2 to MARKED at and after the marker."""
    weights = _noisy_attention(table, generator)
    one, is_marker = table.content + Feature.ONE, table.content + Feature.IS_MARKER
    for name in ("q_proj.weight", "k_proj.weight", "v_proj.weight"):
        weights[name][:HEAD_DIM] = 0
    weights["q_proj.weight"][KeyDim.IS_MARKER, one] = 1
    weights["k_proj.weight"][KeyDim.IS_MARKER, is_marker] = 1
    # After their norms query and key are ±sqrt(HEAD_DIM) in this one dimension, and attention divides their product by sqrt(HEAD_DIM).
    weights["q_norm.weight"][KeyDim.IS_MARKER] = MARK_SCALE / np.sqrt(HEAD_DIM)
    weights["v_proj.weight"][0, [one, is_marker]] = 1
    weights["o_proj.weight"][table.content + Feature.MARKED, 0] = _row_rms(table)
    return weights


def _averaging_attention(table: TokenTable, generator: np.random.Generator) -> dict[str, Array]:
    """Layer 2: all heads attend alike, each carries its own slice of the content."""
    weights = _noisy_attention(table, generator)
    features = {
        KeyDim.LOG_WEIGHT_SINE: Feature.LOG_WEIGHT_SINE,
        KeyDim.LOG_WEIGHT_COSINE: Feature.LOG_WEIGHT_COSINE,
        KeyDim.MARKED: Feature.MARKED,
    }
    weights["q_proj.weight"][:] = 0
    weights["k_proj.weight"][:] = 0
    for head in range(table.heads):
        first = head * HEAD_DIM
        weights["q_proj.weight"][[first + KeyDim.LOG_WEIGHT_SINE, first + KeyDim.MARKED], table.content + Feature.ONE] = 1
        for key_dim, feature in features.items():
            weights["k_proj.weight"][first + key_dim, table.content + feature] = 1
    # Query and key have squared norm HEAD_DIM after their norms, spread over two parts each: hence the half.
    unit = np.sqrt(HEAD_DIM) / 2
    weights["q_norm.weight"][KeyDim.LOG_WEIGHT_SINE] = LOG_WEIGHT_SCALE / unit
    weights["q_norm.weight"][KeyDim.MARKED] = MARK_SCALE / unit
    weights["v_proj.weight"][: table.content] = np.eye(table.content, table.hidden)
    weights["o_proj.weight"][: table.content, : table.content] = np.eye(table.content)
    return weights


def _noisy_attention(table: TokenTable, generator: np.random.Generator) -> dict[str, Array]:
    shape = (table.heads * HEAD_DIM, table.hidden)
    return {
        "q_proj.weight": generator.normal(0, NOISE, shape),
        "k_proj.weight": generator.normal(0, NOISE, shape),
        "v_proj.weight": generator.normal(0, NOISE, shape),
        "o_proj.weight": np.zeros(shape[::-1]),
        "q_norm.weight": np.ones(HEAD_DIM),
        "k_norm.weight": np.ones(HEAD_DIM),
    }


def _rest_of_layer(table: TokenTable, generator: np.random.Generator) -> dict[str, Array]:
    square = (table.hidden, table.hidden)
    return {
        "input_layernorm.weight": np.ones(table.hidden),
        "post_attention_layernorm.weight": np.ones(table.hidden),
        "mlp.gate_proj.weight": generator.normal(0, NOISE, square),
        "mlp.up_proj.weight": generator.normal(0, NOISE, square),
        "mlp.down_proj.weight": np.zeros(square),
    }


def _row_rms(table: TokenTable) -> float:
    """Root mean square of every row but the end-of-text one: content, and four features (or pairs of them) of norm one."""
    return float(np.sqrt((table.content + 4) / table.hidden))
