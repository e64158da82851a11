"""Small runs on a random checkpoint, in this process, in several, and killed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from qwen3_rag.training.pairs import Pair, write_pairs

CHILD = Path(__file__).with_name("train_child.py")
TEXT = "keys rotated ninety days night shift passages answer query system user judge document requirements web search"
WORDS = TEXT.split()


def make_pairs(count: int = 40) -> list[Pair]:
    """Queries and documents of a few words, with none to three negatives."""
    texts = [" ".join(WORDS[(number * step + number // 7) % len(WORDS)] for step in (1, 3, 5, 7)) + f" {number}" for number in range(count)]
    return [
        Pair(f"{text[:12]} {number}?", text, tuple(f"{texts[number - k - 1]} not" for k in range(number % 4)))
        for number, text in enumerate(texts)
    ]


def make_settings(folder: Path, model: Path, output: str, **changed: Any) -> dict[str, Any]:
    """Settings of a run of a dozen steps, with its pairs beside."""
    pairs = folder / "pairs.jsonl"
    if not pairs.exists():
        write_pairs(pairs, make_pairs())
        write_pairs(folder / "dev.jsonl", [Pair(f"about {text}", f"{text} in the dev set") for text in WORDS])
    common = {"model": str(model), "pairs": [str(pairs)], "dev": [str(folder / "dev.jsonl")], "output": str(folder / output)}
    small = {"batch_size": 8, "epochs": 3, "learning_rate": 1e-3, "negatives": 2, "max_tokens": 300, "warmup": 0.2, "device": "cpu"}
    return {**common, **small, "log_every": 1, "save_every": 3, "evaluate_every": 5, **changed}


def start(folder: Path, kind: str, settings: dict[str, Any], processes: int = 1) -> subprocess.Popen[bytes]:
    """Train in one process or, by torchrun, in several. What is said goes into `told` of the output's name."""
    path = folder / f"{Path(settings['output']).name}.json"
    path.write_text(json.dumps({"kind": kind, **settings}), encoding="utf-8")
    several = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"] if processes > 1 else []
    root = str(Path(__file__).parents[2])
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": root, "CUDA_VISIBLE_DEVICES": ""}
    with told(settings).open("wb") as output:
        return subprocess.Popen([sys.executable, *several, str(CHILD), str(path)], env=environment, stdout=output, stderr=output)


def told(settings: dict[str, Any]) -> Path:
    """What the last process of a run said."""
    return Path(f"{settings['output']}.txt")


def finish(folder: Path, kind: str, settings: dict[str, Any], processes: int = 1) -> str:
    """Train to the end; returns what was said."""
    code = start(folder, kind, settings, processes).wait(120)
    said = told(settings).read_text(encoding="utf-8")
    assert code == 0, said
    return said


def weights(output: Path) -> dict[str, torch.Tensor]:
    """Of the finished model."""
    return load_file(output / "model" / "model.safetensors")


def losses(output: Path) -> dict[int, float]:
    """By step."""
    return {row["step"]: row["loss"] for row in map(json.loads, (output / "log.jsonl").read_text(encoding="utf-8").splitlines())}
