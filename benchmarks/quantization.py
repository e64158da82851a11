"""int8 and bfloat16 beside float32, all of this package: speed at the 0.6B shape, and the cost on nano, whose weights mean something.

    python -m benchmarks.quantization                                   # 4 layers of the 0.6B shape, 64 passages
    python -m benchmarks.quantization --layers 1 --texts 4 --queries 20  # a quick look

Quality is nDCG@10 of exact search over xquad-en and msmarco-mini. The change is told with its sign; the target bounds what is lost.
bfloat16 is measured where the processor multiplies it natively.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.beir import DATA, Collection, load
from benchmarks.checkpoints import official
from benchmarks.harness import Check, Result, alternate, cosines, finish, parameters, parser, require, versions
from benchmarks.quality import exact
from benchmarks.texts import passages
from qwen3_rag import Embedder
from qwen3_rag.models.hardware import computes_bfloat16

SETS = ("xquad-en", "msmarco-mini")


def versions_of(model: str) -> dict[str, Embedder]:
    """The same checkpoint in float32 first, then in what is compared with it."""
    found = {"float32": Embedder.load(model, dtype="float32", device="cpu")}
    found["int8"] = Embedder.load(model, dtype="float32", device="cpu", quantization="int8")
    if computes_bfloat16(torch.device("cpu")):
        found["bfloat16"] = Embedder.load(model, dtype="bfloat16", device="cpu")
    text = ["Keys are rotated every 90 days."]
    plain, *others = (embedder.embed_documents(text) for embedder in found.values())
    if any(np.array_equal(plain, other) for other in others):
        raise SystemExit(f"some format gives the very vectors of float32 with {model}: there is nothing to compare")
    return found


def speed(result: Result, folder: Path, texts: list[str], rounds: int) -> None:
    """Tokens a second of each, in turns."""
    embedders = versions_of(str(folder))
    tokens = sum(len(encoding.ids) + 1 for encoding in embedders["float32"].tokenizer.encode_batch(texts))
    for embedder in embedders.values():
        embedder.embed_documents(texts[:4])
    result.parameters["tokens"] = tokens
    result.add_rounds(alternate({name: partial(embedder.embed_documents, texts) for name, embedder in embedders.items()}, rounds))
    for name in embedders:
        result.checks.append(Check(f"tokens a second, {name}", tokens / result.median(name)))
        if name != "float32":
            ratio = result.median("float32") / result.median(name)
            result.checks.append(Check(f"tokens a second, {name} / float32", ratio, at_least=1.6 if name == "int8" else None))


def quality(result: Result, queries: int | None) -> None:
    """Cosine of the vectors and change of nDCG@10, on nano."""
    embedders = versions_of("nano")
    for collection in (first(load(DATA / name), queries) for name in SETS):
        texts = [item.whole for item in collection.documents]
        vectors = {name: np.asarray(embedder.embed_documents(texts)) for name, embedder in embedders.items()}
        scores = {name: exact(collection, embedder) for name, embedder in embedders.items()}
        result.checks.append(Check(f"{collection.name}: nDCG@10, float32", scores["float32"]))
        for name in list(embedders)[1:]:
            cosine = cosines(vectors["float32"], vectors[name])
            result.checks += [
                Check(f"{collection.name}: mean cosine to float32, {name}", float(cosine.mean()), at_least=0.99),
                Check(f"{collection.name}: least cosine, {name}", float(cosine.min())),
                Check(f"{collection.name}: nDCG@10, {name}", scores[name]),
                Check(f"{collection.name}: nDCG@10 lost, {name}", scores["float32"] - scores[name], at_most=0.005),
            ]


def first(collection: Collection, queries: int | None) -> Collection:
    """With the first queries only."""
    return replace(collection, queries=dict(list(collection.queries.items())[:queries]))


def compare(folder: Path, texts: list[str], arguments: argparse.Namespace) -> Result:
    """Speed, then quality."""
    result = Result("quantization", "int8 and bfloat16 beside float32", parameters(arguments), versions=versions())
    speed(result, folder, texts, arguments.rounds)
    quality(result, arguments.queries)
    return result


def main() -> None:
    command = parser(__doc__, "quantization")
    command.add_argument("--layers", type=int, default=4)
    command.add_argument("--texts", type=int, default=64)
    command.add_argument("--queries", type=int, help="queries of each collection; all when not given")
    arguments = command.parse_args()
    require(*(DATA / name for name in SETS))
    texts = passages(arguments.texts)
    with official(arguments.layers) as folder:
        finish(compare(folder, texts, arguments), arguments.output)


if __name__ == "__main__":
    main()
