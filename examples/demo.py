"""The demo: ingest the example handbook, ask it questions, see that nothing is done twice.

Run it with `make demo`. It works on a copy of examples/handbook in .demo/ and needs neither a server nor a download: the `nano` model
comes with the package. nano is a tiny English model; the official Qwen3 models understand far more.
"""

from __future__ import annotations

import shutil
import sys
import tomllib
from pathlib import Path

from rich.console import Console
from rich.rule import Rule

from qwen3_rag import KnowledgeBase, Qwen3RagError
from qwen3_rag.rendering import show_hits, show_report

HERE = Path(__file__).parent
SCRATCH = HERE.parent / ".demo"
EDITED = Path("runbooks/api-gateway-key-rotation.md")
console = Console()


def main() -> None:
    """Show the whole way from a folder to answers."""
    shutil.rmtree(SCRATCH, ignore_errors=True)
    folder = SCRATCH / "handbook"
    shutil.copytree(HERE / "handbook", folder, ignore=shutil.ignore_patterns("questions.toml"))
    with KnowledgeBase.open(SCRATCH / "kb", embedder="nano") as kb:
        say("A folder of documents goes in", 'KnowledgeBase.open("kb", embedder="nano").ingest("handbook/")')
        show_report(console, kb.ingest(folder))
        ask(kb)
        say("The same folder again: nothing is embedded twice", 'kb.ingest("handbook/")')
        show_report(console, kb.ingest(folder))
        edit(folder / EDITED)
        say(f"One sentence added to {EDITED}: only what changed is embedded", 'kb.ingest("handbook/")')
        show_report(console, kb.ingest(folder))
        state = kb.status()
    console.print()
    console.print(
        f"[bold]{state.documents} documents, {state.chunks} chunks, {state.points} points in the store.[/] Ask it something yourself:\n"
        '  .venv/bin/qwen3-rag search "who may open the vault at night?" --kb .demo/kb --top-k 3 --explain'
    )


def ask(kb: KnowledgeBase) -> None:
    """Ask the questions that questions.toml marks to be shown, each with its two best passages."""
    questions = tomllib.loads((HERE / "handbook" / "questions.toml").read_text(encoding="utf-8"))["question"]
    for question in (item for item in questions if item.get("show")):
        say(question["query"], "kb.search(question, top_k=2)")
        show_hits(console, kb.search(question["query"], top_k=2), question["query"])
        if filters := question.get("filters"):
            say("The same question, kept to what the pages say of themselves", f"kb.search(question, top_k=2, filters={filters})")
            show_hits(console, kb.search(question["query"], top_k=2, filters=filters), question["query"])


def edit(path: Path) -> None:
    """Change the file as an editor would."""
    path.write_text(path.read_text(encoding="utf-8") + "\nSince this edit, the on-call lead signs off every rotation.\n", encoding="utf-8")


def say(headline: str, code: str) -> None:
    """A headline, and the line of Python that does it."""
    console.print()
    console.print(Rule(style="cyan"))
    console.print(f"[bold cyan]{headline}[/]", highlight=False)
    console.print(f"[dim]>>> {code}[/]", highlight=False)


if __name__ == "__main__":
    try:
        main()
    except Qwen3RagError as error:
        sys.exit(f"The demo could not go on: {error}")
