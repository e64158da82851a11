"""A `VectorStoreQuery` → what the core is to search for: one place for all modes, sync and async. It runs nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from qdrant_client import models

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.retrieval.options import CANDIDATES_PER_HIT, LEAST_CANDIDATES, of_reranking
from qwen3_rag.types import Mode

KEYWORDS = frozenset(
    {
        "instruction",
        "candidates",
        "fusion",
        "rrf_k",
        "recall_threshold",
        "rerank",
        "rerank_weight",
        "rerank_threshold",
        "rerank_deadline",
        "mmr_threshold",
    }
)
"""What a query may be given besides its own fields, as LlamaIndex's `vector_store_kwargs`."""

_OF_DIVERSE = frozenset({"instruction", "candidates"})
_IMPLEMENTED = (
    VectorStoreQueryMode.DEFAULT,
    VectorStoreQueryMode.SPARSE,
    VectorStoreQueryMode.TEXT_SEARCH,
    VectorStoreQueryMode.HYBRID,
    VectorStoreQueryMode.SEMANTIC_HYBRID,
    VectorStoreQueryMode.MMR,
)


@dataclass(frozen=True, slots=True)
class Plan:
    """The words (None where a vector says it all) and the keywords of `Passages.search`, or of `search_diverse`."""

    words: str | None
    keywords: dict[str, Any]
    diverse: bool = False


def plan(query: VectorStoreQuery, filters: models.Filter | None, given: dict[str, Any]) -> Plan:
    """How the core answers a query.

    Args:
        query: mode, numbers, words and embedding.
        filters: what its filters, node ids and document ids mean.
        given: keywords besides.

    Raises:
        ConfigurationError: a mode that is not implemented, a keyword that is not known or means nothing in the mode, or words missing that
            the mode needs.
    """
    query = replace(query, mode=_mode(query.mode))
    _check(query, given)
    _check_reranking(query.mode, given)
    common = {key: value for key, value in given.items() if key != "mmr_threshold"} | {"filters": filters, "vector": query.query_embedding}
    match query.mode:
        case VectorStoreQueryMode.DEFAULT:
            return Plan(query.query_str, {"rerank": False} | common | {"mode": Mode.DENSE, "top_k": query.similarity_top_k})
        case VectorStoreQueryMode.SPARSE | VectorStoreQueryMode.TEXT_SEARCH:
            top_k = query.similarity_top_k if query.sparse_top_k is None else query.sparse_top_k
            return Plan(_words(query), {"rerank": False} | common | {"mode": Mode.LEXICAL, "top_k": top_k, "vector": None})
        case VectorStoreQueryMode.HYBRID:
            return Plan(_words(query), {"rerank": False} | _hybrid(query) | common)
        case VectorStoreQueryMode.SEMANTIC_HYBRID:
            return Plan(_words(query), _hybrid(query) | common | {"rerank": True})
        case _:
            return _diverse(query, common, given)


def _mode(mode: str) -> VectorStoreQueryMode:
    """A mode may be given by its name."""
    try:
        return VectorStoreQueryMode(mode)
    except ValueError:
        raise _not_implemented(mode) from None


def _not_implemented(mode: str) -> ConfigurationError:
    known = ", ".join(mode.value for mode in _IMPLEMENTED)
    return ConfigurationError(f"Query mode {str(mode)!r} is not implemented. Modes: {known}.")


def _hybrid(query: VectorStoreQuery) -> dict[str, Any]:
    """Recall is as deep as the core's own (None), and deeper where the query asks for more of one ranker."""
    top_k = query.similarity_top_k if query.hybrid_top_k is None else query.hybrid_top_k
    usual = max(LEAST_CANDIDATES, CANDIDATES_PER_HIT * top_k)
    deepest = max(query.similarity_top_k, query.sparse_top_k or 0)
    return {"mode": Mode.HYBRID, "top_k": top_k, "dense_weight": query.alpha, "candidates": deepest if deepest > usual else None}


def _diverse(query: VectorStoreQuery, common: dict[str, Any], given: dict[str, Any]) -> Plan:
    unknown = common.keys() - _OF_DIVERSE - {"filters", "vector"}
    if unknown:
        raise ConfigurationError(f"{', '.join(sorted(unknown))} means nothing in mode {query.mode.value!r}. Leave it away.")
    threshold = query.mmr_threshold if query.mmr_threshold is not None else given.get("mmr_threshold")
    share = {} if threshold is None else {"lambda_mult": threshold}
    return Plan(query.query_str, common | share | {"top_k": query.similarity_top_k}, diverse=True)


def _words(query: VectorStoreQuery) -> str:
    if query.query_str is None:
        raise ConfigurationError(f"A query in mode {query.mode.value!r} needs `query_str`: lexical search and reranking read words.")
    return query.query_str


def _check_reranking(mode: VectorStoreQueryMode, given: dict[str, Any]) -> None:
    """A query that does not rerank must not pass over a threshold that asks for P(yes), nor one that reranks over being told not to."""
    if mode is VectorStoreQueryMode.SEMANTIC_HYBRID and given.get("rerank") is False:
        raise ConfigurationError("Mode 'semantic_hybrid' reranks, and rerank=False says not to. Without reranking it is mode 'hybrid'.")
    if mode in (VectorStoreQueryMode.SEMANTIC_HYBRID, VectorStoreQueryMode.MMR) or given.get("rerank", False) is not False:
        return
    idle = of_reranking(given)
    if idle:
        raise ConfigurationError(
            f"{', '.join(idle)} needs rerank=True or mode 'semantic_hybrid': mode {mode.value!r} alone does not rerank."
        )


def _check(query: VectorStoreQuery, given: dict[str, Any]) -> None:
    if query.mode not in _IMPLEMENTED:
        raise _not_implemented(query.mode.value)
    unknown = given.keys() - KEYWORDS
    if unknown:
        raise ConfigurationError(
            f"A query does not take {', '.join(sorted(unknown))}. It takes {', '.join(sorted(KEYWORDS))}, qdrant_filters."
        )
    if query.embedding_field is not None:
        raise ConfigurationError("There is one dense vector a node, so `embedding_field` cannot choose. Leave it away.")
    if query.query_embedding is None and query.query_str is None:
        raise ConfigurationError("A query needs `query_str`, `query_embedding` or both.")
