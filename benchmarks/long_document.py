"""One document of 32,768 tokens: seconds and peak memory, and whether a long text comes out as transformers computes it.

    python -m benchmarks.long_document                                      # 4 layers of the 0.6B shape
    python -m benchmarks.long_document --layers 1 --tokens 2048 --compared 512  # a quick look

Each run is a process of its own, whose peak resident memory is what the system says at its end: interpreter, torch and weights
included. The reference pads a 4,096-token text by 64 tokens on the left and gives transformers the attention mask.
"""

from __future__ import annotations

import argparse
import json
import resource
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.checkpoints import official
from benchmarks.harness import Check, Result, finish, parameters, parser, say, versions
from benchmarks.texts import long_documents
from qwen3_rag import Embedder

PADDING = 64
WORKER = "--worker"


def text_of(embedder: Embedder, tokens: int) -> str:
    """The long documents one after the other, again and again, cut to at most so many tokens with the end-of-text token."""
    text = "\n\n".join(long_documents().values())
    while len(encoding := embedder.tokenizer.encode(text)) < tokens:
        text += f"\n\n{text}"
    return text[: encoding.offsets[tokens - 2][1]]


def worker(folder: str, tokens: int) -> None:
    """In a process of its own: embed one text of so many tokens and print what it took."""
    embedder = Embedder.load(folder, dtype="float32", device="cpu")
    text = text_of(embedder, tokens)
    loaded = peak()
    began = time.perf_counter()
    embedder.embed_documents([text])
    seconds = time.perf_counter() - began
    count = len(embedder.tokenizer.encode(text)) + 1
    found = {"seconds": seconds, "peak": peak(), "peak_before": loaded, "tokens": count}
    sys.stdout.write(json.dumps(found) + "\n")


def peak() -> float:
    """Most resident memory of this process so far, in GB of 10^9 bytes.

    Linux' `ru_maxrss` begins with the peak of the process that started this one; `VmHWM` does not.
    """
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024 / 1e9
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e9


def run_alone(folder: Path, tokens: int) -> dict[str, float]:
    """`worker` in a child."""
    command = [sys.executable, "-m", "benchmarks.long_document", WORKER, str(folder), str(tokens)]
    done = subprocess.run(command, cwd=Path.cwd(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"the run of {tokens} tokens failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    say(f"  {found['tokens']:,} tokens: {found['seconds']:.1f} s, peak {found['peak']:.2f} GB")
    return found


def reference(folder: Path, ids: list[int]) -> NDArray[np.float32]:
    """The normalised vector that transformers computes for a left-padded text."""
    import torch
    from transformers import AutoModel

    model = AutoModel.from_pretrained(folder, dtype=torch.float32)
    padded = torch.tensor([[ids[-1]] * PADDING + ids])
    mask = torch.tensor([[0] * PADDING + [1] * len(ids)])
    with torch.inference_mode():
        state = model(input_ids=padded, attention_mask=mask, use_cache=False).last_hidden_state[0, -1]
    vector: NDArray[np.float32] = torch.nn.functional.normalize(state, dim=0).numpy()
    return vector


def difference(folder: Path, tokens: int) -> float:
    """Largest absolute difference to the reference on a text of so many tokens."""
    embedder = Embedder.load(str(folder), dtype="float32", device="cpu")
    text = text_of(embedder, tokens)
    ids = Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids  # with the end-of-text token
    ours = np.asarray(embedder.embed_documents([text]))[0]
    return float(np.abs(ours - reference(folder, ids)).max())


def compare(folder: Path, arguments: argparse.Namespace) -> Result:
    """Children first, so that nothing else of this benchmark is in memory beside them."""
    title = f"One document of {arguments.tokens:,} tokens, {arguments.layers} layers of the 0.6B shape"
    result = Result("long_document", title, parameters(arguments), versions=versions())
    runs = [run_alone(folder, arguments.tokens) for _ in range(arguments.rounds)]
    result.add_rounds({"seconds of the document": [run["seconds"] for run in runs]})
    result.add_rounds({"peak memory": [run["peak"] for run in runs]}, "GB")
    result.add_rounds({"peak memory before it, weights loaded": [run["peak_before"] for run in runs]}, "GB")
    result.checks += [
        Check("peak memory in GB", max(run["peak"] for run in runs), at_most=6.0),
        Check("tokens read", runs[0]["tokens"], at_least=float(arguments.tokens) - 8),
        Check(f"ours − padded transformers, {arguments.compared:,} tokens, largest", difference(folder, arguments.compared), at_most=1e-4),
    ]
    return result


def main() -> None:
    if sys.argv[1:2] == [WORKER]:
        worker(sys.argv[2], int(sys.argv[3]))
        return
    command = parser(__doc__, "long_document")
    command.set_defaults(rounds=1)
    command.add_argument("--layers", type=int, default=4)
    command.add_argument("--tokens", type=int, default=32_768)
    command.add_argument("--compared", type=int, default=4096, help="tokens of the text compared with the reference")
    arguments = command.parse_args()
    with official(arguments.layers) as folder:
        finish(compare(folder, arguments), arguments.output)


if __name__ == "__main__":
    main()
