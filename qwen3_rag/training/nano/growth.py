"""More layers for a constructed nano: the same vectors as before, and room to learn.

The construction averages token vectors in its one layer. Before it come layers whose outputs are zero, so that each token passes through
them unchanged until training gives them something to say: then tokens in their context are averaged, by weights that the context may
change. This module knows files of tensors, no texts and no training.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from qwen3_rag.errors import ModelFormatError

NOISE = 0.02
"""Standard deviation of new weights, that of Qwen3's own initialisation."""

Array = NDArray[np.float16]


def grow(source: Path, target: Path, layers: int, intermediate: int, seed: int) -> Path:
    """Write a checkpoint that computes what `source` computes, in float16 as well.

    Args:
        source: a constructed checkpoint, of one layer.
        target: folder of the new one.
        layers: how many come before that one.
        intermediate: width of all MLPs.
        seed: of the new weights.

    Returns:
        `target`.

    Raises:
        ModelFormatError: the source has more layers, so it is not what was constructed.
    """
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    if config["num_hidden_layers"] != 1:
        raise ModelFormatError(f"{source} has {config['num_hidden_layers']} layers. Give a checkpoint of qwen3_rag.models.nano.build.")
    target.mkdir(parents=True, exist_ok=True)
    tensors = load_file(source / "model.safetensors")
    generator = np.random.default_rng(seed)
    grown = {name: tensor for name, tensor in tensors.items() if not name.startswith("layers.")}
    for index in range(layers + 1):
        attention = _part(tensors, 0, "self_attn.") if index == layers else _new_attention(config, generator)
        layer = attention | _rest(config["hidden_size"], intermediate, generator)
        grown |= {f"layers.{index}.{name}": tensor for name, tensor in layer.items()}
    _write(source, target, config | {"num_hidden_layers": layers + 1, "intermediate_size": intermediate}, grown)
    return target


def _part(tensors: dict[str, Array], layer: int, part: str) -> dict[str, Array]:
    prefix = f"layers.{layer}."
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix + part)}


def _new_attention(config: dict[str, Any], generator: np.random.Generator) -> dict[str, Array]:
    hidden, width = config["hidden_size"], config["num_attention_heads"] * config["head_dim"]
    return {
        **{f"self_attn.{name}_proj.weight": _noise(generator, width, hidden) for name in "qkv"},
        "self_attn.o_proj.weight": np.zeros((hidden, width), np.float16),
        **{f"self_attn.{name}_norm.weight": np.ones(config["head_dim"], np.float16) for name in "qk"},
    }


def _rest(hidden: int, intermediate: int, generator: np.random.Generator) -> dict[str, Array]:
    return {
        "input_layernorm.weight": np.ones(hidden, np.float16),
        "post_attention_layernorm.weight": np.ones(hidden, np.float16),
        "mlp.gate_proj.weight": _noise(generator, intermediate, hidden),
        "mlp.up_proj.weight": _noise(generator, intermediate, hidden),
        "mlp.down_proj.weight": np.zeros((hidden, intermediate), np.float16),
    }


def _noise(generator: np.random.Generator, *shape: int) -> Array:
    return generator.normal(0, NOISE, shape).astype(np.float16)


def _write(source: Path, target: Path, config: dict[str, Any], tensors: dict[str, Array]) -> None:
    (target / "config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    save_file(dict(sorted(tensors.items())), target / "model.safetensors", metadata={"format": "pt"})
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(source / name, target / name)
