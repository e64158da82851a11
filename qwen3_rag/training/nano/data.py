"""What nano learns from: weak pairs of many kinds, questions that people wrote, and a few of these kept back to judge by.

What is drawn depends on the texts and the seed alone. This module knows no model.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from qwen3_rag.errors import TrainingDataError
from qwen3_rag.training.pairs import Pair, deduplicated, held_back, read_pairs, write_pairs

SUPERVISED = ("medquad.jsonl", "pubmedqa.jsonl", "selqa.jsonl", "squad-train-part.jsonl")
"""Files of questions and passages that people wrote."""
LONGEST = {"medquad": 911, "encyclopedia": 911}
"""Characters of a passage of a source: the longest take the teacher and the student as much time as all others."""


@dataclass(frozen=True, slots=True)
class Draw:
    """How many pairs of a source one round of training takes; a source that is not named gives all it has.

    Attributes:
        asked: of questions that people wrote, before the long ones go.
        weak: of the others.
    """

    asked: Mapping[str, int]
    weak: Mapping[str, int]


FIRST = Draw(
    asked={"medquad": 3000},
    weak={
        "wordnet": 12_000,
        "gcide": 3000,
        "foldoc": 3000,
        "jargon": 600,
        "debian": 2000,
        "sections": 2500,
        "terms": 2000,
        "cloze": 2500,
    },
)
"""Of one thing little, and of all something: the model is for everything."""
SECOND = Draw(
    asked={"medquad": 9000},
    weak={
        "wordnet": 6000,
        "gcide": 2000,
        "foldoc": 3000,
        "jargon": 600,
        "debian": 5000,
        "sections": 5000,
        "terms": 3000,
        "cloze": 4000,
        "factbook": 3000,
        "speeches": 2500,
    },
)
"""Fewer definitions and more of what is as long as a passage."""
THIRD = Draw(
    asked={"medquad": 6000},
    weak={
        "wordnet": 2000,
        "gcide": 1000,
        "foldoc": 1500,
        "jargon": 300,
        "elements": 50,
        "debian": 2500,
        "sections": 3500,
        "terms": 1500,
        "cloze": 3500,
        "factbook": 3000,
        "speeches": 2500,
    },
)
"""Less of the archive, so that most of it is questions that people asked and what an encyclopedia, an almanac and speeches say."""
DEV_SHARE = 0.05


@dataclass(frozen=True, slots=True)
class Files:
    """The data of all stages."""

    weak: Path
    supervised: Path
    dev: Path


def files_in(folder: Path) -> Files:
    """The three files of a folder."""
    return Files(folder / "weak.jsonl", folder / "supervised.jsonl", folder / "dev.jsonl")


def write_data(weak: Sequence[Path], supervised: Path, output: Path, seed: int, draw: Draw = FIRST) -> Files:
    """Write the three files into `output`.

    Args:
        weak: files of weak pairs.
        supervised: the folder of the files in `SUPERVISED`.
        output: a folder.
        seed: of what is drawn.
        draw: how much of each source.

    Raises:
        TrainingDataError: a file is not there or holds no pairs.
    """
    files = files_in(output)
    asked = list(_supervised(supervised, seed, draw.asked))
    is_dev = held_back(DEV_SHARE, seed)
    write_pairs(files.dev, (pair for pair in asked if is_dev(pair)))
    kept = {pair.document for pair in asked if is_dev(pair)}
    write_pairs(files.supervised, (pair for pair in asked if not is_dev(pair) and _is_short(pair)))
    unasked = (pair for pair in sorted(deduplicated(read_pairs(*weak)), key=_order(seed)) if pair.document not in kept and _is_short(pair))
    write_pairs(files.weak, (replace(pair, extra={}) for pair in _first_of_each(unasked, draw.weak)))
    return files


def sources(pairs: Iterable[Pair]) -> Counter[str]:
    """How many pairs each source has."""
    return Counter(pair.source or "" for pair in pairs)


def _supervised(folder: Path, seed: int, most: Mapping[str, int]) -> Iterator[Pair]:
    for name in SUPERVISED:
        if not (folder / name).is_file():
            raise TrainingDataError(f"{folder / name} is not there. Name the folder that holds {', '.join(SUPERVISED)}: --pairs FOLDER")
        pairs = [replace(pair, source=Path(name).stem, extra={}) for pair in deduplicated(read_pairs(folder / name))]
        yield from sorted(pairs, key=_order(seed))[: most.get(Path(name).stem)]


def _is_short(pair: Pair) -> bool:
    return len(pair.positive) <= LONGEST.get(pair.source or "", len(pair.positive))


def _first_of_each(pairs: Iterable[Pair], most: Mapping[str, int]) -> Iterator[Pair]:
    taken: Counter[str] = Counter()
    for pair in pairs:
        source = pair.source or ""
        taken[source] += 1
        if taken[source] <= most.get(source, taken[source]):
            yield pair


def _order(seed: int) -> Callable[[Pair], int]:
    def number(pair: Pair) -> int:
        text = f"draw:{seed}:{pair.query}:{pair.document}"
        return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")

    return number
