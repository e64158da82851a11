"""Embedding documents: this package beside sentence-transformers on the same weights, and beside the matrix products that it cannot avoid.

    python -m benchmarks.embedding                       # 4 layers of the 0.6B shape, 128 passages
    python -m benchmarks.embedding --layers 1 --texts 8  # a quick look

Texts are paragraphs of xquad-en and passages of chunk-eval of up to 1,500 characters, given in one call. sentence-transformers takes the
batch size that was best in a trial. The bound is the time of the products alone, for exactly these tokens: per layer q, k, v, o, gate, up
and down; in the last layer k and v for all tokens and the rest for one token a text. It runs on the same weights, in blocks of the size
that was best in a trial, in the same alternating rounds. Attention itself (QK^T and PV), norms and tokenization are not in it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.checkpoints import official
from benchmarks.harness import Check, Result, alternate, best_of, cosines, finish, parameters, parser, say, timed, versions
from benchmarks.texts import passages

if TYPE_CHECKING:
    import torch

BATCH_SIZES = (4, 8, 16, 32, 64)
BLOCKS = (512, 1024, 2048, 4096)
ALL_TOKENS = ("self_attn.k_proj", "self_attn.v_proj")
REST = ("self_attn.q_proj", "self_attn.o_proj", "mlp.gate_proj", "mlp.up_proj", "mlp.down_proj")
TRIAL = 64
"""Texts of the trial of batch sizes."""

Embed = Callable[[Sequence[str]], NDArray[np.float32]]


class SentenceTransformers:
    """`SentenceTransformer.encode` as its documentation uses it."""

    def __init__(self, folder: Path) -> None:
        from sentence_transformers import SentenceTransformer

        self._model: Any = SentenceTransformer(str(folder), device="cpu", model_kwargs={"dtype": "float32"})
        self.batch_size = BATCH_SIZES[0]

    def __call__(self, texts: Sequence[str]) -> NDArray[np.float32]:
        return np.asarray(self._model.encode(list(texts), batch_size=self.batch_size, show_progress_bar=False))

    def seconds(self, texts: Sequence[str], batch_size: int) -> float:
        """How long `texts` take in batches of this size, which is kept."""
        self.batch_size = batch_size
        return timed(lambda: self(texts))


class Products:
    """The matrix products of a checkpoint for so many tokens and texts, and nothing else."""

    def __init__(self, folder: Path, layers: int, tokens: int, texts: int) -> None:
        import torch
        from safetensors.torch import load_file

        weights = load_file(folder / "model.safetensors")
        rows: list[tuple[torch.Tensor, int]] = []
        for layer in range(layers):
            last = layer == layers - 1
            rows += [(weights[f"model.layers.{layer}.{name}.weight"], tokens) for name in ALL_TOKENS]
            rows += [(weights[f"model.layers.{layer}.{name}.weight"], texts if last else tokens) for name in REST]
        self._rows = rows
        self.block = BLOCKS[0]
        self._inputs = {weight.shape[1]: torch.randn(max(BLOCKS), weight.shape[1]) for weight, _ in rows}

    @property
    def operations(self) -> int:
        """Additions and multiplications."""
        return sum(2 * weight.numel() * count for weight, count in self._rows)

    def __call__(self, most: int | None = None) -> None:
        """All of them; with `most`, for at most so many rows each."""
        import torch

        with torch.inference_mode():
            for weight, count in self._rows:
                self._multiply(weight, count if most is None else min(count, most))

    def _multiply(self, weight: torch.Tensor, count: int) -> None:
        import torch

        for start in range(0, count, self.block):
            torch.nn.functional.linear(self._inputs[weight.shape[1]][: min(self.block, count - start)], weight)

    def seconds(self, block: int) -> float:
        """Time in blocks of so many rows, which is kept, for twice the largest block."""
        self.block = block
        return timed(lambda: self(2 * max(BLOCKS)))


def compare(folder: Path, texts: list[str], arguments: argparse.Namespace) -> Result:
    """Ours, sentence-transformers and the bound, in turns."""
    from qwen3_rag import Embedder

    embedder = Embedder.load(str(folder), dtype="float32", device="cpu")
    tokens = sum(len(encoding.ids) + 1 for encoding in embedder.tokenizer.encode_batch(texts))
    theirs, products = SentenceTransformers(folder), Products(folder, arguments.layers, tokens, len(texts))
    result = Result("embedding", f"Embedding {len(texts)} passages, {tokens:,} tokens, in one call", parameters(arguments))
    result.versions = versions("sentence-transformers")
    choose(result, theirs, products, texts)
    agreement(result, embedder.embed_documents, theirs, texts[:TRIAL])
    calls: dict[str, Callable[[], object]] = {
        "ours": lambda: embedder.embed_documents(texts),
        "sentence-transformers": lambda: theirs(texts),
        "matrix products alone": products,
    }
    result.add_rounds(alternate(calls, arguments.rounds))
    ratios(result, tokens, products)
    return result


def choose(result: Result, theirs: SentenceTransformers, products: Products, texts: Sequence[str]) -> None:
    """The best sizes of the other two."""
    say("batch size of sentence-transformers")
    theirs.batch_size = best_of(BATCH_SIZES, lambda size: theirs.seconds(texts[:TRIAL], size))
    say("block of the matrix products")
    products.block = best_of(BLOCKS, products.seconds)
    result.parameters |= {"best_batch_size": theirs.batch_size, "best_block": products.block}


def agreement(result: Result, ours: Embed, theirs: Embed, texts: Sequence[str]) -> None:
    """How far apart the vectors are; also the warm-up of ours."""
    one, other = np.asarray(ours(texts)), theirs(texts)
    result.checks += [
        Check("ours − sentence-transformers, largest", float(np.abs(one - other).max()), at_most=1e-4),
        Check("cosine of ours and sentence-transformers, least", float(cosines(one, other).min()), at_least=0.9999),
    ]


def ratios(result: Result, tokens: int, products: Products) -> None:
    """How fast ours is, seen from both sides."""
    ours, bound = result.median("ours"), result.median("matrix products alone")
    result.checks += [
        Check("times as fast as sentence-transformers", result.median("sentence-transformers") / ours, at_least=1.15),
        Check("share of the bound", bound / ours, at_least=0.88),
        Check("tokens a second", tokens / ours),
        Check("GFLOP/s of the products alone", products.operations / bound / 1e9),
    ]


def main() -> None:
    command = parser(__doc__, "embedding")
    command.add_argument("--layers", type=int, default=4)
    command.add_argument("--texts", type=int, default=128)
    arguments = command.parse_args()
    texts = passages(arguments.texts)
    with official(arguments.layers) as folder:
        finish(compare(folder, texts, arguments), arguments.output)


if __name__ == "__main__":
    main()
