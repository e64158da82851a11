"""Trains as a process of its own: `python train_child.py SETTINGS.json`; started by torchrun it is one of several."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from pydantic import TypeAdapter
from rich.console import Console

from qwen3_rag.training.run import train_embedder, train_reranker
from qwen3_rag.training.settings import EmbedderTraining, RerankerTraining

if __name__ == "__main__":
    given = json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))
    if given.pop("kind") == "embedder":
        train_embedder(TypeAdapter(EmbedderTraining).validate_python(given), Console())
    else:
        train_reranker(TypeAdapter(RerankerTraining).validate_python(given), Console())
