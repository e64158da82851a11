"""The check at first use: is this server the model it is taken for, with one template, one end-of-text token, sane numbers.

Every fault found here would otherwise be silent: vectors of a wrong text are still vectors. Knows no HTTP.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.errors import RemoteResponseError
from qwen3_rag.models.remote.config import LIMIT, Scores
from qwen3_rag.settings import Canary

QUERY = "Which animal is the fastest on land?"
RELEVANT = "The cheetah is the fastest animal on land and runs at more than 100 kilometres an hour."
IRRELEVANT = "Invoices are paid within thirty days by bank transfer."
"""Texts as plain as can be: a model that does not tell these apart is not the one it is taken for, or does not read what we send."""

_NORM_TOLERANCE = 1e-2
_SCORE_TOLERANCE = 1e-4

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Judge:
    """Says what is wrong with one server, as loudly as asked."""

    url: str
    canary: Canary

    def complain(self, what: str, fix: str) -> None:
        """Raise `RemoteResponseError`, log, or keep quiet."""
        message = f"The inference server at {self.url} failed the check at first use: {what}. {fix}"
        if self.canary is Canary.STRICT:
            raise RemoteResponseError(f"{message} The check can be made a warning: canary=Canary.WARN (QWEN3_RAG_INFERENCE_CANARY=warn).")
        if self.canary is Canary.WARN:
            logger.warning("%s", message)

    def note(self, message: str) -> None:
        """Log what is no fault, but worth knowing."""
        if self.canary is not Canary.OFF:
            logger.warning("the inference server at %s %s", self.url, message)


def check_tokens(judge: Judge, expected: int, reported: int | None, appended: str = "") -> None:
    """The server must have read as many tokens as there are: the template once, and what ends a text once."""
    if reported is None:
        judge.note("reports no `usage.prompt_tokens`, so that it could not be checked whether it adds or leaves out tokens")
    elif reported != expected:
        first = f"it adds no {appended} of its own, and with {appended} written at the end" if appended else "for texts that are known"
        judge.complain(
            f"{first} it counts {reported} tokens where {expected} belong, so it {'adds' if reported > expected else 'leaves out'} some or "
            "has another tokenizer",
            "Start it without a prompt or template of its own, with the tokenizer.json of the model's current revision, and give the same "
            "one here as `tokenizer`.",
        )


def refuse_cut(url: str, expected: int, reported: int | None) -> None:
    """Refuse an answer to less than what was sent.

    Raises:
        RemoteResponseError: the server, which counts as we do, counted less.
    """
    if reported is not None and reported < expected:
        raise RemoteResponseError(
            f"The inference server at {url} read only {reported} of {expected} tokens: it cuts long texts without saying so. None "
            f"of its answer was used. Raise its context length, or give what it has as {LIMIT}."
        )


def check_vectors(judge: Judge, query: NDArray[np.float32], relevant: NDArray[np.float32], irrelevant: NDArray[np.float32]) -> None:
    """The query must be nearer to its answer than to another text."""
    rows = np.stack([query, relevant, irrelevant]).astype(np.float64)
    norms = np.linalg.norm(rows, axis=1)
    if np.abs(norms - 1).max() > _NORM_TOLERANCE:
        judge.note(f"does not normalise its vectors (norms around {norms.mean():.3g}); they are normalised here")
    unit = rows / norms[:, None]
    near, far = float(unit[0] @ unit[1]), float(unit[0] @ unit[2])
    if near <= far:
        judge.complain(
            f"the query {QUERY!r} is not nearer to its answer than to an unrelated text (cosines {near:.3f} and {far:.3f})",
            "Check that it serves a Qwen3 embedding model with last-token pooling, and that it adds no template of its own.",
        )


def check_scores(judge: Judge, relevant: float, irrelevant: float) -> None:
    """The answer must score higher than another text."""
    if relevant <= irrelevant:
        judge.complain(
            f"the answer to {QUERY!r} does not score higher than an unrelated text ({relevant:.4g} and {irrelevant:.4g})",
            "Check that it serves a Qwen3 reranker, and who applies its chat template: template=Template.SERVER if the server was started "
            "with one, else Template.CLIENT.",
        )


def probabilities(scores: NDArray[np.float32], kind: Scores, url: str) -> NDArray[np.float32]:
    """P(yes) of what the server calls scores.

    Raises:
        RemoteResponseError: they are said to be probabilities and are not.
    """
    if kind is Scores.LOGITS:
        result: NDArray[np.float32] = np.exp(-np.logaddexp(np.float32(0), -scores))
        return result
    if scores.size and (scores.min() < -_SCORE_TOLERANCE or scores.max() > 1 + _SCORE_TOLERANCE):
        raise RemoteResponseError(
            f"The inference server at {url} answered with scores of {scores.min():.4g} to {scores.max():.4g}, which are no probabilities. "
            "If they are logits, say so: scores=Scores.LOGITS. Or have the server apply the sigmoid."
        )
    return np.clip(scores, 0.0, 1.0)
