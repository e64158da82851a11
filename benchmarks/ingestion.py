"""A folder of files to a searchable knowledge base, end to end: this package beside LangChain and LlamaIndex, with nano.

    python -m benchmarks.ingestion                        # 243 files, five rounds
    python -m benchmarks.ingestion --files 8 --rounds 1   # a quick look

Files are the paragraphs of xquad-en (.txt) and the long documents of chunk-eval (.md). All three read, split to the same token budget,
embed with the same weights and write to disk; models are loaded before. Ours also makes BM25 vectors, detects languages and keeps a
catalog, which the others do not. Each computes in the format that it takes by itself: the others in float32, ours in bfloat16 where the
processor multiplies that natively. There all are measured in the other format too. A second part has a random model of the 0.6B shape and
asks what share of a run is the model.
"""

from __future__ import annotations

import argparse
import logging
import tempfile
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch

from benchmarks.checkpoints import nano, official
from benchmarks.harness import Check, Result, alternate, cosines, finish, parameters, parser, versions
from benchmarks.peers import PACKAGES, LangChain, LlamaIndex
from benchmarks.texts import passages, write_files
from qwen3_rag import Embedder, KnowledgeBase
from qwen3_rag.ingestion import IngestReport
from qwen3_rag.ingestion.progress import NoProgress
from qwen3_rag.models.hardware import computes_bfloat16
from qwen3_rag.settings import Settings

SAMPLE = 16

Found = TypeVar("Found")


class Ours:
    """`KnowledgeBase.ingest` with default settings: the embedded engine and SQLite in one folder."""

    def __init__(self, model: Path, tokens: int, dtype: str = "auto") -> None:
        self.embedder = Embedder.load(str(model), dtype=dtype, device="cpu")
        self._settings = Settings.load(chunk_tokens=tokens)

    def run(self, folder: Path, target: Path) -> IngestReport:
        """One run into a new knowledge base."""
        with KnowledgeBase.open(target, settings=self._settings, embedder=self.embedder, reranker="off") as kb:
            return kb.ingest(folder, progress=NoProgress())

    def ingest(self, folder: Path, target: Path) -> int:
        """Everything from files to vectors on disk; returns the number of chunks."""
        report = self.run(folder, target)
        if not report.ok:
            raise SystemExit(f"not everything was ingested: {report.failed[0]}")
        return report.chunks_embedded

    def vectors(self, texts: list[str]) -> list[list[float]]:
        """Of documents."""
        found: list[list[float]] = np.asarray(self.embedder.embed_documents(texts)).tolist()
        return found


Peer = Ours | LangChain | LlamaIndex
KINDS: dict[str, Callable[..., Peer]] = {"Ours": Ours, "LangChain": LangChain, "LlamaIndex": LlamaIndex}
OTHER = {"Ours": "float32", "LangChain": "bfloat16", "LlamaIndex": "bfloat16"}
"""The format that each does not take by itself where bfloat16 is native."""


def compare(arguments: argparse.Namespace) -> Result:
    """All three on the same files."""
    with tempfile.TemporaryDirectory() as name, nano() as model:
        folder = Path(name)
        files = write_files(folder, arguments.files)
        result = Result("ingestion", f"Ingestion of {files} files, nano", parameters(arguments), versions=versions(*PACKAGES))
        peers = {name: kind(model, arguments.tokens) for name, kind in KINDS.items()}
        agreement(result, peers)
        if native := computes_bfloat16(torch.device("cpu")):
            peers |= {f"{name}, {OTHER[name]}": kind(model, arguments.tokens, OTHER[name]) for name, kind in KINDS.items()}
        chunks = {peer: into_new(one.ingest, folder) for peer, one in peers.items()}  # the warm-up
        calls: dict[str, Callable[[], object]] = {peer: caller(one, folder) for peer, one in peers.items()}
        result.add_rounds(alternate(calls, arguments.rounds))
    for peer, count in chunks.items():
        result.checks += [Check(f"chunks, {peer}", count), Check(f"chunks a second, {peer}", count / result.median(peer))]
    for peer in ("LangChain", "LlamaIndex"):
        result.checks.append(Check(f"times as fast as {peer}", result.median(peer) / result.median("Ours"), at_least=3.0))
        if native:
            result.checks += [
                Check(f"times as fast as {peer}, both in float32", result.median(peer) / result.median("Ours, float32")),
                Check(f"times as fast as {peer}, both in bfloat16", result.median(f"{peer}, bfloat16") / result.median("Ours")),
            ]
    result.notes.append(f"By itself ours computes in {'bfloat16' if native else 'float32'} here, the others in float32.")
    return result


def caller(peer: Peer, folder: Path) -> Callable[[], object]:
    """One ingestion of one of them."""
    return lambda: into_new(peer.ingest, folder)


def into_new(ingest: Callable[[Path, Path], Found], folder: Path) -> Found:
    """Ingest `folder` into a place that is made for it and gone afterwards."""
    with tempfile.TemporaryDirectory() as name:
        return ingest(folder, Path(name) / "store")


def agreement(result: Result, peers: dict[str, Peer]) -> None:
    """That all three compute the same vectors."""
    texts = passages(SAMPLE)
    ours, *others = (np.asarray(peer.vectors(texts), dtype=np.float32) for peer in peers.values())
    for name, vectors in zip(("LangChain", "LlamaIndex"), others, strict=True):
        result.checks.append(
            Check(f"cosine of our vectors and those of {name}, least", float(cosines(ours, vectors).min()), at_least=0.9999)
        )


def model_share(result: Result, arguments: argparse.Namespace) -> None:
    """How much of a run is spent in a model of the 0.6B shape."""
    with tempfile.TemporaryDirectory() as name, official(arguments.layers) as model:
        folder = Path(name)
        write_files(folder, arguments.model_files)
        ours = Ours(model, arguments.tokens)
        reports = [into_new(ours.run, folder) for _ in range(arguments.model_rounds + 1)][1:]
    shares = [report.timing["embed"] / report.seconds for report in reports]
    result.add_rounds({f"Ours, 0.6B shape, {arguments.layers} layers": [report.seconds for report in reports]})
    result.checks.append(Check("share of a run spent in the model, 0.6B shape", float(np.median(shares)), at_least=0.85))


def main() -> None:
    command = parser(__doc__, "ingestion")
    command.set_defaults(rounds=5)
    command.add_argument("--files", type=int, default=None, help="at most so many files; all of them if not given")
    command.add_argument("--tokens", type=int, default=512, help="most tokens of a chunk")
    command.add_argument("--layers", type=int, default=2, help="layers of the model of the second part")
    command.add_argument("--model-files", type=int, default=64, help="files of the second part")
    command.add_argument("--model-rounds", type=int, default=3)
    arguments = command.parse_args()
    warnings.simplefilter("ignore")  # local mode on its size
    logging.disable(logging.INFO)  # a peer turns it on for everyone
    result = compare(arguments)
    model_share(result, arguments)
    finish(result, arguments.output)


if __name__ == "__main__":
    main()
