"""Losses beside references that are written as loops, values and gradients."""

from __future__ import annotations

import math

import pytest
import torch

from qwen3_rag.training.losses import (
    ABSENT,
    Contrast,
    answer_loss,
    contrastive_loss,
    matryoshka_loss,
    score_distillation_loss,
    vector_distillation_loss,
)

DIM = 12


def contrast(count: int = 6, negatives: int = 3, seed: int = 0) -> Contrast:
    """Pairs that are somewhat alike, two of which share a document; some hard negatives are missing, one is the positive itself."""
    random = torch.Generator().manual_seed(seed)
    topics = torch.randn(count, DIM, generator=random)
    noise = lambda *shape: 0.9 * torch.randn(*shape, DIM, generator=random)  # noqa: E731
    documents = torch.arange(count)
    documents[count - 1] = 0
    missing = torch.arange(100, 100 + count * negatives).reshape(count, negatives)
    if negatives:
        missing[1, 2] = ABSENT
        missing[2, 0] = 2
    return Contrast(
        queries=(topics + noise(count)).requires_grad_(),
        positives=(topics + noise(count)).requires_grad_(),
        negatives=(topics[:, None] + noise(count, negatives)).requires_grad_(),
        documents=documents,
        negative_documents=missing,
    )


def cosine(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return (a @ b) / (a.norm() * b.norm())


def looped(batch: Contrast, temperature: float, margin: float, only: str | None = None) -> torch.Tensor:
    """Equation (1), term by term. `only` leaves one kind of term in."""
    total = torch.zeros(())
    count = len(batch.queries)
    for i in range(count):
        query, positive = batch.queries[i], batch.positives[i]
        own = cosine(query, positive)
        real = [k for k, document in enumerate(batch.negative_documents[i].tolist()) if document not in (ABSENT, int(batch.documents[i]))]
        terms = [("hard", cosine(query, batch.negatives[i, k])) for k in real]
        for j in range(count):
            if batch.documents[j] == batch.documents[i]:
                continue
            terms.append(("query-document", cosine(query, batch.positives[j])))
            terms.append(("query-query", cosine(query, batch.queries[j])))
            terms.append(("document-document", cosine(positive, batch.positives[j])))
        denominator = torch.exp(own / temperature)
        for kind, score in terms:
            if score.item() <= own.item() + margin and only in (None, kind):
                denominator = denominator + torch.exp(score / temperature)
        total = total - torch.log(torch.exp(own / temperature) / denominator)
    return total / count


def gradients(loss: torch.Tensor, batch: Contrast) -> list[torch.Tensor]:
    return list(torch.autograd.grad(loss, [batch.queries, batch.positives, batch.negatives], allow_unused=True))


@pytest.mark.parametrize("temperature", [0.05, 0.5])
@pytest.mark.parametrize("margin", [0.1, -0.3, 2.0])
@pytest.mark.parametrize("seed", [0, 1])
def test_contrastive_loss_is_equation_1(temperature: float, margin: float, seed: int):
    batch = contrast(seed=seed)
    ours, reference = contrastive_loss(batch, temperature, margin), looped(batch, temperature, margin)
    torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-5)
    for mine, wanted in zip(gradients(ours, batch), gradients(reference, batch), strict=True):
        torch.testing.assert_close(mine, wanted, atol=1e-5, rtol=1e-4)


def test_every_kind_of_term_counts():
    batch = contrast()
    whole = looped(batch, 0.1, 0.1)
    for kind in ("hard", "query-document", "query-query", "document-document"):
        assert looped(batch, 0.1, 0.1, only=kind) < whole


def test_the_mask_leaves_out_what_scores_far_above_the_positive():
    query = torch.tensor([[1.0, 0.0], [0.0, 1.0]])
    positive = torch.tensor([[0.0, 1.0], [1.0, 0.0]])  # each the other's: cosine 0 with the own, 1 with the other
    batch = Contrast(query, positive, torch.empty(2, 0, 2), torch.tensor([0, 1]), torch.empty(2, 0, dtype=torch.long))
    # Left are query-query and document-document, both of cosine 0 as the pair itself.
    assert contrastive_loss(batch, 1.0).item() == pytest.approx(math.log(3))
    assert contrastive_loss(batch, 1.0, margin=1.5).item() == pytest.approx(math.log(3 + math.e))


def test_without_hard_negatives():
    batch = contrast(negatives=0)
    torch.testing.assert_close(contrastive_loss(batch, 0.1), looped(batch, 0.1, 0.1), atol=1e-5, rtol=1e-5)


def test_rows_of_all_processes_give_the_loss_of_one_batch():
    whole = contrast(count=6)
    parts = [
        Contrast(
            whole.queries[first : first + 3],
            whole.positives[first : first + 3],
            whole.negatives[first : first + 3],
            whole.documents[first : first + 3],
            whole.negative_documents[first : first + 3],
            whole.queries,
            whole.positives,
            whole.documents,
        )
        for first in (0, 3)
    ]
    together = torch.stack([contrastive_loss(part, 0.1) for part in parts]).mean()
    torch.testing.assert_close(together, contrastive_loss(whole, 0.1))


def test_matryoshka_is_the_weighted_sum_over_prefixes():
    batch = contrast()
    expected = looped(batch, 0.1, 0.1) + 0.5 * looped(cut(batch, 4), 0.1, 0.1)
    torch.testing.assert_close(matryoshka_loss(batch, {DIM: 1.0, 4: 0.5}, 0.1), expected, atol=1e-5, rtol=1e-5)


def cut(batch: Contrast, dim: int) -> Contrast:
    return Contrast(batch.queries[:, :dim], batch.positives[:, :dim], batch.negatives[..., :dim], batch.documents, batch.negative_documents)


def test_half_precision_vectors_are_compared_in_float32():
    batch = contrast()
    halved = Contrast(
        batch.queries.bfloat16(), batch.positives.bfloat16(), batch.negatives.bfloat16(), batch.documents, batch.negative_documents
    )
    loss = contrastive_loss(halved, 0.05)
    assert loss.dtype == torch.float32
    torch.testing.assert_close(loss, contrastive_loss(batch, 0.05), atol=0.1, rtol=0.05)


def test_answer_loss_is_the_likelihood_of_the_label():
    random = torch.Generator().manual_seed(1)
    head, states = torch.randn(50, DIM, generator=random), torch.randn(4, DIM, generator=random).requires_grad_()
    yes, no, relevant = 7, 9, torch.tensor([True, False, True, False])
    reference = torch.zeros(())
    for state, label in zip(states, relevant, strict=True):
        both = torch.exp(head @ state)
        reference = reference - torch.log(both[yes if label else no] / (both[yes] + both[no]))
    ours = answer_loss(states, head[yes], head[no], relevant)
    torch.testing.assert_close(ours, reference / 4, atol=1e-5, rtol=1e-5)
    [mine], [wanted] = torch.autograd.grad(ours, states), torch.autograd.grad(reference / 4, states)
    torch.testing.assert_close(mine, wanted, atol=1e-5, rtol=1e-5)


def test_vector_distillation():
    random = torch.Generator().manual_seed(2)
    student, teacher = torch.randn(5, DIM, generator=random).requires_grad_(), torch.randn(5, DIM, generator=random)
    reference = torch.zeros(())
    for i in range(5):
        others = [j for j in range(5) if j != i]
        mine = torch.softmax(torch.stack([cosine(student[i], student[j]) for j in others]) / 0.1, 0)
        wanted = torch.softmax(torch.stack([cosine(teacher[i], teacher[j]) for j in others]) / 0.1, 0)
        reference = reference + (wanted * (wanted / mine).log()).sum() / 5 + 5 * (1 - cosine(student[i], teacher[i])) / 5
    ours = vector_distillation_loss(student, teacher, 0.1)
    torch.testing.assert_close(ours, reference, atol=1e-5, rtol=1e-5)
    [mine], [wanted] = torch.autograd.grad(ours, student), torch.autograd.grad(reference, student)
    torch.testing.assert_close(mine, wanted, atol=1e-5, rtol=1e-4)
    assert vector_distillation_loss(teacher, teacher, 0.1).item() == pytest.approx(0, abs=1e-5)
    wide = torch.randn(5, 30, generator=random)
    assert vector_distillation_loss(student, wide, 0.1) > 0
    assert torch.isfinite(vector_distillation_loss(student[:1], teacher[:1], 0.1))
    only_wide, only_direct = vector_distillation_loss(student, wide, 0.1), 5 * (1 - torch.cosine_similarity(student, teacher)).mean()
    torch.testing.assert_close(vector_distillation_loss(student, teacher, 0.1, alike=wide), only_wide + only_direct, atol=1e-5, rtol=1e-5)


def test_score_distillation():
    teacher = torch.tensor([[2.0, 0.0, -1.0]])
    assert score_distillation_loss(teacher, teacher).item() == pytest.approx(0, abs=1e-6)
    wanted, mine = torch.softmax(teacher[0], 0), torch.full((3,), 1 / 3)
    expected = (wanted * (wanted / mine).log()).sum().item()
    assert score_distillation_loss(torch.zeros(1, 3), teacher).item() == pytest.approx(expected, abs=1e-6)
