"""Where the recipe of the nano embedder reads and writes: the folders of its steps, and the files of each round of training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from qwen3_rag.training.nano.data import FIRST, SECOND, THIRD, Draw, Files, files_in


@dataclass(frozen=True, slots=True)
class Round:
    """The data of one round of training."""

    folder: Path
    draw: Draw

    @property
    def files(self) -> Files:
        """Weak pairs, people's questions, and those of them that are kept back."""
        return files_in(self.folder)

    @property
    def alike(self) -> Path:
        """All pairs, the group of alike passages as the source of each."""
        return self.folder / "alike.jsonl"

    @property
    def texts(self) -> Path:
        """What the teacher has vectors of."""
        return self.folder / "texts.jsonl"

    @property
    def vectors(self) -> Path:
        """These, on the student's axes."""
        return self.folder / "vectors.npy"

    @property
    def similarities(self) -> Path:
        """Wider ones, which are similar as is wanted; the third round's."""
        return self.folder / "similarities.npy"


@dataclass(frozen=True, slots=True)
class Places:
    """Where the recipe reads and writes."""

    output: Path
    static: Path
    weak: Path
    supervised: Path

    @property
    def grown(self) -> Path:
        """The constructed checkpoint with layers to train."""
        return self.output / "grown"

    @property
    def merged(self) -> Path:
        """The model of the first round."""
        return self.output / "merged"

    @property
    def meaning(self) -> Path:
        """The model of the second round."""
        return self.output / "meaning"

    @property
    def signatures(self) -> Path:
        """The same with codes of words."""
        return self.output / "signatures"

    @property
    def mixed(self) -> Path:
        """The model of the third round."""
        return self.output / "mixed"

    @property
    def shipped(self) -> Path:
        """What ships."""
        return self.output / "shipped"

    @property
    def first(self) -> Round:
        """The first round's data."""
        return Round(self.output / "first", FIRST)

    @property
    def second(self) -> Round:
        """The second round's data."""
        return Round(self.output / "second", SECOND)

    @property
    def third(self) -> Round:
        """The third round's data."""
        return Round(self.output / "third", THIRD)

    def model(self, stage: str) -> Path:
        """What a stage has trained."""
        return self.output / stage / "model"
