"""Payload indexes: from their parameters, as the REST API writes them, to the engine's classes, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import qdrant_edge as qe

from qwen3_rag.store.edge.engine.config import member

_PARAMS: Mapping[str, Callable[..., Any]] = {
    "keyword": qe.KeywordIndexParams,
    "integer": qe.IntegerIndexParams,
    "float": qe.FloatIndexParams,
    "geo": qe.GeoIndexParams,
    "text": qe.TextIndexParams,
    "bool": qe.BoolIndexParams,
    "datetime": qe.DatetimeIndexParams,
    "uuid": qe.UuidIndexParams,
}
_PLAIN_FIELDS = (
    "is_tenant",
    "is_principal",
    "lookup",
    "range",
    "on_disk",
    "enable_hnsw",
    "prefix",
    "nested",
    "min_token_len",
    "max_token_len",
    "lowercase",
    "ascii_folding",
    "phrase_matching",
)


def to_index(schema: str | Mapping[str, Any]) -> Any:
    """A payload index: the name of a type, or its parameters with `type`."""
    if isinstance(schema, str):
        return member(qe.PayloadSchemaType, schema)
    values = {name: value for name, value in schema.items() if name != "type"}
    if "memory" in values:
        values["memory"] = member(qe.Memory, values["memory"])
    if "tokenizer" in values:
        values["tokenizer"] = member(qe.TokenizerType, values["tokenizer"])
    if "stopwords" in values:
        values["stopwords"] = _stopwords(values["stopwords"])
    if "stemmer" in values:
        values["stemmer"] = _stemmer(values["stemmer"])
    if isinstance(values.get("scoring"), Mapping):
        values["scoring"] = qe.TextScoringParams()
    return _PARAMS[schema["type"]](**values)


def index_out(info: Any) -> dict[str, Any]:
    """What `get_collection` shows of an index."""
    kind = _name(info.data_type)
    params: dict[str, Any] = {"type": kind}
    for name in _PLAIN_FIELDS:
        value = getattr(info.params, name, None)
        if value is not None:
            params[name] = value
    if kind == "text" and info.params is not None:
        params["tokenizer"] = _name(info.params.tokenizer)
        if info.params.scoring is not None:
            params["scoring"] = True
    return {"data_type": kind, "params": params if info.params is not None else None, "points": info.points}


def _stopwords(stopwords: Any) -> Any:
    if isinstance(stopwords, str):
        return member(qe.Language, stopwords)
    languages = {member(qe.Language, language) for language in stopwords.get("languages") or []}
    return qe.StopwordsSet(languages or None, set(stopwords.get("custom") or []) or None)


def _stemmer(stemmer: Mapping[str, Any]) -> Any:
    if stemmer["type"] == "none":
        return qe.DisabledStemmer()
    return qe.SnowballParams(member(qe.SnowballLanguage, stemmer["language"]))


def _name(member: Any) -> str:
    """`PayloadSchemaType.Keyword` → `keyword`."""
    return str(member).rsplit(".", 1)[-1].lower()
