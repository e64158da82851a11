"""How synthesis looks on a terminal: prompts of a dry run, a bar with what was spent, and what came out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from qwen3_rag import rendering
from qwen3_rag.training.synthesis.run import Tally
from qwen3_rag.training.synthesis.settings import FilterSettings, ServerSettings, SynthesisSettings
from qwen3_rag.training.synthesis.synthesize import dry_run, synthesize

_SHOWN = 5
"""Faults and refusals, each; the whole lists are in the JSON."""


def show_dry_run(console: Console, settings: SynthesisSettings, *, as_json: bool) -> None:
    """The prompts of the first passages, then how many calls a run would make."""
    planned = dry_run(settings)
    if as_json:
        rendering.print_json(planned.to_dict())
        return
    for messages in planned.prompts:
        for message in messages:
            console.rule(message["role"])
            console.print(message["content"], markup=False, highlight=False)
    console.rule()
    console.print(
        f"{planned.passages} passages, {planned.pairs} pairs, {planned.calls} calls, and more for answers that cannot be used. "
        "Nothing was asked.",
        highlight=False,
    )


def show_synthesis(
    console: Console, settings: SynthesisSettings, server: ServerSettings, filters: FilterSettings, *, api_key: str | None, as_json: bool
) -> None:
    """Run, with a bar on standard error, and print the report."""
    with _bar(server) as progress:
        report = synthesize(settings, server, filters, api_key=api_key, progress=progress).to_dict()
    if as_json:
        rendering.print_json(report)
    else:
        faults, refused = report.pop("faults"), report.pop("refused")
        rendering.show_fields(console, report)
        for fault, count in list(faults.items())[:_SHOWN]:
            console.print(f"[dim]asked again {count} times:[/] {escape(fault)}", highlight=False)
        for passage, reason in list(refused.items())[:_SHOWN]:
            console.print(f"[dim]refused, passage[/] {escape(passage)}: {escape(reason)}", highlight=False)
        if len(refused) > _SHOWN:
            console.print(f"[dim]and {len(refused) - _SHOWN} more; --json has them all[/]", highlight=False)


@contextmanager
def _bar(server: ServerSettings) -> Iterator[Callable[[Tally], None]]:
    columns = (TextColumn("pairs"), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[state]}"), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("pairs", state="")

        def progress(tally: Tally) -> None:
            spent, kept = tally.paid.cost(server), tally.remembered.calls
            state = f"{tally.given_up} given up · {tally.paid.calls} calls, {kept} remembered · {spent:.2f} spent"
            bar.update(task, total=tally.jobs, completed=tally.made + tally.given_up, state=state)

        yield progress
