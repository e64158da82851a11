"""How each reranking dialect is asked. Field names are those of the servers' own sources and manuals; it sends nothing itself.

- vLLM takes the fields of `/score` by several names; `text_1` and `text_2` are those that all its versions know.
- Text Embeddings Inference applies a sigmoid unless `raw_scores` is set, and cuts nothing unless `truncate` is.
- DashScope's compatible API has the instruction as `instruct`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from qwen3_rag.models.remote.config import Template
from qwen3_rag.settings import Dialect


def body(dialect: Dialect, model: str, query: str, documents: Sequence[str]) -> dict[str, Any]:
    """The request that has every document scored."""
    texts = list(documents)
    match dialect:
        case Dialect.TEI:
            return {"query": query, "texts": texts, "raw_scores": False, "truncate": False}
        case Dialect.SCORE:
            return {"model": model, "text_1": query, "text_2": texts}
        case Dialect.RERANK | Dialect.DASHSCOPE:
            return {"model": model, "query": query, "documents": texts, "top_n": len(texts)}


def default_template(dialect: Dialect) -> Template:
    """Who applies the template unless the user says otherwise."""
    return Template.SERVER if dialect is Dialect.DASHSCOPE else Template.CLIENT


def default_instruction_field(dialect: Dialect) -> str | None:
    """The field that carries the instruction to a server that applies the template; None where no such field is known."""
    return "instruct" if dialect is Dialect.DASHSCOPE else None
