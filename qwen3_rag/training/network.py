"""A network to be trained: the body of a checkpoint, all of it or low-rank adapters in it, and the two answers of a reranker.

Weights that are trained are kept in float32. With bfloat16 what is computed is a copy of them in that format, refreshed at each step. This
module knows no text, no loss and no trainer.
"""

from __future__ import annotations

import copy
import importlib.util
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Self

import torch
from safetensors import safe_open
from torch import nn
from transformers import Qwen3Model

from qwen3_rag.errors import ConfigurationError, MissingExtraError, ModelFormatError
from qwen3_rag.models.checkpoint import Checkpoint
from qwen3_rag.models.hardware import computes_bfloat16
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.models.loading import load, require_torch
from qwen3_rag.models.packing import Item
from qwen3_rag.models.prompts import RerankTemplate
from qwen3_rag.models.tokenization import TextTokenizer
from qwen3_rag.training.compiled import can_compile, has_compiler
from qwen3_rag.training.forward import TrainingForward

LORA_MODULES = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
_BASE = ".base_layer"
Encode = Callable[[Sequence[Item]], torch.Tensor]


def require_training() -> None:
    """The door of this room.

    Raises:
        MissingExtraError: torch, peft or accelerate is not installed.
    """
    require_torch()
    if any(importlib.util.find_spec(name) is None for name in ("peft", "accelerate")):
        raise MissingExtraError("Training", "train")


class Network(nn.Module):
    """The body, and what a reranker answers with.

    Attributes:
        checkpoint, tokenizer: what it was loaded from.
        body: the layers, with adapters where there are some.
        answers: rows of the head for yes and no, shape (2, hidden); None for embedders and where the token embeddings are the head.
    """

    def __init__(self, checkpoint: Checkpoint, tokenizer: TextTokenizer, body: Qwen3Model, answers: nn.Parameter | None = None) -> None:
        super().__init__()
        self.checkpoint, self.tokenizer, self.body, self.answers = checkpoint, tokenizer, body, answers
        self._copy: list[Qwen3Model] = []  # in a list, so that it is no part of what is trained and saved
        self._compiled = False
        self._forward = TrainingForward(body)

    @classmethod
    def load(cls, model: str, kind: ModelKind) -> Network:
        """Load a checkpoint with all of its weights trained, in float32 on the CPU; a trainer moves it to its device.

        Raises:
            ModelNotFoundError: no such folder, and the hub does not have it or cannot be reached.
            ModelFormatError: the folder holds no Qwen3 checkpoint of that kind.
        """
        loaded = load(model, kind, "float32", "cpu")
        body = loaded.inference.model.requires_grad_(True)
        answers = None
        if kind is ModelKind.RERANKER:
            template = RerankTemplate(loaded.tokenizer, loaded.checkpoint.context)
            answers = _answers(loaded.checkpoint, [template.yes_id, template.no_id])
        return cls(loaded.checkpoint, loaded.tokenizer, body, answers)

    @property
    def running(self) -> Qwen3Model:
        """The layers that compute: the body, or its copy in bfloat16."""
        return self._copy[0] if self._copy else self.body

    def forward(self, items: Sequence[Item]) -> torch.Tensor:
        """Hidden state of each item's last token, shape (n, hidden)."""
        return self._forward(items)

    def train(self, mode: bool = True) -> Self:
        """Learn from now on, or be judged: the copy that computes as well, which is no submodule."""
        super().train(mode)
        self.running.train(mode)
        return self

    def answer_rows(self, yes: int, no: int) -> tuple[torch.Tensor, torch.Tensor]:
        """The head's rows for two tokens, each of shape (hidden,)."""
        if self.answers is not None:
            return self.answers[0], self.answers[1]
        rows = self.running.embed_tokens.weight
        return rows[yes], rows[no]

    def add_adapters(self, rank: int, alpha: int | None, dropout: float, seed: int) -> None:
        """Freeze all weights and train low-rank adapters (LoRA, arXiv 2106.09685) in every projection instead."""
        from peft import LoraConfig, inject_adapter_in_model

        torch.manual_seed(seed)
        settings = LoraConfig(r=rank, lora_alpha=alpha or 2 * rank, lora_dropout=dropout, target_modules=list(LORA_MODULES))
        self.requires_grad_(False)
        inject_adapter_in_model(settings, self.body)

    def freeze(self, names: Container[str]) -> None:
        """Train these weights no more."""
        for name, parameter in self.named_parameters():
            if name in names:
                parameter.requires_grad_(False)
        for kept, computed in zip(self.body.parameters(), self.running.parameters(), strict=True):
            computed.requires_grad_(kept.requires_grad)

    def compute_in(self, dtype: torch.dtype) -> None:
        """Compute in `dtype` from now on. Frozen weights are cast for good; of trained ones a copy is."""
        if dtype == torch.float32:
            return
        if any(not parameter.requires_grad for parameter in self.body.parameters()):
            for parameter in self.body.parameters():
                if not parameter.requires_grad:
                    parameter.data = parameter.data.to(dtype)
            return
        self._copy = [copy.deepcopy(self.body)]
        for parameter in self.running.parameters():
            parameter.data = parameter.data.to(dtype)  # `Module.to` would round the rotary frequencies as well
        self._forward = TrainingForward(self.running, self._compiled)

    def compile_layers(self, device: torch.device) -> None:
        """Compile what layers compute, from the first step on, on the device that a trainer will have moved them to.

        Raises:
            ConfigurationError: the network has adapters, which the compiled layers do not know; or nothing here compiles for a CPU.
        """
        if not can_compile(self.body):
            raise ConfigurationError("`compiled` is for training all weights: leave it away, or set lora_rank = 0.")
        if device.type == "cpu" and not has_compiler():
            raise ConfigurationError("`compiled` needs a C++ compiler on a CPU: install one (apt install g++), or leave it away.")
        self._compiled = True
        self._forward = TrainingForward(self.running, compiled=True)

    @contextmanager
    def step(self) -> Iterator[Encode]:
        """What computes the vectors of one step; behind it, gradients are in the weights that are trained."""
        if not self._copy:
            yield self
            return
        pairs = list(zip(self.body.parameters(), self.running.parameters(), strict=True))
        self.refresh()
        yield self
        for kept, computed in pairs:
            if computed.grad is not None:
                kept.grad = computed.grad.float()
                computed.grad = None

    def refresh(self) -> None:
        """Bring the copy to the weights as they are now; without a copy, nothing."""
        if self._copy:
            running: torch.nn.Module = self.running
            running.to(self.body.device)
            with torch.no_grad():
                for kept, computed in zip(self.body.parameters(), self.running.parameters(), strict=True):
                    computed.copy_(kept)

    def trained(self) -> dict[str, torch.Tensor]:
        """The weights that training changes, by name."""
        return {name: parameter.detach() for name, parameter in self.named_parameters() if parameter.requires_grad}

    def restore(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Take weights that `trained` gave.

        Raises:
            ModelFormatError: they are of another network.
        """
        own = self.trained()
        if own.keys() != weights.keys() or any(own[name].shape != weights[name].shape for name in own):
            raise ModelFormatError("The run's checkpoint is of a model with other settings. Name a new output folder.")
        for name, weight in weights.items():
            own[name].copy_(weight)

    def merged(self) -> dict[str, torch.Tensor]:
        """The body's weights as a checkpoint without adapters has them, by their names in `Qwen3Model`."""
        modules: dict[str, Any] = dict(self.body.named_modules())
        weights: dict[str, torch.Tensor] = {}
        for name, weight in self.body.state_dict().items():
            if ".lora_" in name:
                continue
            if _BASE in name:
                adapted = modules[name[: name.index(_BASE)]]
                weight = weight.float() + sum(adapted.get_delta_weight(active).float() for active in adapted.active_adapters)
            weights[name.replace(_BASE, "")] = weight
        return weights


def select_training_dtype(name: str, device: torch.device, stored: str) -> torch.dtype:
    """What is computed in: bfloat16 where the weights are stored so and `device` computes it natively, else float32.

    Raises:
        ConfigurationError: another name than auto, float32 and bfloat16.
    """
    if name not in ("auto", "float32", "bfloat16"):
        raise ConfigurationError(f"Training is not done in {name!r}. `dtype` can be: auto, float32, bfloat16.")
    native = stored == "BF16" and computes_bfloat16(device)
    return torch.bfloat16 if name == "bfloat16" or (name == "auto" and native) else torch.float32


def _answers(checkpoint: Checkpoint, ids: Sequence[int]) -> nn.Parameter | None:
    """The rows of a head of its own; None where the embeddings serve as one.

    Raises:
        ModelFormatError: the checkpoint has neither.
    """
    if checkpoint.head is not None:
        with safe_open(checkpoint.head.file, framework="pt") as file:
            rows = file.get_slice("lm_head.weight")
            return nn.Parameter(torch.cat([rows[index : index + 1].float() for index in ids]))
    if not checkpoint.is_tied:
        raise ModelFormatError(f"The checkpoint in {checkpoint.folder} has no language-model head to train. Give a Qwen3 reranker.")
    return None
