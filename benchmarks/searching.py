"""Search from end to end, query text to passages: `KnowledgeBase.search` beside LangChain's Qdrant vector store, same files and model.

    python -m benchmarks.searching                                                       # nano, 200 queries a round
    python -m benchmarks.searching --files 20 --queries 5 --layers 1 --rerank-queries 1  # a quick look

Ours searches its embedded engine, dense, and hybrid with BM25 and completed scores; LangChain searches qdrant-client's local mode on disk,
dense. Then both rerank equally many candidates of dense search with a random model of the 0.6B shape, whose scores mean nothing: only
times are compared. Every round has queries of its own, and every way an embedder of its own, so that no cache answers.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from benchmarks.checkpoints import nano, official
from benchmarks.harness import Check, Measured, Result, finish, parameters, parser, percentile, say, timed, versions
from benchmarks.peers import PACKAGES, LangChain, reranking
from benchmarks.texts import queries, write_files
from qwen3_rag import Embedder, KnowledgeBase, Reranker
from qwen3_rag.settings import Settings
from qwen3_rag.types import Mode

TOP = 10

Search = Callable[[str], object]


def searches(
    files: Path, model: Path, judge: Path, scratch: Path, arguments: argparse.Namespace, resources: ExitStack
) -> tuple[dict[str, Search], dict[str, Search]]:
    """Ingest with both, and how each is asked: without reranking, and with it."""
    reranker = Reranker.load(str(judge), dtype="float32", device="cpu")
    settings = Settings.load(chunk_tokens=arguments.tokens)

    def opened() -> KnowledgeBase:
        """Ours, with an embedder of its own: one that had embedded a query would remember it."""
        embedder = Embedder.load(str(model), dtype="float32", device="cpu")
        return resources.enter_context(KnowledgeBase.open(scratch / "ours", settings=settings, embedder=embedder, reranker=reranker))

    kb, another = opened(), opened()
    kb.ingest(files)
    store, _ = LangChain(model, arguments.tokens).store(files, scratch / "langchain")
    resources.callback(store.client.close)
    plain: dict[str, Search] = {
        "ours, dense": lambda query: kb.search(query, TOP, mode=Mode.DENSE, rerank=False),
        "ours, hybrid": lambda query: another.search(query, TOP, mode=Mode.HYBRID, rerank=False),
        "LangChain, dense": lambda query: store.similarity_search(query, k=TOP),
    }
    count = arguments.candidates
    reranked: dict[str, Search] = {
        "ours, reranked": lambda query: kb.search(query, TOP, mode=Mode.DENSE, rerank=True, candidates=count),
        "LangChain, reranked": reranking(store, judge, count, TOP),
    }
    return plain, reranked


def measure(ways: dict[str, Search], texts: Sequence[str], rounds: int) -> dict[str, list[float]]:
    """Milliseconds of every query; the ways take turns by query, the first round warms up and is not counted."""
    size = len(texts) // (rounds + 1)
    found: dict[str, list[float]] = {}
    for turn in range(rounds + 1):
        for name in list(ways)[:: -1 if turn % 2 else 1]:
            part = [1000 * timed(partial(ways[name], text)) for text in texts[turn * size : (turn + 1) * size]]
            if turn:
                found.setdefault(name, []).extend(part)
                say(f"  round {turn}: {name} {percentile(part, 0.5):.2f} ms")
    return found


def summarise(result: Result, found: dict[str, list[float]]) -> None:
    """p50, p95 and ratios."""
    result.measured |= {name: Measured.of(values, "ms") for name, values in found.items()}
    result.checks += [Check(f"p95 in ms, {name}", percentile(values, 0.95)) for name, values in found.items()]
    theirs = next(result.median(name) for name in found if name.startswith("LangChain"))
    result.checks += [Check(f"LangChain / {name}, p50", theirs / result.median(name)) for name in found if name.startswith("ours")]


def run(arguments: argparse.Namespace) -> Result:
    """Everything in folders that are gone afterwards."""
    few = 2 * arguments.rerank_queries  # one round of them warms up
    texts = queries((arguments.rounds + 1) * arguments.queries + few)
    with (
        tempfile.TemporaryDirectory() as name,
        nano() as model,
        official(arguments.layers, reranker=True) as judge,
        ExitStack() as resources,
    ):
        files = Path(name) / "files"
        files.mkdir()
        written = write_files(files, arguments.files)
        title = f"Search over {written} files with nano, per query"
        result = Result("searching", title, parameters(arguments), versions=versions(*PACKAGES))
        plain, reranked = searches(files, model, judge, Path(name), arguments, resources)
        summarise(result, measure(plain, texts[few:], arguments.rounds))
        summarise(result, measure(reranked, texts[:few], 1))
    return result


def main() -> None:
    command = parser(__doc__, "searching")
    command.add_argument("--files", type=int, help="fewer files; the long ones come last")
    command.add_argument("--queries", type=int, default=200, help="per round")
    command.add_argument("--tokens", type=int, default=512, help="budget of a chunk")
    command.add_argument("--layers", type=int, default=2, help="layers of the reranker")
    command.add_argument("--rerank-queries", type=int, default=12)
    command.add_argument("--candidates", type=int, default=20, help="passages that are reranked")
    arguments = command.parse_args()
    warnings.simplefilter("ignore")  # local mode on its size
    logging.disable(logging.INFO)  # a peer turns it on for everyone
    finish(run(arguments), arguments.output)


if __name__ == "__main__":
    main()
