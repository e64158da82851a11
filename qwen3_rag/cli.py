"""The command line: thin verbs over `KnowledgeBase`. Exit codes: 0 done, 1 an error, 2 wrong usage, 3 documents failed, 130 Ctrl-C."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from enum import IntEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from qwen3_rag import rendering
from qwen3_rag.errors import ConfigurationError, Qwen3RagError
from qwen3_rag.settings import CATALOG_FILE, DEFAULT_EMBEDDER, Settings
from qwen3_rag.training.cli import train_app
from qwen3_rag.types import Fusion, Mode

RERANK_DEADLINE = 10.0
"""Seconds; the library itself has no deadline."""
FIDELITY_TEXTS = 60
"""Most texts that `fidelity` takes of a knowledge base."""


class Exit(IntEnum):
    """Exit codes of every verb."""

    OK = 0
    ERROR = 1
    USAGE = 2
    DOCUMENTS_FAILED = 3
    INTERRUPTED = 130


app = typer.Typer(
    name="qwen3-rag",
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    help="Two-stage retrieval with Qwen3: ingest documents, then search them.\n\n"
    "Every setting can also be an environment variable (QWEN3_RAG_EMBEDDER) or a line of qwen3-rag.toml.",
    epilog="Exit codes: 0 done, 1 an error, 2 wrong usage, 3 some documents failed, 130 interrupted.",
)
db = typer.Typer(no_args_is_help=True, help="The catalog database: its version, and how to upgrade it.")
app.add_typer(db, name="db")
app.add_typer(train_app, name="train")

out = Console()
err = Console(stderr=True)


def _path(given: str) -> Path:
    if not given:
        raise typer.BadParameter("a path is empty; perhaps a shell variable is not set. The working folder is written as '.'")
    return Path(given)


Kb = Annotated[Path | None, typer.Option("--kb", parser=_path, help="Folder of the knowledge base.", show_default="kb")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]
Embedder = Annotated[str | None, typer.Option(help="Hub id, local folder or nano. A knowledge base remembers its own.")]


@app.command(
    epilog="Example: qwen3-rag ingest docs/ notes.pdf --kb kb --embedder nano",
)
def ingest(
    paths: Annotated[
        list[Path], typer.Argument(parser=_path, help="Files and folders. A folder is kept in step: vanished files are deleted.")
    ],
    kb: Kb = None,
    embedder: Embedder = None,
    dim: Annotated[int | None, typer.Option(help="Embedding dimension, 32 to the model's own.")] = None,
    include: Annotated[list[str] | None, typer.Option(help="Glob of files to take; may be repeated.")] = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Glob of files to leave out; may be repeated.")] = None,
    language: Annotated[str | None, typer.Option(help="ISO 639-1 code of all documents, instead of detecting it.")] = None,
    chunk_tokens: Annotated[int | None, typer.Option(help="Most tokens of a chunk.")] = None,
    max_delete_share: Annotated[float | None, typer.Option(help="Share of a folder's documents that may vanish, where ten do.")] = None,
    force: Annotated[bool, typer.Option("--force", help="Embed everything anew.")] = False,
    as_json: AsJson = False,
) -> None:
    """Bring documents in; what is unchanged is not touched."""
    settings = _settings(
        kb=kb,
        embedder=embedder,
        dim=dim,
        include=tuple(include) if include else None,
        exclude=tuple(exclude) if exclude else None,
        language=language,
        chunk_tokens=chunk_tokens,
        max_delete_share=max_delete_share,
    )
    from qwen3_rag.knowledge_base import KnowledgeBase

    with KnowledgeBase.open(settings=settings) as base:
        report = base.ingest(paths, force=force)
    if as_json:
        rendering.print_json(report.to_dict())
    else:
        rendering.show_report(out, report)
    if not report.ok:
        raise typer.Exit(Exit.DOCUMENTS_FAILED)


@app.command(epilog='Example: qwen3-rag search "how are keys rotated?" --kb kb --top-k 5 --filter team=platform --explain')
def search(
    query: Annotated[str, typer.Argument(help="What to look for.")],
    kb: Kb = None,
    top_k: Annotated[int | None, typer.Option("--top-k", "-k", help="How many hits.", show_default="10")] = None,
    filters: Annotated[
        list[str] | None, typer.Option("--filter", help="key=value; repeat for more. The same key twice means either.")
    ] = None,
    instruction: Annotated[str | None, typer.Option(help="The task, in English.")] = None,
    mode: Annotated[Mode | None, typer.Option(help="Which rankers recall.", show_default="hybrid")] = None,
    fusion: Annotated[Fusion | None, typer.Option(help="How their scores are joined.", show_default="completed")] = None,
    dense_weight: Annotated[float | None, typer.Option(help="Dense ranker's share in that, 0 to 1.", show_default="0.5")] = None,
    rrf_k: Annotated[int | None, typer.Option(help="Constant of fusion by ranks (rrf).", show_default="60")] = None,
    candidates: Annotated[int | None, typer.Option(help="Passages recalled before reranking.")] = None,
    recall_threshold: Annotated[float | None, typer.Option(help="Least score in recall.")] = None,
    rerank: Annotated[str | None, typer.Option("--rerank", "--reranker", help="A reranker's name, or off.")] = None,
    rerank_weight: Annotated[
        float | None, typer.Option(help="Reranker's share in the order, 0 to 1; recall has the rest.", show_default="1")
    ] = None,
    rerank_threshold: Annotated[float | None, typer.Option(help="Least score of a reranked hit, 0 to 1.")] = None,
    rerank_deadline: Annotated[float | None, typer.Option(help="Seconds for reranking.", show_default=str(RERANK_DEADLINE))] = None,
    explain: Annotated[bool, typer.Option("--explain", help="Show how it was found; in JSON beside the hits.")] = False,
    as_json: AsJson = False,
) -> None:
    """Find the passages that answer a question, best first."""
    settings = _settings(kb=kb, reranker=rerank, instruction=instruction)
    from qwen3_rag.retrieval.options import of_reranking
    from qwen3_rag.store.filters import parse_filter_options

    with _existing(settings) as base:
        hits = base.search(
            query,
            top_k=top_k,
            filters=parse_filter_options(filters) if filters else None,
            mode=mode,
            fusion=fusion,
            dense_weight=dense_weight,
            rrf_k=rrf_k,
            candidates=candidates,
            recall_threshold=recall_threshold,
            rerank_weight=rerank_weight,
            rerank_threshold=rerank_threshold,
            rerank_deadline=next(value for value in (rerank_deadline, settings.rerank_deadline, RERANK_DEADLINE) if value is not None),
            explain=explain,
        )
        idle = of_reranking({"rerank_weight": rerank_weight, "rerank_threshold": rerank_threshold})
        if idle and any(hit.reranked is None for hit in hits):
            given = ", ".join(f"--{name.replace('_', '-')}" for name in idle)
            raise ConfigurationError(f"{given}, but there is no reranker. Name one: --rerank NAME")
        empty = not hits and (state := base.status()).documents == state.passages == 0
    if as_json:
        found = [hit.to_dict() for hit in hits]
        rendering.print_json({"hits": found, "trace": hits.trace and hits.trace.to_dict()} if explain else found)
    elif empty:
        folder = escape(str(settings.kb))
        out.print(
            f"There are no documents in {folder} yet. Bring some in: qwen3-rag ingest PATH --kb {folder}", soft_wrap=not out.is_terminal
        )
    else:
        rendering.show_hits(out, hits, query)
    if any(hit.reranked is False for hit in hits):
        err.print(
            "[yellow]The reranking deadline was reached; hits not scored in time follow in recall order.[/] More time: --rerank-deadline 60"
        )


@app.command(epilog="Example: qwen3-rag status --kb kb --json")
def status(kb: Kb = None, as_json: AsJson = False) -> None:
    """What a knowledge base holds, and with which models."""
    with _existing(_settings(kb=kb)) as base:
        state = base.status().to_dict()
    if as_json:
        rendering.print_json(state)
    else:
        rendering.show_fields(out, state)


@app.command(epilog="Example: qwen3-rag documents --kb kb")
def documents(kb: Kb = None, as_json: AsJson = False) -> None:
    """The documents that were ingested."""
    with _existing(_settings(kb=kb)) as base:
        rows = [
            {"document_id": item.document_id, "title": item.title, "language": item.language, "chunks": item.chunks, "source": item.source}
            for item in base.documents()
        ]
    if as_json:
        rendering.print_json(rows)
    else:
        rendering.show_table(
            out,
            ("chunks", "language", "document", "title"),
            ((row["chunks"], row["language"], rendering.short_path(str(row["document_id"])), row["title"]) for row in rows),
        )


@app.command(epilog="Example: qwen3-rag delete docs/old.md --kb kb")
def delete(
    document_ids: Annotated[list[str], typer.Argument(help="Ids as `documents` prints them; paths of ingested files work too.")],
    kb: Kb = None,
    as_json: AsJson = False,
) -> None:
    """Delete documents from the knowledge base. Files are not touched."""
    with _existing(_settings(kb=kb)) as base:
        wanted = [item if base.document(item) else _file_id(item) for item in document_ids]
        missing = [given for given, item in zip(document_ids, wanted, strict=True) if base.document(item) is None]
        if missing:
            raise ConfigurationError(f"Not in this knowledge base: {', '.join(missing)}. Nothing was deleted. See: qwen3-rag documents")
        deleted = base.delete(wanted)
    if as_json:
        rendering.print_json({"deleted": deleted})
    else:
        out.print(f"{deleted} deleted")


@app.command(epilog="Example: qwen3-rag failures --kb kb --json")
def failures(kb: Kb = None, as_json: AsJson = False) -> None:
    """Documents that could not be ingested, and why."""
    with _existing(_settings(kb=kb)) as base:
        rows = [
            {"document_id": item.document_id, "stage": item.stage, "error": item.error, "attempts": item.attempts}
            for item in base.failures()
        ]
    if as_json:
        rendering.print_json(rows)
    elif not rows:
        out.print("No failures.")
    else:
        rendering.show_table(
            out,
            ("document", "stage", "attempts", "reason"),
            ((rendering.short_path(str(row["document_id"])), row["stage"], row["attempts"], row["error"]) for row in rows),
        )


@app.command()
def models(as_json: AsJson = False) -> None:
    """The models known by name, and which are on this machine."""
    from qwen3_rag.models.registry import known_models

    rows = [asdict(item) for item in known_models()]
    if as_json:
        rendering.print_json(rows)
    else:
        rendering.show_table(out, tuple(rows[0]), (tuple(row.values()) for row in rows))


@app.command(epilog="Example: qwen3-rag fidelity --embedder nano --kb kb")
def fidelity(
    embedder: Embedder = None,
    reranker: Annotated[str | None, typer.Option(help="Hub id or local folder. Without --embedder, it alone is compared.")] = None,
    quantization: Annotated[
        str | None, typer.Option(help="What is compared with float32.", show_default="int8, or none where --dtype is given")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="Compare this format with float32: bfloat16 or float16.")] = None,
    texts: Annotated[Path | None, typer.Option(help="A file with one text per line.", show_default="built-in texts")] = None,
    kb: Annotated[Path | None, typer.Option("--kb", help="Take the texts, and the embedder, of this knowledge base.")] = None,
    as_json: AsJson = False,
) -> None:
    """How close a quantized or rounded model stays to float32, and how much faster it is on this machine."""
    if texts is not None and kb is not None:
        raise typer.BadParameter("--texts and --kb exclude each other: the texts come from one of them")
    from qwen3_rag.models.fidelity import measure_embedder, measure_reranker

    settings = _settings(kb=kb, embedder=embedder)
    sample = _sample(settings, texts, from_kb=kb is not None)
    how = {"dtype": dtype or "float32", "quantization": quantization or ("int8" if dtype is None else "none")}
    reports = []
    if embedder is not None or reranker is None:
        name = embedder or (_remembered_embedder(settings) if kb is not None else settings.embedder) or DEFAULT_EMBEDDER
        reports.append(measure_embedder(name, sample, **how))
    if reranker is not None:
        reports.append(measure_reranker(reranker, sample, **how))
    if as_json:
        rendering.print_json([report.to_dict() for report in reports])
    else:
        rendering.show_fidelity(out, reports)


@db.command()
def upgrade(kb: Kb = None) -> None:
    """Bring the catalog's tables to this version of the package."""
    from qwen3_rag.catalog import upgrade_database

    settings = _settings(kb=kb)
    _require_catalog(settings)
    before, after = upgrade_database(settings.catalog)
    out.print(f"catalog: {before or 'empty'} → {after}" if before != after else f"catalog: {after}, nothing to do")


@db.command()
def current(kb: Kb = None, as_json: AsJson = False) -> None:
    """The catalog's version, and the one this package wants."""
    from qwen3_rag.catalog import database_versions

    settings = _settings(kb=kb)
    _require_catalog(settings)
    found, wanted = database_versions(settings.catalog)
    if as_json:
        rendering.print_json({"current": found, "wanted": wanted})
    else:
        out.print(f"catalog: {found or 'empty'}; this package: {wanted}")


def main() -> None:
    """Run the command line; an error of ours is printed as one sentence."""
    rendering.print_anything()
    logging.getLogger("stamina").setLevel(logging.ERROR)  # what the retries did not help with is told by the error itself
    try:
        app()
    except Qwen3RagError as error:
        err.print(f"[bold red]Error:[/] {escape(str(error))}", soft_wrap=not err.is_terminal)
        sys.exit(Exit.ERROR)
    except (KeyboardInterrupt, SystemExit) as end:
        if isinstance(end, SystemExit) and end.code != Exit.INTERRUPTED:  # Typer turns Ctrl-C into an exit without a word
            raise
        err.print("Interrupted. What was finished is kept; the same command again does the rest.", soft_wrap=not err.is_terminal)
        sys.exit(Exit.INTERRUPTED)


def _settings(**values: Any) -> Settings:
    return Settings.load(**values)


@contextmanager
def _existing(settings: Settings) -> Iterator[Any]:
    """Open a knowledge base that must be there: looking for something must not make it."""
    from qwen3_rag.knowledge_base import KnowledgeBase

    _require_knowledge_base(settings)
    with KnowledgeBase.open(settings=settings) as base:
        yield base


def _sample(settings: Settings, file: Path | None, *, from_kb: bool) -> list[str]:
    """Texts to compare models on: the lines of a file, passages of a knowledge base, or the built-in ones."""
    from qwen3_rag.models.sample_texts import SAMPLE_TEXTS

    if from_kb:
        return _passages(settings)
    if file is None:
        return list(SAMPLE_TEXTS)
    try:
        return [line for line in file.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{file} cannot be read: {error}. Give a UTF-8 text file with one text per line.") from None


def _passages(settings: Settings) -> list[str]:
    from qwen3_rag.store import open_client

    _require_knowledge_base(settings)
    client = open_client(settings.store)
    try:
        if not client.collection_exists(settings.collection):
            return []
        points, _ = client.scroll(settings.collection, limit=FIDELITY_TEXTS, with_payload=True)
        return [str(point.payload["text"]) for point in points if point.payload]
    finally:
        client.close()


def _remembered_embedder(settings: Settings) -> str:
    with _existing(settings) as base:
        return str(base.status().embedder)


def _require_catalog(settings: Settings) -> None:
    if settings.database_url is None and not (settings.kb.expanduser() / CATALOG_FILE).is_file():
        raise ConfigurationError(f"There is no knowledge base in {settings.kb}. Make one: qwen3-rag ingest PATH --kb {settings.kb}")


def _require_knowledge_base(settings: Settings) -> None:
    """Raise where nothing was ever ingested; a database that is named must have the catalog's tables."""
    from qwen3_rag.catalog import database_versions

    _require_catalog(settings)
    if settings.database_url is not None and database_versions(settings.catalog)[0] is None:
        raise ConfigurationError(
            "There is no knowledge base in the database that `database_url` (QWEN3_RAG_DATABASE_URL) names. "
            "Make one: qwen3-rag ingest PATH; or correct the address."
        )


def _file_id(name: str) -> str:
    """The id that a file has as a document: its folder resolved, its own name kept even if it is a link."""
    path = Path(name).absolute()
    return (path.parent.resolve() / path.name).as_posix()
