"""How hits, traces, reports and tables look on a terminal. Knows rich and the value objects, nothing of where they come from."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from rich.console import Console, Group, RenderableType
from rich.markup import escape
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from qwen3_rag.types import Hit, Hits, Trace

if TYPE_CHECKING:
    from qwen3_rag.ingestion.report import IngestReport  # its room imports the whole engine, which `--help` can do without
    from qwen3_rag.models.fidelity import FidelityReport

_SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\n+")
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]")
UNBROKEN = 2000
"""Columns of output that goes to a file or another program."""
STAGES = ("dense", "lexical", "fused", "rerank", "blended")


def print_anything() -> None:
    """What the terminal's encoding lacks comes out as a question mark where it would be an error; streams that are lenient stay so."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.errors == "strict":
            stream.reconfigure(errors="replace")


def is_unicode(stream: TextIO) -> bool:
    """Whether a stream takes every character."""
    return (stream.encoding or "").lower().startswith("utf")


def print_json(value: Any) -> None:
    """To standard output; what its encoding lacks is escaped."""
    sys.stdout.write(json.dumps(value, ensure_ascii=not is_unicode(sys.stdout), indent=2, default=str) + "\n")
    sys.stdout.flush()


def show_hits(console: Console, hits: Hits, query: str, *, width: int = 420) -> None:
    """Each hit with its source, heading path, score and stage ranks; of the passage the `width` characters that say most of the query."""
    words = _words(query)
    for rank, hit in enumerate(hits, start=1):
        console.print(_hit(rank, hit, words, width))
    if not hits:
        console.print("[yellow]Nothing found.[/] Try other words, fewer filters, or [bold]--mode hybrid[/].")
    if hits.trace:
        show_trace(console, hits.trace)


def show_trace(console: Console, trace: Trace) -> None:
    """The stages of a search: time, what went in, what came out, why."""
    table = Table(title="how it was found", title_justify="left", box=None, pad_edge=False, header_style="dim")
    for name, justify in (("stage", "left"), ("ms", "right"), ("in", "right"), ("out", "right"), ("note", "left")):
        table.add_column(name, justify=justify)  # type: ignore[arg-type]
    for step in trace.steps:
        table.add_row(step.name, f"{step.seconds * 1000:.1f}", str(step.received), str(step.returned), escape(step.note))
    console.print(table)
    if trace.deadline_reached:
        console.print("[yellow]The reranking deadline was reached; what was not scored in time follows in recall order.[/]")


def show_report(console: Console, report: IngestReport) -> None:
    """One line of what changed, one of chunks and speed, then every document that was left out and why."""
    whole = not console.is_terminal
    changes = f"[green]{report.added} added[/], {report.updated} updated, {report.unchanged} unchanged, {report.deleted} deleted"
    console.print(f"{changes} in {report.seconds:.1f} s", soft_wrap=whole)
    speed = report.tokens / report.seconds if report.seconds else 0.0
    console.print(
        f"[dim]{report.chunks_embedded} chunks embedded, {report.chunks_kept} kept as they were, {report.chunks_removed} removed"
        f"{f'; {speed:,.0f} tokens/s' if report.tokens else ''}[/]",
        soft_wrap=whole,
    )
    for outcome in report.skipped:
        console.print(f"[dim]skipped[/] {escape(short_path(outcome.document_id))}: {escape(outcome.reason or '')}", soft_wrap=whole)
    for outcome in report.failed:
        name = escape(short_path(outcome.document_id))
        console.print(f"[red]failed[/]  {name} ({outcome.stage}): {escape(outcome.reason or '')}", soft_wrap=whole)


def show_fidelity(console: Console, reports: Sequence[FidelityReport]) -> None:
    """The numbers of each model beside its float32 self, then one sentence of verdict."""
    for report in reports:
        fields = {name: _figure(value) for name, value in report.to_dict().items() if name not in ("is_close", "speed")}
        show_fields(console, {**fields, "speed": f"{report.speed:.2f} times float32"})
        console.print(_verdict(report), soft_wrap=not console.is_terminal)


def show_fields(console: Console, fields: Mapping[str, Any]) -> None:
    """Names and values, one a line."""
    table = Table.grid(padding=(0, 2))
    for name, value in fields.items():
        table.add_row(f"[dim]{name.replace('_', ' ')}[/]", escape(_plain(value)))
    _print_whole(console, table)


def show_table(console: Console, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """A plain table; where the output is not a terminal, no line is broken."""
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(escape("" if value is None else _one_line(str(value))) for value in row))
    _print_whole(console, table)


def _one_line(text: str) -> str:
    """With control characters spelled out: names of files may hold line breaks, and a row is a line."""
    return _CONTROL.sub(lambda sign: repr(sign[0])[1:-1], text)


def _plain(value: Any) -> str:
    """A value for people: mappings as "name value, …" without what is zero or empty."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_plain(item)}" for name, item in value.items() if item) or "-"
    return "-" if value is None else str(value)


def _figure(value: Any) -> Any:
    return f"{value:.4f}" if isinstance(value, float) else value


def _verdict(report: FidelityReport) -> str:
    close = report.fidelity.is_close
    kept = "[green]stays close to float32[/]" if close else "[yellow]strays from float32[/]"
    faster = f"is {report.speed:.1f} times as fast here" if report.speed >= 1 else "is [yellow]slower[/] here"
    advice = "use it" if close and report.speed >= 1 else "stay with float32" if not close else "it saves memory only"
    return f"{report.candidate} {kept} and {faster}: {advice}."


def _print_whole(console: Console, table: Table) -> None:
    wide = console if console.is_terminal else Console(file=console.file, width=UNBROKEN)
    wide.print(table)


def short_path(name: str) -> str:
    """A path below the working folder as seen from there; anything else as it is."""
    path = Path(name)
    return path.relative_to(Path.cwd()).as_posix() if path.is_absolute() and path.is_relative_to(Path.cwd()) else name


def _hit(rank: int, hit: Hit, words: frozenset[str], width: int) -> RenderableType:
    where = " › ".join([part for part in (hit.title, *hit.headings) if part])
    body = Text(_excerpt(hit.text, words, width))
    for word in words:
        body.highlight_regex(rf"(?i)\b{re.escape(word)}\w*", "bold yellow")
    lines: list[RenderableType] = [Text(where, style="bold")] if where else []
    return Panel(
        Group(*lines, body, Text(_stages(hit), style="dim")),
        title=f"[bold cyan]{rank}[/] {escape(short_path(hit.source or hit.document_id))}",
        title_align="left",
        subtitle=f"score [bold]{hit.score:.3f}[/]",
        subtitle_align="right",
        border_style="dim",
    )


def _words(query: str) -> frozenset[str]:
    """The query's longer words without their last letters, so that "rotated" also marks "rotation"."""
    return frozenset(word.casefold()[: max(4, len(word) - 3)] for word in re.findall(r"\w{4,}", query))


def _excerpt(text: str, words: frozenset[str], width: int) -> str:
    """The run of sentences, at most `width` characters, that holds most of `words`; the first such run among equals."""
    parts = [" ".join(part.split()) for part in _SENTENCE_END.split(text)]
    parts = [part for part in parts if part and not part.startswith("#")] or [" ".join(text.split())]
    runs = [" ".join(parts[start:])[:width] for start in range(len(parts))]
    best = max(range(len(runs)), key=lambda start: (sum(word in runs[start].casefold() for word in words), -start))
    whole = " ".join(parts[best:])
    return ("… " if best else "") + (runs[best].rstrip() + " …" if len(whole) > width else whole)


def _stages(hit: Hit) -> str:
    parts = [f"{name} #{hit.stages[name].rank} ({hit.stages[name].score:.3f})" for name in STAGES if name in hit.stages]
    if hit.reranked is False:
        parts.append("not reranked in time")
    return " · ".join(parts)
