"""A teacher's vectors on the student's own axes, computed once for all texts and kept, so that an interrupted run goes on.

The teacher has other axes and another width than the student. What is learned is therefore its vectors less their mean, turned by the
rotation that brings them closest to the vectors that the student has already (orthogonal Procrustes: Schönemann, 1966), so that nothing
has to be learned that is only a matter of axes. The student's axes are ordered, so the turned vectors' prefixes mean something too.
This module knows no training.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.training.pairs import Pair, fingerprint

BLOCK = 2048
"""Texts that are embedded between two writes."""
SAMPLE = 6000
"""Texts that the rotation is found on."""

Array = NDArray[np.float32]
Embed = Callable[[Sequence[str]], Array]


def texts_of(pairs: Iterable[Pair]) -> list[str]:
    """Every query and positive once, in the order of their fingerprints."""
    found = {fingerprint(text): text for pair in pairs for text in (pair.query, pair.positive)}
    return [found[key] for key in sorted(found)]


def kept_vectors(texts: Sequence[str], embed: Embed, folder: Path, say: Callable[[str], None] = print) -> Array:
    """Vectors of texts, shape (len(texts), width) in float16: from `folder` as far as they lie there, else embedded and added to it."""
    folder.mkdir(parents=True, exist_ok=True)
    known = _known(folder)
    missing = [text for text in texts if fingerprint(text) not in known]
    missing.sort(key=len)
    for start in range(0, len(missing), BLOCK):
        block = missing[start : start + BLOCK]
        _add(folder, [fingerprint(text) for text in block], embed(block).astype(np.float16))
        say(f"Teacher: {min(start + BLOCK, len(missing)):,} of {len(missing):,} texts")
    known = _known(folder) if missing else known
    return np.stack([known[fingerprint(text)] for text in texts])


def turned(teacher: Array, student: Array, sample: Sequence[int], width: int) -> Array:
    """Unit vectors of the teacher on the student's axes, filled up with zeros to `width`; shape (texts, width).

    Args:
        teacher: shape (texts, teacher's width), at least the student's width.
        student: vectors of the texts at `sample`, shape (len(sample), at most `width`).
        sample: places among `texts`.
        width: the student's hidden size.
    """
    rows = unit(teacher.astype(np.float32))
    centred = rows - rows.mean(0)
    left, _, right = np.linalg.svd(centred[list(sample)].T @ student, full_matrices=False)
    found = np.zeros((len(teacher), width), np.float32)
    found[:, : student.shape[1]] = unit(centred @ (left @ right))
    return found


def joined(meaning: Array, words: Array, share: float, width: int) -> Array:
    """Unit vectors of two parts, filled up with zeros to `width`, whose cosine grows with that of meaning plus `share` times that of words.

    Args:
        meaning: unit rows.
        words: lexical vectors of the same texts, unit rows or zero.
        share: how much words count beside meaning.
        width: at least that of both.
    """
    found = np.zeros((len(meaning), width), np.float32)
    found[:, : meaning.shape[1]] = meaning
    found[:, meaning.shape[1] : meaning.shape[1] + words.shape[1]] = np.sqrt(share) * words
    return unit(found)


def less_mean(teacher: Array) -> Array:
    """Unit vectors of a teacher, less their mean."""
    rows = unit(teacher.astype(np.float32))
    return unit(rows - rows.mean(0))


def drawn(count: int, seed: int) -> list[int]:
    """Places of at most `SAMPLE` of `count` texts."""
    return sorted(np.random.default_rng(seed).choice(count, min(SAMPLE, count), replace=False).tolist())


def write_teacher(texts: Sequence[str], vectors: Array, lines: Path, rows: Path) -> None:
    """What a training run reads: texts into `lines`, a JSON string a line, and vectors into `rows`, a row a line, in float16."""
    lines.write_text("".join(json.dumps(text) + "\n" for text in texts), encoding="utf-8")
    np.save(rows, vectors.astype(np.float16))


def _known(folder: Path) -> dict[str, Array]:
    found: dict[str, Array] = {}
    for file in sorted(folder.glob("block-*.npz")):
        with np.load(file, allow_pickle=False) as block:
            found |= dict(zip(block["keys"].tolist(), block["vectors"], strict=True))
    return found


def _add(folder: Path, keys: Sequence[str], vectors: Array) -> None:
    partial = folder / "partial.npz"
    np.savez(partial, keys=np.array(keys), vectors=vectors)
    partial.replace(folder / f"block-{keys[0]}.npz")


def unit(vectors: Array) -> Array:
    """Rows of length one; a row of zeros stays."""
    rows: Array = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return rows
