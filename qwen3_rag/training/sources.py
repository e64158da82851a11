"""Opens what synthesis and mining work on: a knowledge base with its own embedder, or a file of passages with one that is named."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.knowledge_base import KnowledgeBase
from qwen3_rag.models.base import EmbedderLike, RerankerLike
from qwen3_rag.models.binding import OFF, ModelBinding, ModelChoice
from qwen3_rag.settings import CATALOG_FILE, Settings
from qwen3_rag.training.mining import mine
from qwen3_rag.training.pairs import Pair, check_output, read_pairs, write_pairs
from qwen3_rag.training.passages import passages_of, read_passages
from qwen3_rag.training.searching import ExactSearcher, KnowledgeBaseSearcher, Searcher
from qwen3_rag.training.settings import MiningSettings
from qwen3_rag.types import Mode, Passage


@dataclass(frozen=True, slots=True)
class Source:
    """Functions for the passages, for the current embedder, and for a searcher over the passages; each does its work when called."""

    passages: Callable[[], Iterator[Passage]]
    embedder: Callable[[], EmbedderLike]
    searcher: Callable[[], Searcher]


@contextmanager
def opened(kb: Path | None, passages: Path | None, embedder: str | None, mode: Mode = Mode.DENSE) -> Iterator[Source]:
    """What is in the knowledge base in the folder `kb`, or in the file `passages`.

    Raises:
        ConfigurationError: neither or both are given, or there is no knowledge base in the folder.
        EmbeddingSpaceError: an embedder other than the knowledge base's own.
    """
    with ExitStack() as resources:
        if (kb is None) == (passages is None):
            raise ConfigurationError(
                "Give the passages either as kb, the folder of a knowledge base, or as passages, a file of JSON Lines."
            )
        if kb is not None:
            yield _of_knowledge_base(kb, embedder, mode, resources)
        elif passages is not None:
            yield _of_file(passages, embedder, resources)


def mine_files(settings: MiningSettings) -> tuple[int, int]:
    """The verb `mine`: reads pairs, writes them with their negatives; returns how many pairs and negatives.

    Raises:
        ConfigurationError: no pairs are named, or as for `opened` and `mine`.
    """
    if not settings.pairs:
        raise ConfigurationError("Say which pairs need negatives: `pairs` under [mine], or --pairs FILE.")
    check_output(settings.output)
    found = 0

    def counted(pairs: Iterator[Pair]) -> Iterator[Pair]:
        nonlocal found
        for pair in pairs:
            found += len(pair.negatives)
            yield pair

    with ExitStack() as resources:
        source = resources.enter_context(opened(settings.kb, settings.passages, settings.embedder, settings.mode))
        reranker = _reranker(settings.reranker, resources)
        pairs = mine(lambda: read_pairs(*settings.pairs), source.searcher(), settings, reranker)
        return write_pairs(settings.output, counted(pairs)), found


def _of_knowledge_base(folder: Path, embedder: str | None, mode: Mode, resources: ExitStack) -> Source:
    settings = Settings.load(kb=folder)
    if settings.database_url is None and not (folder.expanduser() / CATALOG_FILE).is_file():
        raise ConfigurationError(f"There is no knowledge base in {folder}. Make one: qwen3-rag ingest PATH --kb {folder}")
    passages = resources.enter_context(KnowledgeBase.open(settings=settings, embedder=embedder)).passages()
    return Source(lambda: passages_of(passages), passages.embedder, lambda: KnowledgeBaseSearcher(passages, mode))


def _of_file(file: Path, embedder: str | None, resources: ExitStack) -> Source:
    binding = ModelBinding(ModelChoice.of(Settings.load(), embedder, OFF))
    resources.callback(binding.close)
    return Source(
        lambda: read_passages(file),
        binding.embedder,
        lambda: ExactSearcher(binding.embedder(), [passage.embedding_text for passage in read_passages(file)]),
    )


def _reranker(name: str | None, resources: ExitStack) -> RerankerLike | None:
    if name is None:
        return None
    binding = ModelBinding(ModelChoice.of(Settings.load(), None, name))
    resources.callback(binding.close)
    return binding.reranker()
