"""Trains a reranker: the likelihood of yes and no, and a teacher's scores as a further term.

Candidates of one query share the beginning of their prompts, which is computed once. Of the head only two rows are.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from transformers import TrainerCallback

from qwen3_rag.models.packing import Item
from qwen3_rag.models.prompts import RerankTemplate
from qwen3_rag.training import processes
from qwen3_rag.training.batches import Batches, Example, RerankerBatch, reranker_batch
from qwen3_rag.training.gradient_cache import Loss
from qwen3_rag.training.losses import answer_loss, score_distillation_loss
from qwen3_rag.training.network import Network
from qwen3_rag.training.settings import RerankerTraining
from qwen3_rag.training.trainer import PackedTrainer


class RerankerTrainer(PackedTrainer):
    """Minimises `answer_weight` · answers + `distillation_weight` · distillation: means over all prompts, and over all queries with scores.

    Args:
        network: a reranker.
        settings: of the run.
        data: its batches.
        callbacks: told of steps.
    """

    def __init__(self, network: Network, settings: RerankerTraining, data: Batches, callbacks: Sequence[TrainerCallback] = ()) -> None:
        super().__init__(network, settings, data, callbacks)
        self._settings = settings
        self._template = RerankTemplate(network.tokenizer, min(settings.max_tokens, network.checkpoint.context))

    def prepared(self, examples: Sequence[Example]) -> tuple[list[Item], Loss]:
        """Prompts of all candidates, and the loss of their last states."""
        batch = reranker_batch(examples, self._template)
        return batch.items, lambda states: self.loss(states, batch)

    def loss(self, states: torch.Tensor, batch: RerankerBatch) -> torch.Tensor:
        """The loss of a micro-batch, scaled so that its mean over processes is that of all prompts."""
        yes, no = self.network.answer_rows(self._template.yes_id, self._template.no_id)
        labels = torch.tensor(batch.relevant, device=states.device)
        share = len(labels) * processes.count() / processes.total(len(labels), states.device)
        value = self._settings.answer_weight * share * answer_loss(states, yes, no, labels)
        if self._settings.distillation_weight:
            value = value + self._settings.distillation_weight * self._distillation(states.float() @ (yes - no).float(), batch)
        return value

    def _distillation(self, logits: torch.Tensor, batch: RerankerBatch) -> torch.Tensor:
        terms = [
            score_distillation_loss(mine[None], torch.tensor([scores], device=mine.device), self._settings.distillation_temperature)
            for mine, scores in zip(torch.split(logits, batch.counts), batch.scores, strict=True)
            if scores is not None
        ]
        everywhere = processes.total(len(terms), logits.device)
        return torch.stack(terms).sum() * processes.count() / everywhere if terms else logits.sum() * 0
