"""`Qwen3Rerank`: the core's reranker as a LlamaIndex postprocessor. It does not retrieve, and changes no node that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.callbacks import CBEventType, EventPayload
from llama_index.core.instrumentation import get_dispatcher  # type: ignore[attr-defined]
from llama_index.core.instrumentation.events.rerank import ReRankEndEvent, ReRankStartEvent
from llama_index.core.postprocessor.types import BaseNodePostprocessor
from llama_index.core.schema import BaseNode, MetadataMode, NodeWithScore, QueryBundle
from llama_index.postprocessor.qwen3_rag.query import instruction_of

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.base import RerankerLike
from qwen3_rag.retrieval.blending import RERANKER_ALONE, best_first, recall_scores
from qwen3_rag.retrieval.reranking import arerank, rerank
from qwen3_rag.settings import DEFAULT_RERANKER

dispatcher = get_dispatcher(__name__)

RETRIEVAL_SCORE = "retrieval_score"
RELEVANCE_SCORE = "relevance_score"


class Qwen3Rerank(BaseNodePostprocessor):
    """Orders nodes by P(yes): how probable it is that a node answers the query.

    What the deadline left unscored follows in the order it came in, with the score it came with. Equal scores keep their order. Nodes
    come back as copies whose metadata also holds `relevance_score` and `retrieval_score`, which neither models nor prompts are shown.

    With `rerank_weight` below 1 the score in recall has the rest of the say in the order: `retrieval_score` in the metadata, else the score
    that a node comes with. A node without one counts as an average one; that none has one is an error.

    Example:
        >>> engine = index.as_query_engine(node_postprocessors=[Qwen3Rerank(top_n=3)])  # doctest: +SKIP
    """

    model: str = Field(description="Name of the reranker.")
    top_n: int = Field(default=5, ge=1, description="Most nodes that are returned.")
    instruction: str | None = Field(default=None, description="The task in English; an `InstructedQuery` brings its own.")
    rerank_weight: float = Field(default=1.0, ge=0, le=1, description="The reranker's share in the order; recall has the rest.")
    threshold: float | None = Field(default=None, description="Least P(yes) of a node that was scored.")
    deadline: float | None = Field(default=None, gt=0, description="Seconds that scoring may take.")
    keep_scores: bool = Field(default=True, description="Write both scores into the metadata of the copies.")
    metadata_mode: MetadataMode = Field(default=MetadataMode.EMBED, description="Which text of a node is read.")
    dtype: str = Field(default="auto", description="auto, float32, bfloat16 or float16.")
    device: str = Field(default="auto", description="auto, cpu, cuda or mps.")
    quantization: str = Field(default="none", description="none, or int8 on the CPU.")

    _reranker: RerankerLike = PrivateAttr()

    def __init__(
        self,
        model: str | None = None,
        *,
        reranker: RerankerLike | None = None,
        top_n: int = 5,
        instruction: str | None = None,
        rerank_weight: float = 1.0,
        threshold: float | None = None,
        deadline: float | None = None,
        dtype: str = "auto",
        device: str = "auto",
        quantization: str = "none",
        **base: Any,
    ) -> None:
        """Load a model by name, or take one that is loaded, or that a server runs.

        Args:
            model: a hub id or a local folder; None is `Qwen/Qwen3-Reranker-0.6B`.
            reranker: a `Reranker`, a `RemoteReranker` or anything like them, instead of a name.
            top_n: most nodes that are returned.
            instruction: the task in English.
            rerank_weight: the reranker's share in the order, 0 to 1; the score in recall has the rest.
            threshold: least P(yes) of a node that was scored.
            deadline: seconds that scoring may take.
            dtype: as in `Reranker.load`.
            device: as in `Reranker.load`.
            quantization: as in `Reranker.load`.
            base: `keep_scores`, `metadata_mode` and what every LlamaIndex postprocessor takes.

        Raises:
            ModelError, ConfigurationError: as `Reranker.load`.
        """
        loaded = reranker if reranker is not None else _load(model or DEFAULT_RERANKER, dtype, device, quantization)
        fields: dict[str, Any] = {
            "model": loaded.model,
            "top_n": top_n,
            "instruction": instruction,
            "rerank_weight": rerank_weight,
            "threshold": threshold,
            "deadline": deadline,
            "dtype": dtype,
            "device": device,
            "quantization": quantization,
        }
        super().__init__(**fields, **base)
        self._reranker = loaded

    @classmethod
    def class_name(cls) -> str:
        """The name in serialised form."""
        return "Qwen3Rerank"

    @property
    def reranker(self) -> RerankerLike:
        """The core's reranker."""
        return self._reranker

    def __reduce__(self) -> tuple[Any, ...]:
        """Not pickled: LlamaIndex's own way would take the open connection or model out of this object."""
        raise TypeError("A loaded reranker stays in its process. Make another in the other one.")

    def _postprocess_nodes(self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None) -> list[NodeWithScore]:
        query = _required(query_bundle)
        if not nodes:
            return []
        recalled = self._recalled(nodes)
        with _Reported(self, nodes, query) as report:
            scored = rerank(self._reranker, query.query_str, self._texts(nodes), instruction=self._task(query), deadline=self.deadline)
            return report.end(self._ordered(nodes, scored.scores, recalled))

    @dispatcher.span
    async def _apostprocess_nodes(self, nodes: list[NodeWithScore], query_bundle: QueryBundle | None = None) -> list[NodeWithScore]:
        query = _required(query_bundle)
        if not nodes:
            return []
        recalled = self._recalled(nodes)
        with _Reported(self, nodes, query) as report:
            texts, task = self._texts(nodes), self._task(query)
            scored = await arerank(self._reranker, query.query_str, texts, instruction=task, deadline=self.deadline)
            return report.end(self._ordered(nodes, scored.scores, recalled))

    def _texts(self, nodes: Sequence[NodeWithScore]) -> list[str]:
        return [node.node.get_content(metadata_mode=self.metadata_mode) for node in nodes]

    def _task(self, query: QueryBundle) -> str | None:
        return instruction_of(query) or self.instruction

    def _recalled(self, nodes: Sequence[NodeWithScore]) -> list[float | None]:
        """What recall thought of each node, asked before the model is."""
        recalled = recall_scores(map(_retrieval_score, nodes))
        if self.rerank_weight != RERANKER_ALONE and not any(score is not None for score in recalled):
            raise ConfigurationError(
                f"rerank_weight={self.rerank_weight:g} gives recall a say, but no node has a score or `{RETRIEVAL_SCORE}` in its metadata. "
                "Retrieve with Qwen3Retriever(…, rerank=False), or leave rerank_weight at 1."
            )
        return recalled

    def _ordered(self, nodes: Sequence[NodeWithScore], scores: Sequence[float], recalled: Sequence[float | None]) -> list[NodeWithScore]:
        """The best first; `scores` are of the first nodes, and the deadline left the others."""
        best = best_first(scores, recalled, self.rerank_weight)
        passed = [index for index in best if self.threshold is None or scores[index] >= self.threshold]
        ordered = [self._scored(nodes[index], scores[index]) for index in passed] + [
            self._scored(node, None) for node in nodes[len(scores) :]
        ]
        return ordered[: self.top_n]

    def _scored(self, given: NodeWithScore, score: float | None) -> NodeWithScore:
        """A copy with its new score; without one, what the deadline left."""
        scores = {RETRIEVAL_SCORE: _retrieval_score(given), RELEVANCE_SCORE: score}
        node = with_scores(given.node, scores if self.keep_scores else {})
        return NodeWithScore(node=node, score=given.score if score is None else score)


class _Reported:
    """Tells instrumentation and callbacks when reranking starts, and how it ended."""

    def __init__(self, rerank: Qwen3Rerank, nodes: list[NodeWithScore], query: QueryBundle) -> None:
        dispatcher.event(ReRankStartEvent(query=query, nodes=nodes, top_n=rerank.top_n, model_name=rerank.model))
        payload: dict[str, Any] = {
            EventPayload.NODES: nodes,
            EventPayload.MODEL_NAME: rerank.model,
            EventPayload.QUERY_STR: query.query_str,
            EventPayload.TOP_K: rerank.top_n,
        }
        self._callback = rerank.callback_manager.event(CBEventType.RERANKING, payload=payload)

    def __enter__(self) -> _Reported:
        self._event = self._callback.__enter__()
        return self

    def end(self, nodes: list[NodeWithScore]) -> list[NodeWithScore]:
        """Report the result, and pass it on."""
        self._event.on_end(payload={EventPayload.NODES: nodes})
        dispatcher.event(ReRankEndEvent(nodes=nodes))
        return nodes

    def __exit__(self, *raised: Any) -> None:
        self._callback.__exit__(*raised)


def with_scores(node: BaseNode, scores: dict[str, float | None]) -> BaseNode:
    """A copy of a node with those scores that there are in its metadata, where neither embedders nor language models are shown them.

    A score that is None takes an earlier query's away.
    """
    known = {name: score for name, score in scores.items() if score is not None}
    others = {name: value for name, value in node.metadata.items() if name not in scores}
    return node.model_copy(
        update={
            "metadata": {**others, **known},
            "excluded_embed_metadata_keys": _united(node.excluded_embed_metadata_keys, known),
            "excluded_llm_metadata_keys": _united(node.excluded_llm_metadata_keys, known),
        }
    )


def _retrieval_score(given: NodeWithScore) -> Any:
    """The score in recall: what a stage before this one noted, else the score that the node comes with."""
    return given.node.metadata.get(RETRIEVAL_SCORE, given.score)


def _united(keys: Sequence[str], more: dict[str, float]) -> list[str]:
    return list(dict.fromkeys([*keys, *more]))


def _required(query: QueryBundle | None) -> QueryBundle:
    if query is None:
        raise ConfigurationError("Reranking needs the query: give postprocess_nodes `query_str` or `query_bundle`.")
    return query


def _load(model: str, dtype: str, device: str, quantization: str) -> RerankerLike:
    from qwen3_rag.models.reranker import Reranker

    return Reranker.load(model, dtype=dtype, device=device, quantization=quantization)
