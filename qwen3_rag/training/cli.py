"""`qwen3-rag train`: a function a verb, which reads the settings and calls the module that does the work. It does not import torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from qwen3_rag.training.settings import EmbedderTraining, Exporting, Merging, MiningSettings, RerankerTraining, read_settings
from qwen3_rag.training.synthesis.settings import FilterSettings, ServerSettings, SynthesisSettings

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


@train_app.command(
    epilog="Example: qwen3-rag train synthesize --kb kb --url http://localhost:8000/v1 --model qwen3 --output synthetic.jsonl"
)
def synthesize(
    settings: SettingsFile = None,
    stage: Stage = None,
    kb: Annotated[Path | None, typer.Option("--kb", help="Knowledge base whose chunks are asked about.")] = None,
    passages: Annotated[Path | None, typer.Option(help="Or JSON Lines with a text each.")] = None,
    output: Annotated[Path | None, typer.Option(help="File of the pairs. The same command again goes on where it stopped.")] = None,
    url: Annotated[str | None, typer.Option(help="OpenAI-compatible server, up to /v1.")] = None,
    model: Annotated[str | None, typer.Option(help="The language model's name there.")] = None,
    api_key: Annotated[str | None, typer.Option(envvar="OPENAI_API_KEY", help="Its key.")] = None,
    per_passage: Annotated[int | None, typer.Option(help="Pairs made of each passage.")] = None,
    most_passages: Annotated[int | None, typer.Option(help="So many passages are drawn.", show_default="all")] = None,
    least_similarity: Annotated[float | None, typer.Option(help="Least cosine of query and passage.", show_default="0.7")] = None,
    seed: Seed = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show prompts and the number of calls, ask nobody.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")] = False,
) -> None:
    """Have a language model ask what each passage answers: pairs to train with."""
    own = {"kb": kb, "passages": passages, "output": output, "per_passage": per_passage, "most_passages": most_passages, "seed": seed}
    chosen = read_settings(SynthesisSettings, "synthesize", settings, stage, own)
    server = read_settings(ServerSettings, "server", settings, None, {"url": url, "model": model})
    filters = read_settings(FilterSettings, "filter", settings, None, {"least_similarity": least_similarity})
    from qwen3_rag.training.synthesis.console import show_dry_run, show_synthesis

    if dry_run:
        show_dry_run(out, chosen, as_json=as_json)
    else:
        show_synthesis(out, chosen, server, filters, api_key=api_key, as_json=as_json)


@train_app.command(epilog="Example: qwen3-rag train mine --pairs synthetic.jsonl --kb kb --output mined.jsonl")
def mine(
    settings: SettingsFile = None,
    stage: Stage = None,
    pairs: Pairs = None,
    kb: Annotated[Path | None, typer.Option("--kb", help="Knowledge base that is searched.")] = None,
    passages: Annotated[Path | None, typer.Option(help="Or JSON Lines with a text each.")] = None,
    output: Annotated[Path | None, typer.Option(help="File of the pairs with their negatives.")] = None,
    embedder: Annotated[str | None, typer.Option(help="Searches the texts of --passages; a knowledge base has its own.")] = None,
    reranker: Annotated[str | None, typer.Option(help="Judges instead of the cosine.", show_default="none")] = None,
    negatives: Annotated[int | None, typer.Option(help="Most of them for a pair.")] = None,
    seed: Seed = None,
) -> None:
    """Add hard negatives to pairs: what is found for a query and is no answer to it."""
    chosen = read_settings(MiningSettings, "mine", settings, stage, _options(locals()))
    from qwen3_rag.training.sources import mine_files

    count, found = mine_files(chosen)
    out.print(f"{count} pairs with {found} hard negatives in {chosen.output}", highlight=False, markup=False)


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
    checkpoints: Annotated[list[Path] | None, typer.Argument(help="Models of one origin, in the order they are folded in.")] = None,
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
