"""Trains an embedder: the contrastive loss over Matryoshka prefixes, and a teacher's vectors as a further term."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from transformers import TrainerCallback

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.packing import Item
from qwen3_rag.models.prompts import EmbeddingTemplate
from qwen3_rag.training import processes
from qwen3_rag.training.batches import Batches, EmbedderBatch, Example, embedder_batch
from qwen3_rag.training.gradient_cache import Loss
from qwen3_rag.training.losses import ABSENT, Contrast, matryoshka_loss, vector_distillation_loss
from qwen3_rag.training.network import Network
from qwen3_rag.training.settings import EmbedderTraining
from qwen3_rag.training.teachers import Teacher
from qwen3_rag.training.trainer import PackedTrainer

LEAST_DIM = 32


class EmbedderTrainer(PackedTrainer):
    """Minimises `contrastive_weight` · contrastive + `distillation_weight` · distillation.

    Args:
        network: an embedder.
        settings: of the run.
        data: its batches.
        teacher: whose vectors are followed, if any.
        alike: whose similarities are followed in place of the teacher's, if anyone's.
        callbacks: told of steps.
    """

    def __init__(
        self,
        network: Network,
        settings: EmbedderTraining,
        data: Batches,
        teacher: Teacher | None = None,
        alike: Teacher | None = None,
        callbacks: Sequence[TrainerCallback] = (),
    ) -> None:
        super().__init__(network, settings, data, callbacks)
        self._settings, self._teacher, self._alike = settings, teacher, alike
        self._template = EmbeddingTemplate(network.tokenizer, min(settings.max_tokens, network.checkpoint.context))
        self._dims = matryoshka_dims(settings, network.checkpoint.hidden_size)

    def prepared(self, examples: Sequence[Example]) -> tuple[list[Item], Loss]:
        """Queries, positives and hard negatives, and the loss of their vectors."""
        batch = embedder_batch(examples, self._template)
        pairs = [example.pair for example in examples]
        taught, alike = (None if each is None else torch.from_numpy(each(pairs)) for each in (self._teacher, self._alike))
        return batch.items, lambda vectors: self.loss(vectors, batch, taught, alike)

    def loss(
        self, vectors: torch.Tensor, batch: EmbedderBatch, taught: torch.Tensor | None = None, alike: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The loss of a micro-batch beside those of other processes.

        Args:
            vectors: of `batch.items`, shape (texts, hidden).
            batch: what they are of.
            taught: the teacher's vectors of queries and positives, shape (2n, width).
            alike: vectors of the same texts whose similarities are wanted in place of the teacher's, shape (2n, another width).
        """
        contrast = contrast_of(vectors, batch)
        value = vectors.sum() * 0
        if self._settings.contrastive_weight:
            term = matryoshka_loss(contrast, self._dims, self._settings.temperature, self._settings.margin)
            value = value + self._settings.contrastive_weight * term
        if taught is not None:
            value = value + self._settings.distillation_weight * self._distillation(contrast, taught, alike)
        return value

    def _distillation(self, contrast: Contrast, taught: torch.Tensor, alike: torch.Tensor | None) -> torch.Tensor:
        queries = contrast.queries if contrast.every_query is None else contrast.every_query
        positives = contrast.positives if contrast.every_positive is None else contrast.every_positive
        student = torch.cat([queries, positives])
        teacher = _of_all(taught, student.device)
        similar = None if alike is None else _of_all(alike, student.device)
        settings = self._settings
        terms = [
            weight * vector_distillation_loss(student[:, :dim], teacher, settings.distillation_temperature, settings.direct_weight, similar)
            for dim, weight in self._dims.items()
        ]
        return torch.stack(terms).sum()


def _of_all(rows: torch.Tensor, device: torch.device) -> torch.Tensor:
    """Rows of queries, then of positives, of all processes; shape (2n, width) in, float32 out."""
    return torch.cat([processes.gathered(part) for part in rows.to(device).float().chunk(2)])


def contrast_of(vectors: torch.Tensor, batch: EmbedderBatch) -> Contrast:
    """What one contrastive loss compares, queries and positives of all processes among it."""
    count = len(batch.documents)
    width = max(map(len, batch.negative_documents), default=0)
    slots = [row * width + place for row, numbers in enumerate(batch.negative_documents) for place in range(len(numbers))]
    numbers = [[*row, *[ABSENT] * (width - len(row))] for row in batch.negative_documents]
    negatives = vectors.new_zeros(count * width, vectors.shape[1])
    negatives = negatives.index_copy(0, torch.tensor(slots, dtype=torch.long, device=vectors.device), vectors[2 * count :])
    contrast = Contrast(
        queries=vectors[:count],
        positives=vectors[count : 2 * count],
        negatives=negatives.view(count, width, vectors.shape[1]),
        documents=torch.tensor(batch.documents, device=vectors.device),
        negative_documents=torch.tensor(numbers, dtype=torch.long, device=vectors.device).view(count, width),
    )
    return contrast if processes.count() == 1 else _together(contrast)


def _together(contrast: Contrast) -> Contrast:
    return Contrast(
        contrast.queries,
        contrast.positives,
        contrast.negatives,
        contrast.documents,
        contrast.negative_documents,
        processes.gathered(contrast.queries),
        processes.gathered(contrast.positives),
        processes.gathered(contrast.documents),
    )


def matryoshka_dims(settings: EmbedderTraining, hidden: int) -> Mapping[int, float]:
    """Prefixes and their weights: as set, else the whole vector and its halves down to 32.

    Raises:
        ConfigurationError: a prefix longer than the vector, or not one weight for each.
    """
    dims = list(settings.dims)
    if not dims:
        dims = [hidden]
        while dims[-1] // 2 >= LEAST_DIM:
            dims.append(dims[-1] // 2)
    weights = list(settings.dim_weights) or [1.0] * len(dims)
    if len(weights) != len(dims) or max(dims) > hidden:
        raise ConfigurationError(f"`dims` {dims} with `dim_weights` {weights} do not fit: at most {hidden}, and one weight for each.")
    return dict(zip(dims, weights, strict=True))
