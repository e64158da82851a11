"""The card of an exported model: what it is for, how it is used, its scores before and after, and everything it was trained with."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from qwen3_rag.models.prompts import DEFAULT_TASK
from qwen3_rag.training.settings import Exporting

_UNNAMED = "not stated"


def model_card(name: str, record: Mapping[str, Any], settings: Exporting, hidden: int) -> str:
    """Markdown, with the header that model hubs read."""
    kind, base = record["kind"], record["base"]
    parts = [
        _header(kind, base, settings),
        f"# {name}\n\nA Qwen3 {kind}, trained from `{base}` with qwen3-rag.\n",
        "## Use\n\n" + (_embedder_use(hidden) if kind == "embedder" else _reranker_use()),
        "## Scores\n\n" + _scores(record),
        "## Data\n\n" + _data(record, settings),
        "## Settings\n\n" + _settings(record),
    ]
    return "\n".join(parts)


def _header(kind: str, base: str, settings: Exporting) -> str:
    lines = (
        ["library_name: sentence-transformers", "pipeline_tag: sentence-similarity"]
        if kind == "embedder"
        else ["pipeline_tag: text-ranking"]
    )
    licence = [f"license: {json.dumps(settings.licence)}"] if settings.licence else []
    return "\n".join(["---", *lines, *licence, f"base_model: {json.dumps(base)}", "tags: [qwen3, retrieval]", "---", ""])


def _embedder_use(hidden: int) -> str:
    return f"""```python
from qwen3_rag import Embedder

embedder = Embedder.load("FOLDER")
scores = embedder.embed_queries(["a question"]) @ embedder.embed_documents(["a passage"]).T
```

```python
from sentence_transformers import SentenceTransformer

model = SentenceTransformer("FOLDER")
scores = model.encode(["a question"], prompt_name="query") @ model.encode(["a passage"], prompt_name="document").T
```

Queries follow `Instruct: {DEFAULT_TASK}` (or another task) and `Query:`; documents are embedded as they are. The hidden state of the
end-of-text token is the vector, of {hidden} dimensions; any prefix from 32 works, normalised anew.
"""


def _reranker_use() -> str:
    return """```python
from qwen3_rag import Reranker

scores = Reranker.load("FOLDER").score("a question", ["a passage", "another passage"])
```

The score is the probability of "yes" among "yes" and "no", asked with the prompt of the Qwen3 rerankers.
"""


def _scores(record: Mapping[str, Any]) -> str:
    rows = [
        f"| {item['set']} | {item['before']['questions']} | {item['before']['ndcg@10']:.4f} | {item['after']['ndcg@10']:.4f} "
        f"| {item['before']['recall@10']:.4f} | {item['after']['recall@10']:.4f} |"
        for item in record["compared"]
    ]
    table = ["| set | questions | nDCG@10 before | after | recall@10 before | after |", "|---|---|---|---|---|---|", *rows]
    forced = "\nIt is worse than its base on at least one of these, and was exported all the same.\n" if record["forced"] else ""
    return "\n".join(table) + "\n" + forced


def _data(record: Mapping[str, Any], settings: Exporting) -> str:
    runs = [part["record"] for part in record.get("merged", ())] or [record]
    lines = [f"Licence and origin: {settings.data or _UNNAMED}.", ""]
    for run in runs:
        if "data" in run:
            data = run["data"]
            lines.append(
                f"- {data['pairs']} pairs of {', '.join(run['settings']['pairs'])} (SHA-256 {data['digest'][:16]}…); {data['leaked']} were "
                f"left out because a judging set holds them. Judged while training by {data['dev']}."
            )
    return "\n".join(lines) + "\n"


def _settings(record: Mapping[str, Any]) -> str:
    parts = record.get("merged")
    if parts:
        shares = ", ".join(f"{part['checkpoint']} ({part['weight']:g})" for part in parts)
        about = f"Merged by slerp, folded from the left: {shares}."
        return "\n\n".join([about, *(_block(part["record"]) for part in parts)])
    return _block(record)


def _block(record: Mapping[str, Any]) -> str:
    shown = {name: value for name, value in record.get("settings", {}).items() if value not in (None, [], "")}
    spent = f"{record.get('steps', '?')} steps, {record.get('seconds', '?')} s.\n\n"
    return f"{spent}```json\n{json.dumps(shown, indent=2, ensure_ascii=False)}\n```\n"
