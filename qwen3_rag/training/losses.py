"""What is minimised: the paper's contrastive loss for embedders, yes/no likelihood for rerankers, and the terms that follow a teacher.

Functions of tensors alone. They know no models, no texts and no trainer.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch.nn import functional

MARGIN = 0.1
"""A negative that scores more than this above the positive is taken for a positive that nobody marked (section 3.1 of the paper)."""
ABSENT = -1
"""The document number of a hard negative that is not there."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """The vectors that one contrastive loss compares, not normalised, any floating point format.

    Attributes:
        queries: shape (n, dim).
        positives: shape (n, dim).
        negatives: hard negatives of each query, shape (n, k, dim); k may be 0.
        documents: a number for each positive, the same for the same document, int64 of shape (n,).
        negative_documents: likewise for hard negatives, `ABSENT` where there is none, shape (n, k).
        every_query, every_positive, every_document: the same of all processes together; None where there is one process.
    """

    queries: torch.Tensor
    positives: torch.Tensor
    negatives: torch.Tensor
    documents: torch.Tensor
    negative_documents: torch.Tensor
    every_query: torch.Tensor | None = None
    every_positive: torch.Tensor | None = None
    every_document: torch.Tensor | None = None

    def at(self, dim: int) -> Contrast:
        """The first `dim` components in float32, normalised."""
        return replace(
            self,
            queries=_unit(self.queries, dim),
            positives=_unit(self.positives, dim),
            negatives=_unit(self.negatives, dim),
            every_query=None if self.every_query is None else _unit(self.every_query, dim),
            every_positive=None if self.every_positive is None else _unit(self.every_positive, dim),
        )


def contrastive_loss(contrast: Contrast, temperature: float, margin: float = MARGIN) -> torch.Tensor:
    """Equation (1) of the paper, the mean over this process' queries; vectors are normalised here.

    With s the cosine, query i and its positive stand against: the hard negatives of i; and for every other j, the positive of j against
    the query, query j against the query, and the positive of j against the positive. A term counts unless its score is more than
    `margin` above that of the pair, or the document of j is that of i.
    """
    vectors = contrast.at(contrast.queries.shape[-1])
    queries, positives, negatives = vectors.queries, vectors.positives, vectors.negatives
    every_query = queries if vectors.every_query is None else vectors.every_query
    every_positive = positives if vectors.every_positive is None else vectors.every_positive
    every_document = vectors.documents if vectors.every_document is None else vectors.every_document
    pair = (queries * positives).sum(-1, keepdim=True)
    other = vectors.documents[:, None] != every_document[None, :]  # no j with the document of i, and so not i itself
    hard = (negatives @ queries[:, :, None]).squeeze(-1)
    real = (vectors.negative_documents != ABSENT) & (vectors.negative_documents != vectors.documents[:, None])
    in_batch = (queries @ every_positive.T, queries @ every_query.T, positives @ every_positive.T)
    against = [(hard, real), *((scores, other) for scores in in_batch)]
    limit = pair.detach() + margin
    logits = [pair / temperature]
    logits += [(scores / temperature).masked_fill(~allowed | (scores.detach() > limit), -torch.inf) for scores, allowed in against]
    loss: torch.Tensor = (torch.cat(logits, dim=1).logsumexp(1) - logits[0][:, 0]).mean()
    return loss


def matryoshka_loss(contrast: Contrast, dims: Mapping[int, float], temperature: float, margin: float = MARGIN) -> torch.Tensor:
    """The weighted sum of `contrastive_loss` over prefixes of the vectors; `dims` maps a prefix's length to its weight."""
    losses = [weight * contrastive_loss(contrast.at(dim), temperature, margin) for dim, weight in dims.items()]
    return torch.stack(losses).sum()


def answer_loss(states: torch.Tensor, yes: torch.Tensor, no: torch.Tensor, relevant: torch.Tensor) -> torch.Tensor:
    """-log p(label | prompt) over the answers yes and no, the mean over the prompts.

    Args:
        states: last hidden state of each prompt, shape (n, hidden).
        yes: the row of the language-model head for "yes", shape (hidden,).
        no: likewise for "no".
        relevant: whether "yes" is right, boolean or a probability, shape (n,).
    """
    logits = (states.float() @ (yes - no).float()).to(torch.float32)
    return functional.binary_cross_entropy_with_logits(logits, relevant.to(torch.float32))


def vector_distillation_loss(
    student: torch.Tensor, teacher: torch.Tensor, temperature: float, direct: float = 5.0, alike: torch.Tensor | None = None
) -> torch.Tensor:
    """How far a student's vectors are from a teacher's: `direct` · (1 − cosine) + KL of similarities within the batch.

    Args:
        student: shape (n, dim).
        teacher: shape (n, dim) for the direct term; of another width only similarities are compared.
        temperature: of the softmax over similarities with the other texts.
        direct: weight of the direct term.
        alike: vectors of any width, shape (n, width), whose similarities are wanted in place of those of `teacher`.
    """
    ours, theirs = _unit(student, student.shape[-1]), _unit(teacher, teacher.shape[-1])
    itself = torch.eye(len(ours), dtype=torch.bool, device=ours.device)
    wanted_of = theirs if alike is None else _unit(alike, alike.shape[-1])
    scores = ((vectors @ vectors.T / temperature).masked_fill(itself, -torch.inf) for vectors in (ours, wanted_of))
    mine, wanted = (torch.log_softmax(score, dim=1).masked_fill(itself, 0.0) for score in scores)
    loss = (wanted.exp().masked_fill(itself, 0.0) * (wanted - mine)).sum(1).mean() if len(ours) > 1 else ours.sum() * 0
    if ours.shape == theirs.shape:
        loss = loss + direct * (1 - (ours * theirs).sum(-1)).mean()
    return loss


def score_distillation_loss(student: torch.Tensor, teacher: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """KL of the softmax over one query's candidates, the mean over queries; logits of shape (queries, candidates) both."""
    wanted = torch.log_softmax(teacher.float() / temperature, dim=-1)
    mine = torch.log_softmax(student.float() / temperature, dim=-1)
    return functional.kl_div(mine, wanted, reduction="batchmean", log_target=True)


def _unit(vectors: torch.Tensor, dim: int) -> torch.Tensor:
    return functional.normalize(vectors[..., :dim].float(), dim=-1)
