"""Gives a trained nano a memory for words: part of its vector becomes a bag of stems, each counted once.

A dense vector of this size blurs which words a text has, and the lexical search shows how much that is worth. So the last dimensions
of the content, which say least, are given over to codes of stems (`Lexicon`), which the averaging layer sums up beside the meaning.

A word that is said again must not count again, or the words that a long text repeats would drown the others. The first layer sees to
that with a head of its own: each token attends to those before it, and itself, that have its code, and to a marker that every text
begins with. The n-th of its kind meets n of its kind, and gives off a share of its code that grows with n.

What the network computed of the other dimensions stays as it was, but for the MLPs' least units, which make room for the head, and for
what the given-over dimensions said. Training mends that. This module knows files of tensors, no texts and no training.
"""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file
from tokenizers import Tokenizer

from qwen3_rag.errors import ModelFormatError
from qwen3_rag.models.nano.checkpoint import FEATURES, HEAD_DIM, LOG_WEIGHT_SCALE, Feature
from qwen3_rag.models.nano.vocabulary import QUERY_MARKER, spelled_in_bytes, with_text_marker
from qwen3_rag.training.nano.lexicon import CODE, Lexicon

LEAST_WEIGHT = 1e-3
"""Tokens that the embedder weighs less, such as line breaks, are no words."""
NOISE = 0.02
"""Standard deviation of new weights, that of Qwen3's own initialisation."""

# Pairs of rotary dimensions are i and i + HEAD_DIM / 2; from pair 12 on they turn by less than a radian over a thousand tokens. The last
# holds what is the same for all tokens.
_HALF = HEAD_DIM // 2
_STILL = [*range(12, _HALF - 1), *range(_HALF + 12, HEAD_DIM - 1)]
_FIXED = _HALF - 1

Array = NDArray[np.float64]
Tensors = dict[str, Array]


@dataclass(frozen=True, slots=True)
class Formula:
    """What was chosen on development questions.

    Attributes:
        scale: length of a code in a token's row, for a stem of worth 1 that the average gives full weight.
        most: a token's code is made longer where the average gives it less weight, at most by this over its worth.
        sharpness: what logits of the first layer are multiplied by, so that a match stands out among hundreds of tokens.
        marker: logit of the text marker, less that of a match.
        damping: what a token gives off of its code for the share of attention that its kind gets.
        gain: of codes in the vector.
        intermediate: units that the MLPs keep.
    """

    scale: float = 1.05
    most: float = 1.0
    sharpness: float = 3.0
    marker: float = -0.5
    damping: float = 1.2
    gain: float = 5.0
    intermediate: int = 416


def sign(source: Path, target: Path, seed: int, formula: Formula | None = None) -> Path:
    """Write a checkpoint with signatures, in float16, and its tokenizer.

    Args:
        source: a trained nano without them.
        target: folder of the new one.
        seed: of codes and new weights.
        formula: other than the chosen.

    Returns:
        `target`.

    Raises:
        ModelFormatError: the source has them already.
    """
    formula = formula or Formula()
    description = json.loads((source / "tokenizer.json").read_text(encoding="utf-8"))
    if any(step["type"] == "Prepend" for step in description["normalizer"]["normalizers"]):
        raise ModelFormatError(f"{source} has signatures already. Give a checkpoint that has none.")
    target.mkdir(parents=True, exist_ok=True)
    changed, marker = with_text_marker(description)
    (target / "tokenizer.json").write_text(json.dumps(changed, ensure_ascii=False, separators=(",", ":")), encoding="utf-8")
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    tensors = {name: tensor.astype(np.float64) for name, tensor in load_file(source / "model.safetensors").items()}
    _Signing(tensors, config["num_attention_heads"], lexicon_of(source, seed), marker, seed, formula).run(config["num_hidden_layers"])
    heads = {name: config[name] + 1 for name in ("num_attention_heads", "num_key_value_heads")}
    special = {name: config[name] + 1 for name in ("bos_token_id", "eos_token_id")}
    size = {"vocab_size": len(tensors["embed_tokens.weight"]), "intermediate_size": formula.intermediate}
    (target / "config.json").write_text(json.dumps(config | heads | special | size, indent=2) + "\n", encoding="utf-8")
    halves = {name: np.ascontiguousarray(tensor.astype(np.float16)) for name, tensor in sorted(tensors.items())}
    save_file(halves, target / "model.safetensors", metadata={"format": "pt"})
    shutil.copyfile(source / "tokenizer_config.json", target / "tokenizer_config.json")
    return target


def tone(source: Path, target: Path, factor: float) -> Path:
    """Write a checkpoint whose vectors have `factor` times as much of words. Returns `target`."""
    target.mkdir(parents=True, exist_ok=True)
    tensors = load_file(source / "model.safetensors")
    norm = tensors["norm.weight"]
    norm[_code_dims(len(norm))] *= factor
    save_file(tensors, target / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(source / name, target / name)
    return target


def lexicon_of(checkpoint: Path, seed: int) -> Lexicon:
    """The lexicon whose codes `sign` gives a checkpoint without signatures."""
    rows = load_file(checkpoint / "model.safetensors")["embed_tokens.weight"].astype(np.float64)
    return Lexicon.of(Tokenizer.from_file(str(checkpoint / "tokenizer.json")), _weights(rows) <= LEAST_WEIGHT, seed)


def _code_dims(width: int) -> slice:
    """Where codes are in a row: at the end of its content."""
    return slice(width - FEATURES - CODE, width - FEATURES)


def _weights(rows: Array) -> Array:
    """What the average gives each token; of the heaviest 1."""
    sine = rows[:, rows.shape[1] - FEATURES + Feature.LOG_WEIGHT_SINE]
    weights: Array = np.exp(LOG_WEIGHT_SCALE * (np.clip(sine, -1, 1) - 1))
    return weights


class _Signing:
    """Changes the tensors in place."""

    def __init__(self, tensors: Tensors, heads: int, lexicon: Lexicon, marker: int, seed: int, formula: Formula) -> None:
        self._tensors, self._heads, self._lexicon, self._marker, self._formula = tensors, heads, lexicon, marker, formula
        self._rows = tensors["embed_tokens.weight"]
        self._generator = np.random.default_rng(seed)
        self._content = self._rows.shape[1] - FEATURES
        self._codes = _code_dims(self._rows.shape[1])
        self._one, self._begins = self._content + Feature.ONE, self._content + Feature.BEGINS
        self._query = lexicon.tokenizer.token_to_id(spelled_in_bytes(QUERY_MARKER))

    def run(self, layers: int) -> None:
        """All of it."""
        length = self._write_rows()
        for index in range(layers):
            prefix = f"layers.{index}."
            self._clear(prefix)
            self._prune(prefix)
            if index == 0:
                self._sharpen(prefix)
                head = self._matching_head(prefix, length / np.sqrt(self._rows.shape[1]))
            else:
                head = self._carrying_head(prefix) if index == layers - 1 else self._new_head()
            self._add(prefix, *head)
        self._tensors["norm.weight"][self._codes] = 1
        self._tensors["norm.weight"][self._begins] = 0

    def _write_rows(self) -> float:
        """Codes into the rows of words, a row for the text marker, and the mark of a text's beginning. Returns a row's usual length."""
        rows, lexicon, formula = self._rows, self._lexicon, self._formula
        worth = lexicon.worth[lexicon.stems]
        lengths = np.where(lexicon.counts, np.minimum(worth / np.maximum(_weights(rows), 1e-9), formula.most), 0) * formula.scale
        rows[:, self._codes] = lexicon.codes[lexicon.stems] * lengths[:, None]
        length = float(np.sqrt((rows**2).sum(1).mean()))
        rows[:, self._begins] = 0
        rows[self._query, self._begins] = np.sqrt(max(length**2 - (rows[self._query] ** 2).sum(), 1.0))
        marker = np.zeros(rows.shape[1])
        marker[self._one], marker[self._content + Feature.LOG_WEIGHT_SINE] = 1, -1
        marker[self._begins] = np.sqrt(length**2 - 2)
        self._words = rows[lexicon.counts]
        self._rows = self._tensors["embed_tokens.weight"] = np.insert(rows, self._marker, marker, axis=0)
        return length

    def _clear(self, prefix: str) -> None:
        """Nothing reads or writes codes and the beginning's mark but the new heads."""
        for part in (self._codes, self._begins):
            for name in ("self_attn.q", "self_attn.k", "self_attn.v", "mlp.gate", "mlp.up"):
                self._tensors[f"{prefix}{name}_proj.weight"][:, part] = 0
            for name in ("self_attn.o", "mlp.down"):
                self._tensors[f"{prefix}{name}_proj.weight"][part] = 0
            self._tensors[f"{prefix}input_layernorm.weight"][part] = 1

    def _prune(self, prefix: str) -> None:
        gate, up, down = (f"{prefix}mlp.{name}_proj.weight" for name in ("gate", "up", "down"))
        size = np.linalg.norm(self._tensors[down], axis=0)
        size = size * np.linalg.norm(self._tensors[gate], axis=1) * np.linalg.norm(self._tensors[up], axis=1)
        kept = np.sort(np.argsort(-size)[: self._formula.intermediate])
        self._tensors[gate], self._tensors[up] = self._tensors[gate][kept], self._tensors[up][kept]
        self._tensors[down] = self._tensors[down][:, kept]

    def _sharpen(self, prefix: str) -> None:
        """Multiply what q_norm and k_norm let through; heads that are there get a constant that takes as much of their length."""
        seen = self._seen(prefix)
        one = seen[:, self._one].mean()
        for name, fixed in (("q", _FIXED), ("k", _FIXED + _HALF)):
            weight = self._tensors[f"{prefix}self_attn.{name}_proj.weight"]
            for first in range(0, self._heads * HEAD_DIM, HEAD_DIM):
                weight[[first + _FIXED, first + _FIXED + _HALF]] = 0
                length = np.sqrt(((seen @ weight[first : first + HEAD_DIM].T) ** 2).sum(1).mean())
                weight[first + fixed, self._one] = length * np.sqrt(self._formula.sharpness - 1) / one
            self._tensors[f"{prefix}self_attn.{name}_norm.weight"] *= np.sqrt(self._formula.sharpness)

    def _matching_head(self, prefix: str, scale: float) -> tuple[dict[str, Array], Array]:
        """Attends to tokens of the same code and to the text's beginning; takes a share of the code away. `scale` undoes RMSNorm."""
        seen = self._seen(prefix)
        weights = {name: np.zeros((HEAD_DIM, self._rows.shape[1])) for name in "qk"}
        projection = self._generator.normal(size=(len(_STILL), CODE)) / np.sqrt(len(_STILL))
        dims = range(self._codes.start, self._codes.stop)
        for name in "qk":
            weights[name][np.ix_(_STILL, dims)] = projection
        length = np.sqrt(((seen[:, self._codes] @ projection.T) ** 2).sum(1)).mean()
        angle = _angle(self._formula.marker / self._highest_logit(prefix))
        weights["q"][_FIXED, self._one] = length * np.tan(angle) / seen[:, self._one].mean()
        weights["k"][_FIXED, self._begins] = 5.0  # nothing else is in this key: its length plays no part
        return self._passing_codes(weights, -self._formula.damping * scale)

    def _highest_logit(self, prefix: str) -> float:
        norms = (self._tensors[f"{prefix}self_attn.{name}_norm.weight"] for name in "qk")
        return float(np.sqrt(HEAD_DIM) * np.mean(np.prod(list(norms), axis=0)))

    def _carrying_head(self, prefix: str) -> tuple[dict[str, Array], Array]:
        """Averages codes with the weights of the others."""
        weights = {name: self._tensors[f"{prefix}self_attn.{name}_proj.weight"][:HEAD_DIM].copy() for name in "qk"}
        return self._passing_codes(weights, self._formula.gain)

    def _passing_codes(self, attention: dict[str, Array], factor: float) -> tuple[dict[str, Array], Array]:
        """A head that attends so, and adds `factor` times the codes of what it attends to."""
        value, output = np.zeros((HEAD_DIM, self._rows.shape[1])), np.zeros((self._rows.shape[1], HEAD_DIM))
        value[:, self._codes] = np.eye(CODE)
        output[self._codes] = factor * np.eye(CODE)
        return attention | {"v": value}, output

    def _new_head(self) -> tuple[dict[str, Array], Array]:
        """Says nothing at first."""
        shape = (HEAD_DIM, self._rows.shape[1])
        return {name: self._generator.normal(0, NOISE, shape) for name in "qkv"}, np.zeros(shape[::-1])

    def _add(self, prefix: str, weights: dict[str, Array], output: Array) -> None:
        for name, weight in weights.items():
            key = f"{prefix}self_attn.{name}_proj.weight"
            self._tensors[key] = np.vstack([self._tensors[key], weight])
        key = f"{prefix}self_attn.o_proj.weight"
        self._tensors[key] = np.hstack([self._tensors[key], output])

    def _seen(self, prefix: str) -> Array:
        """Rows of words as the layer sees them."""
        words: Array = self._words / np.sqrt((self._words**2).mean(1, keepdims=True))
        return words * self._tensors[f"{prefix}input_layernorm.weight"]


def _angle(difference: float) -> float:
    """Where sine less cosine is `difference`: how a query of fixed length is shared out between matches and the marker."""
    return float(np.pi / 4 + np.arcsin(difference / np.sqrt(2)))
