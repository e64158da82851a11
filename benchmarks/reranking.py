"""Reranking 64 candidates a query: this package beside sentence-transformers and the model card's own code, on the same weights.

    python -m benchmarks.reranking                                        # three queries, 8 layers of the 0.6B shape
    python -m benchmarks.reranking --layers 1 --queries 1 --candidates 8  # a quick look

Candidates are the relevant passage of an msmarco-mini query and random others. sentence-transformers runs `CrossEncoder` with the chat
template of the official integration, which computes logits at the last position only, in the batch size that was best in a trial. The
card's code pads on the left and computes logits at all positions; with all candidates at once these take 10 GB, so it is given batches
of 8, and few candidates, from which its time is scaled. Scores are compared with one unpadded text at a time through transformers.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.beir import DATA, load
from benchmarks.checkpoints import RERANK_PREFIX, RERANK_SUFFIX, TASK, official
from benchmarks.harness import Check, Result, alternate, best_of, finish, parameters, parser, require, say, timed, versions

BATCH_SIZES = (4, 8, 16, 32, 64)
CARD_BATCH = 8
CARD_TOKENS = 8192
SAMPLE = 8
"""Candidates that are scored one at a time."""

Scores = NDArray[np.float32]


@dataclass(frozen=True)
class Task:
    """A query and what is to be reranked."""

    query: str
    candidates: list[str]


def tasks(queries: int, candidates: int, seed: int = 5) -> list[Task]:
    """The relevant passage of each query among random others, shuffled."""
    require(DATA / "msmarco-mini")
    collection, rng = load(DATA / "msmarco-mini"), random.Random(seed)
    made = []
    for key in rng.sample(sorted(collection.queries), queries):
        relevant = [item for item in collection.documents if item.id in collection.relevant[key]][:1]
        others = rng.sample([item for item in collection.documents if item.id not in collection.relevant[key]], candidates - len(relevant))
        chosen = [item.whole for item in (*relevant, *others)]
        rng.shuffle(chosen)
        made.append(Task(collection.queries[key], chosen))
    return made


class Ours:
    """`Reranker` of this package."""

    def __init__(self, folder: Path) -> None:
        from qwen3_rag.models import Reranker

        self._reranker = Reranker.load(str(folder), dtype="float32", device="cpu")

    def __call__(self, task: Task) -> Scores:
        return np.asarray(self._reranker.score(task.query, task.candidates))


class SentenceTransformers:
    """`CrossEncoder` as its documentation uses it."""

    def __init__(self, folder: Path) -> None:
        from sentence_transformers import CrossEncoder

        self._encoder: Any = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": "float32"})
        self.batch_size = BATCH_SIZES[0]

    def __call__(self, task: Task) -> Scores:
        pairs = [(task.query, candidate) for candidate in task.candidates]
        return np.asarray(self._encoder.predict(pairs, batch_size=self.batch_size, show_progress_bar=False))

    def seconds(self, task: Task, batch_size: int) -> float:
        """How long one task takes in batches of this size, which is kept."""
        self.batch_size = batch_size
        return timed(lambda: self(task))


class Transformers:
    """`AutoModelForCausalLM`, as the model card of Qwen3-Reranker uses it and one text at a time."""

    def __init__(self, folder: Path) -> None:
        import torch
        from transformers import AutoModelForCausalLM, AutoTokenizer

        self._tokenizer: Any = AutoTokenizer.from_pretrained(folder, padding_side="left")
        self._model: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)  # in evaluation mode already
        self._answers = [self._tokenizer.convert_tokens_to_ids(word) for word in ("no", "yes")]
        self._prefix, self._suffix = (self._tokenizer.encode(text, add_special_tokens=False) for text in (RERANK_PREFIX, RERANK_SUFFIX))

    def card(self, task: Task) -> Scores:
        """The card's code: left padding, logits at all positions."""
        scores: list[float] = []
        for start in range(0, len(task.candidates), CARD_BATCH):
            ids = self._ids(task.query, task.candidates[start : start + CARD_BATCH])
            inputs = self._tokenizer.pad({"input_ids": ids}, padding=True, return_tensors="pt")
            scores += self._probabilities(**inputs)
        return np.asarray(scores, dtype=np.float32)

    def one_by_one(self, task: Task) -> Scores:
        """Without padding, in float32."""
        import torch

        found = [self._probabilities(input_ids=torch.tensor([ids]), logits_to_keep=1)[0] for ids in self._ids(task.query, task.candidates)]
        return np.asarray(found, dtype=np.float32)

    def _ids(self, query: str, documents: Sequence[str]) -> list[list[int]]:
        texts = [f"<Instruct>: {TASK}\n<Query>: {query}\n<Document>: {document}" for document in documents]
        most = CARD_TOKENS - len(self._prefix) - len(self._suffix)
        encoded = self._tokenizer(texts, padding=False, truncation="longest_first", return_attention_mask=False, max_length=most)
        return [[*self._prefix, *ids, *self._suffix] for ids in encoded["input_ids"]]

    def _probabilities(self, **inputs: Any) -> list[float]:
        import torch

        with torch.no_grad():
            logits = self._model(**inputs).logits[:, -1, :]
            found: list[float] = torch.nn.functional.log_softmax(logits[:, self._answers], dim=1)[:, 1].exp().tolist()
        return found


def compare(folder: Path, arguments: argparse.Namespace) -> Result:
    """All three on the same tasks."""
    work = tasks(arguments.queries, arguments.candidates)
    ours, theirs, plain = Ours(folder), SentenceTransformers(folder), Transformers(folder)
    result = Result("reranking", f"Reranking, {arguments.candidates} candidates a query", parameters(arguments))
    result.versions = versions("sentence-transformers")
    say("batch size of sentence-transformers")
    sizes = [size for size in BATCH_SIZES if size <= arguments.candidates]
    theirs.batch_size = best_of(sizes, lambda size: theirs.seconds(work[0], size))
    result.parameters["best_batch_size"] = theirs.batch_size
    agreement(result, work[0], ours, theirs, plain)
    calls = {"ours": lambda: [ours(task) for task in work], "sentence-transformers": lambda: [theirs(task) for task in work]}
    result.add_rounds(alternate(calls, arguments.rounds))
    card(result, work[0], plain, arguments)
    ratios(result)
    return result


def agreement(result: Result, task: Task, ours: Ours, theirs: SentenceTransformers, plain: Transformers) -> None:
    """Differences between the scores of one task; also the warm-up of ours."""
    whole, few = ours(task), Task(task.query, task.candidates[:SAMPLE])
    reference = plain.one_by_one(few)
    result.checks += [
        Check("ours − unpadded float32 reference, largest", _largest(ours(few), reference), at_most=1e-5),
        Check("ours among all candidates − reference, largest", _largest(whole[:SAMPLE], reference), at_most=1e-5),
        Check("ours − sentence-transformers, largest", _largest(whole, theirs(task)), at_most=1e-4),
        Check("ours − model card, largest", _largest(whole[:SAMPLE], plain.card(few)), at_most=1e-4),
        Check("range of the scores", float(np.ptp(whole))),
    ]


def card(result: Result, task: Task, plain: Transformers, arguments: argparse.Namespace) -> None:
    """Time of the card's code on some candidates of one query, scaled to the whole."""
    some = Task(task.query, task.candidates[: arguments.card_candidates])
    scale = arguments.candidates * arguments.queries / len(some.candidates)
    result.add_rounds({"model card (scaled)": [timed(lambda: plain.card(some)) * scale]})
    result.notes.append(
        f"Model card: {len(some.candidates)} candidates of one query in batches of {CARD_BATCH}, time multiplied by {scale:g}; one round."
    )


def ratios(result: Result) -> None:
    """How many times as fast ours is."""
    median = result.median
    result.checks += [
        Check("times as fast as sentence-transformers", median("sentence-transformers") / median("ours"), at_least=1.5),
        Check("times as fast as the model card", median("model card (scaled)") / median("ours"), at_least=3.0),
    ]


def _largest(one: Scores, other: Scores) -> float:
    return float(np.abs(one.astype(np.float64) - other).max())


def main() -> None:
    command = parser(__doc__, "reranking")
    command.set_defaults(rounds=2)
    command.add_argument("--layers", type=int, default=8)
    command.add_argument("--queries", type=int, default=3)
    command.add_argument("--candidates", type=int, default=64)
    command.add_argument("--card-candidates", type=int, default=16, help="candidates that the card's code is given")
    arguments = command.parse_args()
    require(DATA / "msmarco-mini")
    with official(arguments.layers, reranker=True) as folder:
        finish(compare(folder, arguments), arguments.output)


if __name__ == "__main__":
    main()
