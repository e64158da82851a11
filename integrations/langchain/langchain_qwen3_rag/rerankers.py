"""A Qwen3 reranker as LangChain's document compressor. It scores and orders documents; it knows no store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from langchain_core.callbacks import Callbacks
from langchain_core.documents import BaseDocumentCompressor, Document
from pydantic import ConfigDict, Field

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.base import RerankerLike
from qwen3_rag.retrieval.blending import RERANKER_ALONE, best_first, recall_scores
from qwen3_rag.retrieval.reranking import Reranked, arerank, rerank
from qwen3_rag.settings import DEFAULT_RERANKER

RELEVANCE_SCORE = "relevance_score"
"""The reranker's score in a document's metadata: P(yes)."""
RETRIEVAL_SCORE = "retrieval_score"
"""The score in recall in a document's metadata: fused, cosine or BM25, as the mode is."""


class Qwen3Reranker(BaseDocumentCompressor):
    """Orders documents by how probable it is that they answer the query, and keeps the best.

    Each document that comes back is a copy whose metadata has `relevance_score`, between 0 and 1; everything else in it is kept, such as
    the `retrieval_score` of `Qwen3Retriever`. Equal scores keep their order. Documents that the deadline left unscored come last, in
    their order and without `relevance_score`.

    With `rerank_weight` below 1 the `retrieval_score` that documents came with has the rest of the say in their order. A document without
    one counts as an average one; that none has one is an error.

    Example:
        >>> compressor = Qwen3Reranker(top_n=5, deadline=0.5)  # doctest: +SKIP
        >>> retriever = ContextualCompressionRetriever(base_compressor=compressor, base_retriever=store.as_retriever())  # doctest: +SKIP
    """

    model_config = ConfigDict(arbitrary_types_allowed=True, extra="forbid")

    model: str = DEFAULT_RERANKER
    """A hub id or a local folder."""
    reranker: RerankerLike = Field(default=None, exclude=True, repr=False)  # type: ignore[assignment]
    """An object instead of `model`, such as `qwen3_rag.RemoteReranker`."""
    top_n: int | None = Field(default=3, ge=1)
    """How many documents are kept; None keeps all."""
    instruction: str | None = None
    """The task in English; None is the model's usual one, web search."""
    rerank_weight: float = Field(default=1.0, ge=0, le=1)
    """The reranker's share in the order; `retrieval_score` has the rest."""
    score_threshold: float | None = None
    """Least `relevance_score` of a document that was scored."""
    deadline: float | None = Field(default=None, gt=0)
    """Seconds that scoring may take."""
    device: str = "auto"
    dtype: str = "auto"
    quantization: str = "none"

    def model_post_init(self, context: Any, /) -> None:
        """Load the model, if no reranker was given."""
        if self.reranker is None:
            from qwen3_rag.models.reranker import Reranker

            self.reranker = Reranker.load(self.model, device=self.device, dtype=self.dtype, quantization=self.quantization)
        elif "model" in self.model_fields_set:
            raise ConfigurationError(f"Give either model={self.model!r} or reranker=…, not both.")
        else:
            self.model = self.reranker.model

    def compress_documents(self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None) -> list[Document]:
        """The best documents, best first.

        Raises:
            ConfigurationError: `rerank_weight` is below 1, and no document has a `retrieval_score`.
        """
        recalled = self._recalled(documents)
        result = rerank(self.reranker, query, _texts(documents), instruction=self.instruction, deadline=self.deadline)
        return self._best(documents, result, recalled)

    async def acompress_documents(self, documents: Sequence[Document], query: str, callbacks: Callbacks | None = None) -> list[Document]:
        """`compress_documents` without blocking the event loop; concurrent calls share batches."""
        recalled = self._recalled(documents)
        result = await arerank(self.reranker, query, _texts(documents), instruction=self.instruction, deadline=self.deadline)
        return self._best(documents, result, recalled)

    def _recalled(self, documents: Sequence[Document]) -> list[float | None]:
        """What recall thought of each document, asked before the model is."""
        recalled = recall_scores(document.metadata.get(RETRIEVAL_SCORE) for document in documents)
        if documents and self.rerank_weight != RERANKER_ALONE and not any(score is not None for score in recalled):
            raise ConfigurationError(
                f"rerank_weight={self.rerank_weight:g} gives recall a say, but no document has `{RETRIEVAL_SCORE}` in its metadata. "
                "Retrieve with Qwen3Retriever(rerank=False), which writes it, or leave rerank_weight at 1."
            )
        return recalled

    def _best(self, documents: Sequence[Document], result: Reranked, recalled: Sequence[float | None]) -> list[Document]:
        scores = result.scores
        order = best_first(scores, recalled, self.rerank_weight)
        least = self.score_threshold
        kept = [_with_score(documents[index], scores[index]) for index in order if least is None or scores[index] >= least]
        return (kept + [_with_score(document, None) for document in documents[len(scores) :]])[: self.top_n]


def _texts(documents: Sequence[Document]) -> list[str]:
    return [document.page_content for document in documents]


def _with_score(document: Document, score: float | None) -> Document:
    """A copy; a score of an earlier query does not stay."""
    metadata = {key: value for key, value in document.metadata.items() if key != RELEVANCE_SCORE}
    return document.model_copy(update={"metadata": metadata if score is None else metadata | {RELEVANCE_SCORE: score}})
