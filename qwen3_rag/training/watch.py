"""What a run shows as it goes: a line of loss and dev nDCG@10 on the console, the same as JSON lines in the run's folder."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from rich.console import Console
from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from qwen3_rag.errors import NonFiniteError
from qwen3_rag.training.evaluation import Figures
from qwen3_rag.training.trainer import PackedTrainer, diverged
from qwen3_rag.training.weights import write_text

LOG = "log.jsonl"


class Watch(TrainerCallback):
    """Judges every `every` steps and at the end; `judge` is not called before the first step.

    Args:
        output: the run's folder.
        judge: the network as it is now.
        every: steps.
        console: where lines go; None for processes that keep quiet.

    Attributes:
        latest: the last figures; after a step was trained, those of the end. None where none was.
    """

    def __init__(self, output: Path, judge: Callable[[], Figures], every: int, console: Console | None) -> None:
        self._log, self._judge, self._every, self._console = output / LOG, judge, every, console
        self._since = time.monotonic()
        self.trainer: PackedTrainer | None = None
        self.latest: Figures | None = None

    def on_train_begin(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> None:
        """Forget lines of steps that are done again, and what a power cut or a full disk left of a line."""
        if self._console is not None and self._log.is_file():
            lines = self._log.read_text(encoding="utf-8", errors="replace").split("\n")
            write_text(self._log, "".join(f"{line}\n" for line in lines if _step(line) <= state.global_step))

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any) -> TrainerControl:
        """Judge where it is time.

        Raises:
            TrainingError: the network computes NaN or infinity.
        """
        if state.global_step % self._every == 0 or state.global_step == state.max_steps:
            control.should_log = True
            if self._console is not None and self.trainer is not None:
                try:
                    self.latest = self._judge()
                except NonFiniteError as error:
                    raise diverged(state.global_step, args) from error
                self.trainer.figures = {"dev_ndcg@10": self.latest.ndcg, "dev_recall@10": self.latest.recall}
        return control

    def on_log(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, logs: Any = None, **_: Any) -> None:
        """One line."""
        if self._console is None or not logs or "loss" not in logs:
            return
        entry = {"step": state.global_step, "seconds": round(time.monotonic() - self._since, 1), **logs}
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
        dev = f"  dev nDCG@10 {logs['dev_ndcg@10']:.4f}" if "dev_ndcg@10" in logs else ""
        line = f"step {state.global_step:>{len(str(state.max_steps))}}/{state.max_steps}  loss {logs['loss']:.4f}"
        self._console.print(f"{line}  lr {logs['learning_rate']:.2e}{dev}  {entry['seconds']:.0f} s", highlight=False)


def _step(line: str) -> float:
    """The step that a line of the log is of; a step that never comes where the line is torn."""
    try:
        return int(json.loads(line)["step"])
    except ValueError:
        return math.inf
