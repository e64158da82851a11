"""What nano learns from: weak pairs of many kinds, questions that people wrote, and a few of these kept back to judge by.

Four pairs of ten are asked under another instruction than the default one, so that a model too small to follow instructions learns to pass
over them. What is drawn depends on the texts and the seed alone. This module knows no model.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from qwen3_rag.errors import TrainingDataError
from qwen3_rag.training.pairs import Pair, deduplicated, held_back, read_pairs, write_pairs

SUPERVISED = ("medquad.jsonl", "pubmedqa.jsonl", "selqa.jsonl", "squad-train-part.jsonl")
"""Files of questions and passages that people wrote."""
MOST_OF_A_SOURCE = 6000
"""One file has more pairs than all others together; the model is for everything."""
MOST_WEAK = 60_000
"""With the questions, 2,800 steps of 64 see all of them twice."""
DEV_SHARE = 0.05
VARIED = 0.4
INSTRUCTIONS = (
    "Find the passage that answers the question",
    "Given a question, retrieve passages that answer the question",
    "Retrieve documentation that helps with the problem",
    "Given a medical question, retrieve answers from health organisations",
    "Given a claim, find documents that support or refute it",
    "Given a scientific question, retrieve abstracts of papers that answer it",
    "Given a keyword, retrieve its definition",
    "Find the section of the manual with this title",
    "Retrieve semantically similar text",
    "Given a question of an employee, retrieve the part of the handbook that answers it",
    "Given a programming question, retrieve the section of the reference that explains it",
    "Given a headline, find the article",
    "Represent the query for searching relevant passages",
    "Search",
    "Find paragraphs of an encyclopedia that contain the answer",
    "Given a question about a contract, retrieve the clause that settles it",
    "Retrieve entries of the help centre for the customer's question",
    "Given a sentence, find the text that it was taken from",
    "Which of these texts is about the same subject?",
    "Given a financial question, retrieve passages of reports that answer it",
    "Given an error message, retrieve what is known about it",
    "Given a description, find the software that it fits",
    "Retrieve news about the topic, whatever its age, that a careful reader would want to see first",
)
"""What queries are asked under beside the default."""


@dataclass(frozen=True, slots=True)
class Files:
    """The data of all stages."""

    weak: Path
    supervised: Path
    dev: Path


def write_data(weak: Path, supervised: Path, output: Path, seed: int) -> Files:
    """Write the three files into `output`.

    Args:
        weak: a file of weak pairs.
        supervised: the folder of the files in `SUPERVISED`.
        output: a folder.
        seed: of what is drawn.

    Raises:
        TrainingDataError: a file is not there or holds no pairs.
    """
    files = Files(output / "weak.jsonl", output / "supervised.jsonl", output / "dev.jsonl")
    asked = list(_supervised(supervised, seed))
    is_dev = held_back(DEV_SHARE, seed)
    write_pairs(files.dev, (pair for pair in asked if is_dev(pair)))
    write_pairs(files.supervised, (_varied(pair, seed) for pair in asked if not is_dev(pair)))
    unasked = sorted(deduplicated(read_pairs(weak)), key=_order(seed))[:MOST_WEAK]
    write_pairs(files.weak, (_varied(replace(pair, extra={}), seed) for pair in unasked))
    return files


def sources(pairs: Iterable[Pair]) -> Counter[str]:
    """How many pairs each source has."""
    return Counter(pair.source or "" for pair in pairs)


def _supervised(folder: Path, seed: int) -> Iterator[Pair]:
    for name in SUPERVISED:
        if not (folder / name).is_file():
            raise TrainingDataError(f"{folder / name} is not there. Name the folder that holds {', '.join(SUPERVISED)}: --pairs FOLDER")
        pairs = [replace(pair, source=Path(name).stem, extra={}) for pair in deduplicated(read_pairs(folder / name))]
        yield from sorted(pairs, key=_order(seed))[:MOST_OF_A_SOURCE]


def _varied(pair: Pair, seed: int) -> Pair:
    number = _number(f"instruction:{seed}:{pair.query}:{pair.document}")
    if number % 1000 >= VARIED * 1000:
        return pair
    return replace(pair, instruction=INSTRUCTIONS[number // 1000 % len(INSTRUCTIONS)])


def _order(seed: int) -> Callable[[Pair], int]:
    return lambda pair: _number(f"draw:{seed}:{pair.query}:{pair.document}")


def _number(text: str) -> int:
    return int.from_bytes(hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()[:8], "big")
