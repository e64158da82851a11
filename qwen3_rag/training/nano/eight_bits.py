"""Writes nano's matrices in eight bits (float8, e4m3), half the size of what they are trained in.

safetensors, transformers and sentence-transformers read that format and compute in a wider one; nothing has to be told to them. A number
keeps four significant bits, which random errors of 3 % do no harm to in a sum of hundreds. What is no such sum keeps its precision: the
norms, the attention that averages, and a token's log weight, whose rest goes into features of its own that are read alike.
Format: Micikevicius et al., arXiv 2209.05433.
"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file

from qwen3_rag.models.nano.checkpoint import FEATURES, Feature

EIGHT_BITS = torch.float8_e4m3fn
FINE = {
    Feature.LOG_WEIGHT_SINE: Feature.LOG_WEIGHT_SINE_REST,
    Feature.LOG_WEIGHT_COSINE: Feature.LOG_WEIGHT_COSINE_REST,
}
"""Features that must be exact, and where the rest of each goes."""
_EMBEDDINGS = "embed_tokens.weight"

Tensors = dict[str, torch.Tensor]


def in_eight_bits(source: Path, target: Path) -> Path:
    """Write a trained nano so. Returns `target`."""
    target.mkdir(parents=True, exist_ok=True)
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    tensors = {name: tensor.float() for name, tensor in load_file(source / "model.safetensors").items()}
    for feature, rest in FINE.items():
        _split(tensors, config["hidden_size"] - FEATURES + feature, config["hidden_size"] - FEATURES + rest)
    averaging = f"layers.{config['num_hidden_layers'] - 1}.self_attn."
    written = {
        name: tensor.to(torch.float16 if tensor.ndim < 2 or name.startswith(averaging) else EIGHT_BITS).contiguous()
        for name, tensor in sorted(tensors.items())
    }
    save_file(written, target / "model.safetensors", metadata={"format": "pt"})
    for name in ("config.json", "tokenizer.json", "tokenizer_config.json"):
        shutil.copyfile(source / name, target / name)
    return target


def _split(tensors: Tensors, feature: int, rest: int) -> None:
    """Put what eight bits lose of a feature into dimension `rest`, and have it read there as the feature is."""
    rows = tensors[_EMBEDDINGS]
    rows[:, rest] = rows[:, feature] - rows[:, feature].to(EIGHT_BITS).float()
    for name, tensor in tensors.items():
        if re.search(r"(o|down)_proj\.weight$", name):
            tensor[rest] = 0
        elif re.search(r"_proj\.weight$", name):
            tensor[:, rest] = tensor[:, feature]
        elif re.search(r"layernorm\.weight$", name):
            tensor[rest] = tensor[feature]
