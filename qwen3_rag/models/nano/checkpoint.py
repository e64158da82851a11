"""A Qwen3 checkpoint that computes a weighted mean of token vectors, written down weight by weight. Nothing is trained.

The residual stream has content dimensions, which hold token vectors, and eight feature dimensions at the end (`Feature`). The row of
every token but end-of-text has the same norm, so the RMSNorm of the layer only scales it.

- The one layer averages. The query is the same at every position, the key is the log weight, the value is the content. Softmax turns log
  weights into weights.
- Key dimensions are the slowest rotary ones, at a base where they turn by less than 0.001 rad in the whole context: position plays no part.
- A key has to survive k_norm, which fixes its norm. So a log weight is stored as a sine next to its cosine.
- The end-of-text row holds almost no content, so its hidden state is the mean. The final norm zeroes the feature dimensions.

What has no part in this (the MLP's inputs) is small noise whose output projection is zero: it changes nothing and has gradients. Training
goes on from here. This module knows nothing of texts or of the teacher.
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
LAYERS = 1
RMS_NORM_EPS = 1e-6

LOG_WEIGHT_SCALE = 10.0
"""A sine of 1 is the largest log weight, of -1 one that is 20 less."""
CONTENT_SCALE = 0.25
"""Root mean square of a row's content, beside features of one: a step of training that moves both alike turns the content further."""
NOISE = 0.02
FAINT = 2.0**-10
"""Content of the end-of-text row: enough to give an empty text a direction, too little to turn another one."""


class Feature(IntEnum):
    """The feature dimensions, counted from the first after the content. The rest of the eight are zero, and so is BEGINS at first."""

    ONE = 0
    LOG_WEIGHT_SINE = 1
    LOG_WEIGHT_COSINE = 2
    BEGINS = 4
    """Of what begins a text (`training/nano/signatures.py`)."""


class KeyDim(IntEnum):
    """Key dimensions in use: the first halves of the slowest rotary pairs."""

    LOG_WEIGHT_SINE = HEAD_DIM // 2 - 1
    LOG_WEIGHT_COSINE = HEAD_DIM // 2 - 2


@dataclass(frozen=True, slots=True)
class TokenTable:
    """What the checkpoint averages: `directions` of shape (vocabulary, content), unit rows, and `log_weights`, shape (vocabulary,).

    A log weight of -inf is the least the checkpoint can express: a token that counts only in the absence of others.
    """

    directions: Array
    log_weights: Array
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
    tensors |= {f"layers.0.self_attn.{name}": tensor for name, tensor in _averaging_attention(table).items()}
    tensors |= {f"layers.0.{name}": tensor for name, tensor in _rest_of_layer(table, generator).items()}
    return dict(sorted(tensors.items()))


def _embeddings(table: TokenTable) -> Array:
    rows = np.zeros((len(table.directions), table.hidden))
    rows[:, : table.content] = table.directions * np.sqrt(table.content) * CONTENT_SCALE
    rows[table.end_of_text_id, : table.content] *= FAINT
    sine = np.clip(1 + (table.log_weights - table.log_weights.max()) / LOG_WEIGHT_SCALE, -1, 1)
    features = rows[:, table.content :]
    features[:, Feature.ONE] = 1
    features[:, Feature.LOG_WEIGHT_SINE] = sine
    features[:, Feature.LOG_WEIGHT_COSINE] = np.sqrt(1 - sine**2)
    return rows


def _averaging_attention(table: TokenTable) -> dict[str, Array]:
    """All heads attend alike, each carries its own slice of the content."""
    width = table.heads * HEAD_DIM
    query, key, value = (np.zeros((width, table.hidden)) for _ in range(3))
    output = np.zeros((table.hidden, width))
    for first in range(0, width, HEAD_DIM):
        query[first + KeyDim.LOG_WEIGHT_SINE, table.content + Feature.ONE] = 1
        key[first + KeyDim.LOG_WEIGHT_SINE, table.content + Feature.LOG_WEIGHT_SINE] = 1
        key[first + KeyDim.LOG_WEIGHT_COSINE, table.content + Feature.LOG_WEIGHT_COSINE] = 1
    value[: table.content] = np.eye(table.content, table.hidden)
    output[: table.content, : table.content] = np.eye(table.content)
    # After their norms query and key have norm sqrt(HEAD_DIM), and attention divides their product by sqrt(HEAD_DIM).
    query_norm = np.ones(HEAD_DIM)
    query_norm[KeyDim.LOG_WEIGHT_SINE] = LOG_WEIGHT_SCALE / np.sqrt(HEAD_DIM)
    return {
        "q_proj.weight": query,
        "k_proj.weight": key,
        "v_proj.weight": value,
        "o_proj.weight": output,
        "q_norm.weight": query_norm,
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
