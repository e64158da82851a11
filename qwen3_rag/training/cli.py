"""`qwen3-rag train`: a function a verb, which reads the settings and calls the module that does the work. It does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from qwen3_rag.training.settings import EmbedderTraining, Exporting, Merging, RerankerTraining, read_settings

train_app = typer.Typer(
    no_args_is_help=True,
    help="Adapt the models to your own documents.\n\n"
    "Settings stand in train.toml, a table a verb; docs/training.md lists them. Each step's output is the next one's input.",
)
out = Console()

SettingsFile = Annotated[Path | None, typer.Option("--settings", help="TOML file with the settings.", show_default="train.toml")]
Stage = Annotated[str | None, typer.Option(help="Table within the verb's table whose settings win, such as weak.")]
Model = Annotated[str | None, typer.Option(help="What is trained: hub id, local folder or nano.")]
Pairs = Annotated[list[Path] | None, typer.Option(help="File of training pairs; may be repeated.")]
Output = Annotated[Path | None, typer.Option(help="Folder of the run. The same command again goes on where it stopped.")]
Dev = Annotated[list[Path] | None, typer.Option(help="File of pairs to judge by; may be repeated.")]
General = Annotated[list[Path] | None, typer.Option(help="Folder in BEIR form that must not become worse; may be repeated.")]
Epochs = Annotated[int | None, typer.Option(help="How often each pair is seen.")]
BatchSize = Annotated[int | None, typer.Option(help="Pairs of one step.")]
LearningRate = Annotated[float | None, typer.Option(help="Highest learning rate.")]
LoraRank = Annotated[int | None, typer.Option(help="Rank of low-rank adapters; 0 trains all weights.")]
Seed = Annotated[int | None, typer.Option(help="Of everything that is drawn.")]


@train_app.command(epilog="Example: qwen3-rag train embedder --settings train.toml --stage weak")
def embedder(
    settings: SettingsFile = None,
    stage: Stage = None,
    model: Model = None,
    pairs: Pairs = None,
    output: Output = None,
    dev: Dev = None,
    general: General = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    lora_rank: LoraRank = None,
    seed: Seed = None,
) -> None:
    """Train an embedder on pairs; the weak and the supervised stage are two runs of this."""
    options = _options(locals())
    chosen = read_settings(EmbedderTraining, "embedder", settings, stage, options)
    from qwen3_rag.training.run import train_embedder

    train_embedder(chosen, out)


@train_app.command(epilog="Example: qwen3-rag train reranker --settings train.toml")
def reranker(
    settings: SettingsFile = None,
    stage: Stage = None,
    model: Model = None,
    pairs: Pairs = None,
    output: Output = None,
    dev: Dev = None,
    general: General = None,
    epochs: Epochs = None,
    batch_size: BatchSize = None,
    learning_rate: LearningRate = None,
    lora_rank: LoraRank = None,
    seed: Seed = None,
) -> None:
    """Train a reranker on pairs with hard negatives."""
    options = _options(locals())
    chosen = read_settings(RerankerTraining, "reranker", settings, stage, options)
    from qwen3_rag.training.run import train_reranker

    train_reranker(chosen, out)


@train_app.command(epilog="Example: qwen3-rag train merge runs/a/model runs/b/model --output runs/merged")
def merge(
    checkpoints: Annotated[list[Path] | None, typer.Argument(help="Trained models of one origin, in the order they are folded in.")] = None,
    settings: SettingsFile = None,
    stage: Stage = None,
    weights: Annotated[list[float] | None, typer.Option(help="How much each counts; once for each.", show_default="alike")] = None,
    output: Annotated[Path | None, typer.Option(help="Folder of the merged model.")] = None,
) -> None:
    """Merge trained models by spherical interpolation."""
    options = {"checkpoints": checkpoints or None, "weights": weights or None, "output": output}
    chosen = read_settings(Merging, "merge", settings, stage, options)
    from qwen3_rag.training.export import merge_models

    out.print(f"{merge_models(chosen)}", highlight=False, markup=False)


@train_app.command(epilog="Example: qwen3-rag train export runs/merged --output my-model")
def export(
    checkpoint: Annotated[Path | None, typer.Argument(help="The trained or merged model.")] = None,
    settings: SettingsFile = None,
    stage: Stage = None,
    output: Annotated[Path | None, typer.Option(help="Folder that is written; it must not exist.")] = None,
    base: Annotated[str | None, typer.Option(help="Compare with this model.", show_default="what its training started from")] = None,
    dev: Dev = None,
    general: General = None,
    force: Annotated[bool, typer.Option("--force", help="Write it even if it is worse.")] = False,
) -> None:
    """Compare a trained model with what it started from, and write it for use if it is no worse."""
    options = {"checkpoint": checkpoint, "output": output, "base": base, "dev": dev or None, "general": general or None}
    chosen = read_settings(Exporting, "export", settings, stage, options)
    from qwen3_rag.training.export import export_model

    export_model(chosen, out, force=force)


def _options(given: dict[str, Any]) -> dict[str, Any]:
    """What settings a verb's options give; an option that may be repeated and was not is empty."""
    return {name: value for name, value in given.items() if name not in ("settings", "stage") and value not in (None, [])}
