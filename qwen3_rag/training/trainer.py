"""A `transformers.Trainer` whose batches are packed rows: optimiser, schedule, checkpoints and processes are its, the step is ours.

A checkpoint counts once a marker in it says that it is complete, so that a run that is killed while it writes goes on from the one
before. What is minimised is a subclass' matter.
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from safetensors.torch import load_file, save_file
from torch import nn
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback, TrainerControl, TrainerState, TrainingArguments
from transformers.trainer_callback import PrinterCallback

from qwen3_rag.errors import ConfigurationError, TrainingError
from qwen3_rag.models.packing import Item
from qwen3_rag.training import processes
from qwen3_rag.training.batches import Batches, Example
from qwen3_rag.training.gradient_cache import Loss, cached_backward
from qwen3_rag.training.network import Network
from qwen3_rag.training.settings import Training

WEIGHTS = "trained.safetensors"
COMPLETE = "complete"
_CHECKPOINTS = "checkpoint-"
KEPT = 2
"""Checkpoints. transformers would count and delete what a user has put beside them under a similar name."""


class PackedTrainer(Trainer):
    """Trains a `Network` on `Batches`.

    Args:
        network: what is trained.
        settings: of the run.
        data: its batches.
        callbacks: told of steps, as transformers does.
    """

    def __init__(self, network: Network, settings: Training, data: Batches, callbacks: Sequence[TrainerCallback] = ()) -> None:
        arguments = training_arguments(settings, len(data) // processes.count())
        super().__init__(
            model=network,
            args=arguments,
            train_dataset=data,
            data_collator=_passed_through,
            callbacks=[_StepsAsSet(), *callbacks],
        )
        self.remove_callback(PrinterCallback)
        self.network, self._part_tokens = network, settings.part_tokens
        self._rates = trained_rates(network, settings.rates)
        self.figures: dict[str, float] = {}
        """Figures to be logged with the next losses."""
        if settings.gradient_checkpointing:
            body: Any = network.running
            getattr(body, "activation_checkpointing_enable", body.gradient_checkpointing_enable)()

    def prepared(self, examples: Sequence[Example]) -> tuple[list[Item], Loss]:
        """What is computed of a micro-batch, and the loss of its vectors; the mean over processes of losses is minimised."""
        raise NotImplementedError

    def training_step(self, model: nn.Module, inputs: dict[str, Any], num_items_in_batch: Any = None) -> torch.Tensor:
        """Gradients of one micro-batch, averaged over processes; returns the loss of this one.

        Raises:
            TrainingError: the loss is not finite.
        """
        self.network.train()
        items, loss = self.prepared(inputs["examples"])
        with self.network.step() as encode:
            value = cached_backward(encode, items, loss, self._part_tokens)
        if not torch.isfinite(value):
            raise diverged(self.state.global_step + 1, self.args)
        # Whether transformers wrapped the network for several processes does not matter: its hooks are armed by a forward pass through
        # the wrapper, and there is none.
        processes.average_gradients(self.network.parameters())
        return value

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """Transformers' own, with a learning rate for each group of `rates`."""
        if self.optimizer is None and set(self._rates.values()) != {1.0}:
            kind, options = self.get_optimizer_cls_and_kwargs(self.args)
            self.optimizer = kind(self._groups(), **options)
        optimizer: torch.optim.Optimizer = super().create_optimizer()
        return optimizer

    def _groups(self) -> list[dict[str, Any]]:
        """Parameters that are trained, by learning rate and weight decay."""
        decayed = set(self.get_decay_parameter_names(self.network))
        groups: dict[tuple[float, float], list[nn.Parameter]] = {}
        for name, parameter in self.network.named_parameters():
            if parameter.requires_grad:
                decay = self.args.weight_decay if name in decayed else 0.0
                groups.setdefault((self._rates[name] * self.args.learning_rate, decay), []).append(parameter)
        # transformers logs the rate of the first group.
        ordered = sorted(groups.items(), key=lambda group: group[0][0] != self.args.learning_rate)
        return [{"params": members, "lr": rate, "weight_decay": decay} for (rate, decay), members in ordered]

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Add what was measured since."""
        super().log({**logs, **self.figures}, start_time)
        self.figures = {}

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        data: Any = self.train_dataset if train_dataset is None else train_dataset
        return SequentialSampler(data)

    def _save(self, output_dir: str | None = None, state_dict: dict[str, Any] | None = None) -> None:
        if not self.args.should_save:
            return
        folder = Path(output_dir or str(self.args.output_dir))
        folder.mkdir(parents=True, exist_ok=True)
        save_file({name: weight.cpu().contiguous() for name, weight in self.network.trained().items()}, folder / WEIGHTS)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: nn.Module | None = None) -> None:
        self.network.restore(load_file(Path(resume_from_checkpoint) / WEIGHTS))

    def _save_checkpoint(self, model: nn.Module, trial: Any) -> None:
        super()._save_checkpoint(model, trial)
        processes.wait()
        if self.is_world_process_zero():
            own = _checkpoints(Path(str(self.args.output_dir)))
            (own[self.state.global_step] / COMPLETE).touch()
            for step in sorted(own)[:-KEPT]:
                shutil.rmtree(own[step])


class _StepsAsSet(TrainerCallback):
    """A run that goes on logs and saves as it is told now; transformers takes both from the checkpoint."""

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        state.compute_steps(args, state.max_steps)  # type: ignore[no-untyped-call]


def trained_rates(network: Network, rates: Mapping[str, float]) -> dict[str, float]:
    """What the learning rate is multiplied by for each weight that is trained, by its name. A weight of rate zero is frozen.

    Raises:
        ConfigurationError: a word of `rates` is in no name, or nothing is left to train.
    """
    names = [name for name, parameter in network.named_parameters() if parameter.requires_grad]
    unknown = [word for word in rates if not any(word in name for name in names)]
    if unknown:
        raise ConfigurationError(f"`rates`: no weight that is trained has {unknown[0]!r} in its name. Names are like {names[0]!r}.")
    found = {name: next((rate for word, rate in rates.items() if word in name), 1.0) for name in names}
    if not any(found.values()):
        raise ConfigurationError("`rates` leave every weight as it is. Give one of them a rate above 0.")
    network.freeze([name for name, rate in found.items() if not rate])
    return {name: rate for name, rate in found.items() if rate}


def training_arguments(settings: Training, steps: int) -> TrainingArguments:
    """What transformers is told; `steps` are those of the whole run."""
    arguments = TrainingArguments(
        output_dir=str(settings.output),
        max_steps=steps,
        per_device_train_batch_size=1,
        learning_rate=settings.learning_rate,
        weight_decay=settings.weight_decay,
        adam_beta2=settings.beta2,
        warmup_steps=round(settings.warmup * steps),
        lr_scheduler_type=settings.schedule.value,
        max_grad_norm=settings.clip,
        logging_steps=settings.log_every,
        save_steps=settings.save_every,
        use_cpu=settings.device == "cpu",
        ddp_backend="gloo" if settings.device == "cpu" and processes.launched() > 1 else None,
        seed=settings.seed,
        disable_tqdm=True,
        report_to="tensorboard" if importlib.util.find_spec("tensorboard") else "none",
        dataloader_pin_memory=False,
        remove_unused_columns=False,
    )
    arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs are used by several processes, not by one
    return arguments


def diverged(step: int, arguments: TrainingArguments) -> TrainingError:
    """What to say of a run whose network computes NaN or infinity."""
    return TrainingError(
        f"Training diverged at step {step} with learning_rate {arguments.learning_rate:g}: what the network computes is not finite. "
        "Lower learning_rate or raise warmup, and name a new output folder."
    )


def start_processes(settings: Training) -> None:
    """Meet the other processes, where torchrun or accelerate started some, before any data are read."""
    if processes.launched() > 1:
        PartialState(cpu=settings.device == "cpu")


def last_checkpoint(output: Path) -> Path | None:
    """The newest complete checkpoint of a run; incomplete ones are deleted."""
    complete: dict[int, Path] = {}
    for step, folder in _checkpoints(output).items():
        if (folder / COMPLETE).is_file():
            complete[step] = folder
        elif processes.rank() == 0:
            shutil.rmtree(folder)
    return complete[max(complete)] if complete else None


def _checkpoints(output: Path) -> dict[int, Path]:
    """A run's own checkpoints by step: what has more in its name than a step is a user's copy."""
    found = {folder.name.removeprefix(_CHECKPOINTS): folder for folder in output.glob(f"{_CHECKPOINTS}*") if folder.is_dir()}
    return {int(step): folder for step, folder in found.items() if step.isdecimal()}


def _passed_through(batches: list[list[Example]]) -> dict[str, list[Example]]:
    return {"examples": batches[0]}
