"""What one training run learns from and is judged by: pairs read, split, freed of doubles and of what the judging sets hold."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from qwen3_rag.errors import TrainingDataError
from qwen3_rag.training.evaluation import Judged, judged_folder, judged_pairs
from qwen3_rag.training.leakage import LeakageCheck
from qwen3_rag.training.pairs import Pair, deduplicated, held_back, read_pairs, teacher_scores
from qwen3_rag.training.settings import RerankerTraining, Training


@dataclass(frozen=True, slots=True)
class RunData:
    """`pairs` to learn from, `dev` to be judged by while learning and after, and how many pairs were taken out for leaking.

    `scores` are a teacher's of each pair, None where they count nothing.
    """

    pairs: Sequence[Pair]
    dev: Judged
    leaked: int
    scores: Sequence[tuple[float, ...] | None] | None = None

    @property
    def digest(self) -> str:
        """The same for the same pairs in the same order."""
        return _digest(pair.to_line() for pair in self.pairs)

    @property
    def dev_digest(self) -> str:
        """The same for the same questions of the same documents."""
        return _digest([*self.dev.documents, *(repr(question) for question in self.dev.questions)])


def open_data(settings: Training) -> RunData:
    """Read what the settings name.

    Raises:
        TrainingDataError: a file holds no pairs or no collection, scores that are to be learned from are not right, or nothing is left to
            learn from.
    """
    scored = isinstance(settings, RerankerTraining) and settings.distillation_weight > 0
    read = read_pairs(*settings.pairs)
    pairs = list(deduplicated(_checked(read) if scored else read))
    pairs, dev = _split(pairs, settings)
    general = [judged_folder(folder) for folder in settings.general]
    clean = list(_without_leaks(pairs, dev, general)) if settings.leaks else pairs
    if not clean:
        raise TrainingDataError(f"Of {len(pairs)} pairs none is left to learn from: all are in what the model is judged by.")
    return RunData(clean, dev, len(pairs) - len(clean), [teacher_scores(pair) for pair in clean] if scored else None)


def open_dev(settings: Training) -> Judged:
    """Only what the model of these settings is judged by."""
    return _split(list(deduplicated(read_pairs(*settings.pairs))) if not settings.dev else [], settings)[1]


def _digest(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass"))
    return digest.hexdigest()


def _checked(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """The same pairs: scores that are not right are found before hours were spent, and as they stand in the file."""
    for pair in pairs:
        teacher_scores(pair)
        yield pair


def _split(pairs: list[Pair], settings: Training) -> tuple[list[Pair], Judged]:
    if settings.dev:
        return pairs, judged_pairs("dev", deduplicated(read_pairs(*settings.dev)))
    is_dev = held_back(settings.dev_share, settings.seed)
    name = f"{settings.dev_share:.0%} of the documents of {', '.join(map(str, settings.pairs))}"
    return [pair for pair in pairs if not is_dev(pair)], judged_pairs(name, filter(is_dev, pairs))


def _without_leaks(pairs: Iterable[Pair], dev: Judged, general: Sequence[Judged]) -> Iterable[Pair]:
    """Documents of the dev set may be known: what they are asked may not. Of the general sets neither."""
    questions = [question.text for judged in (dev, *general) for question in judged.questions]
    return LeakageCheck(questions, [text for judged in general for text in judged.documents]).clean(pairs)
