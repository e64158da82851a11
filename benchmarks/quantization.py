"""int8 beside float32, both of this package: speed at the 0.6B shape, and what it costs on nano, whose weights mean something.

    python -m benchmarks.quantization                                   # 4 layers of the 0.6B shape, 64 passages
    python -m benchmarks.quantization --layers 1 --texts 4 --queries 20  # a quick look

Quality is nDCG@10 of exact search over xquad-en and msmarco-mini. The change is told with its sign; the target bounds what is lost.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from benchmarks.beir import DATA, Collection, load
from benchmarks.checkpoints import official
from benchmarks.harness import Check, Result, alternate, cosines, finish, parameters, parser, require, versions
from benchmarks.quality import exact
from benchmarks.texts import passages
from qwen3_rag import Embedder

SETS = ("xquad-en", "msmarco-mini")


def pair(model: str) -> tuple[Embedder, Embedder]:
    """The same checkpoint in float32 and in int8."""
    plain = Embedder.load(model, dtype="float32", device="cpu")
    small = Embedder.load(model, dtype="float32", device="cpu", quantization="int8")
    text = ["Keys are rotated every 90 days."]
    if np.array_equal(plain.embed_documents(text), small.embed_documents(text)):
        raise SystemExit(f"int8 gives the very vectors of float32 with {model}: nothing was quantized, and there is nothing to compare")
    return plain, small


def speed(result: Result, folder: Path, texts: list[str], rounds: int) -> None:
    """Tokens a second of both, in turns."""
    plain, small = pair(str(folder))
    tokens = sum(len(encoding.ids) + 1 for encoding in plain.tokenizer.encode_batch(texts))
    for embedder in (plain, small):
        embedder.embed_documents(texts[:4])
    result.parameters["tokens"] = tokens
    result.add_rounds(
        alternate({"float32": lambda: plain.embed_documents(texts), "int8": lambda: small.embed_documents(texts)}, rounds),
    )
    result.checks += [
        Check("tokens a second, float32", tokens / result.median("float32")),
        Check("tokens a second, int8", tokens / result.median("int8")),
        Check("tokens a second, int8 / float32", result.median("float32") / result.median("int8"), at_least=1.6),
    ]


def quality(result: Result, queries: int | None) -> None:
    """Cosine of the vectors and change of nDCG@10, on nano."""
    plain, small = pair("nano")
    for collection in (first(load(DATA / name), queries) for name in SETS):
        texts = [item.whole for item in collection.documents]
        cosine = cosines(np.asarray(plain.embed_documents(texts)), np.asarray(small.embed_documents(texts)))
        before, after = exact(collection, plain), exact(collection, small)
        result.checks += [
            Check(f"{collection.name}: mean cosine to float32", float(cosine.mean()), at_least=0.99),
            Check(f"{collection.name}: least cosine", float(cosine.min())),
            Check(f"{collection.name}: nDCG@10, float32", before),
            Check(f"{collection.name}: nDCG@10, int8", after),
            Check(f"{collection.name}: nDCG@10 lost", before - after, at_most=0.005),
        ]


def first(collection: Collection, queries: int | None) -> Collection:
    """With the first queries only."""
    return replace(collection, queries=dict(list(collection.queries.items())[:queries]))


def compare(folder: Path, texts: list[str], arguments: argparse.Namespace) -> Result:
    """Speed, then quality."""
    result = Result("quantization", "int8 beside float32", parameters(arguments), versions=versions())
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
