"""From a model's name to a model that runs: finds the folder, inspects it, and loads the body of the network with transformers.

torch and transformers are imported inside, so that this module can be imported without them. Code in a checkpoint is never run.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from qwen3_rag.errors import ConfigurationError, MissingExtraError, ModelFormatError
from qwen3_rag.models.checkpoint import Checkpoint
from qwen3_rag.models.hub import ModelKind, locate
from qwen3_rag.models.registry import check_kind
from qwen3_rag.models.tokenization import TextTokenizer

if TYPE_CHECKING:
    import torch
    from transformers import Qwen3Model

    from qwen3_rag.models.inference import Inference


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model that runs: its name, its files, its tokenizer and its network without the language-model head.

    `asked` is how it was asked to be loaded: dtype, device and quantization; None where no name leads to it.
    """

    name: str
    checkpoint: Checkpoint
    tokenizer: TextTokenizer
    inference: Inference
    asked: dict[str, str] | None = None


def load(model: str, kind: ModelKind, dtype: str, device: str, quantization: str = "none") -> Loaded:
    """Load a hub model, a local folder or `nano`.

    Raises:
        MissingExtraError: torch or transformers is not installed.
        ConfigurationError: unknown dtype, device or quantization, or a known model asked to be what it is not.
        ModelNotFoundError: no such folder, and the hub does not have it or cannot be reached.
        ModelFormatError: the folder holds no Qwen3 checkpoint that can be used.
    """
    require_torch()
    from qwen3_rag.models.hardware import select_device, select_dtype
    from qwen3_rag.models.inference import Inference
    from qwen3_rag.models.quantization import ModelQuantization, check_int8, quantize_linears, select_quantization

    if not isinstance(model, str) or not model:
        raise ConfigurationError(f"A model is given by its name, not as {model!r}: a hub id, the path of a local folder, or 'nano'.")
    asked = {"dtype": dtype, "device": device, "quantization": quantization}
    target, reduced = select_device(device), select_quantization(quantization)
    if reduced is ModelQuantization.INT8 and dtype == "auto":
        dtype = "float32"  # what int8 is computed beside
    chosen = select_dtype(dtype, target)
    if reduced is ModelQuantization.INT8:
        check_int8(target, chosen)
    check_kind(model, kind)
    located = locate(model, kind)
    checkpoint = Checkpoint.open(located.folder)
    tokenizer = TextTokenizer.load(located.folder)
    if tokenizer.highest_id >= checkpoint.vocabulary:
        raise ModelFormatError(
            f"The tokenizer in {located.folder} has ids up to {tokenizer.highest_id}, the weights know {checkpoint.vocabulary}. "
            "They are not of one checkpoint; download it again."
        )
    body = _load_body(checkpoint, target, chosen)
    if reduced is ModelQuantization.INT8:
        quantize_linears(body)
    return Loaded(located.name, checkpoint, tokenizer, Inference(body, located.name), asked)


def answer_direction(loaded: Loaded, yes: int, no: int) -> NDArray[np.float32]:
    """W[yes] - W[no] of the language-model head in float32, shape (hidden,). Only these two rows are read.

    Raises:
        ModelFormatError: the checkpoint was saved without a head.
    """
    from safetensors import safe_open

    checkpoint = loaded.checkpoint
    if checkpoint.head is not None:
        with safe_open(checkpoint.head.file, framework="pt") as file:
            rows = file.get_slice("lm_head.weight")
            weights = [rows[index : index + 1].float()[0] for index in (yes, no)]
    elif checkpoint.is_tied:
        embeddings = loaded.inference.model.embed_tokens.weight.detach()
        weights = [embeddings[index].float().cpu() for index in (yes, no)]
    else:
        raise ModelFormatError(
            f"The checkpoint in {checkpoint.folder} has no language-model head, which a reranker answers with: it is an embedding model, "
            "or was saved without the head. Give a Qwen3 reranker, for example 'Qwen/Qwen3-Reranker-0.6B'."
        )
    direction: NDArray[np.float32] = (weights[0] - weights[1]).numpy()
    return direction


def require_torch() -> None:
    """The door of this room.

    Raises:
        MissingExtraError: torch, transformers or safetensors is not installed.
    """
    if any(importlib.util.find_spec(name) is None for name in ("torch", "transformers", "safetensors")):
        raise MissingExtraError("Running a Qwen3 model on this machine", "torch")


def _load_body(checkpoint: Checkpoint, device: torch.device, dtype: torch.dtype) -> Qwen3Model:
    from transformers import Qwen3Config, Qwen3Model

    options: dict[str, Any] = {"local_files_only": True, "use_safetensors": True, "attn_implementation": "sdpa"}
    # Tensors that are absent or misshapen are listed instead of raised; they would be random, so they are an error below.
    options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
    try:
        with _quiet_transformers():
            config = Qwen3Config.from_pretrained(checkpoint.folder, local_files_only=True)
            loaded: Any = Qwen3Model.from_pretrained(checkpoint.folder, config=config, dtype=dtype, **options)
    except Exception as error:  # three libraries check the files, each with exceptions of its own
        raise ModelFormatError(f"The checkpoint in {checkpoint.folder} cannot be loaded: {error}. Download it again.") from error
    model, report = loaded
    absent = sorted(key if isinstance(key, str) else key[0] for key in [*report["missing_keys"], *report["mismatched_keys"]])
    if absent:
        shown = ", ".join(absent[:3]) + (f" and {len(absent) - 3} more" if len(absent) > 3 else "")
        raise ModelFormatError(f"The weights in {checkpoint.folder} do not fit its config.json: missing or of another shape: {shown}.")
    body: Qwen3Model = model.to(device).eval().requires_grad_(False)
    return body


@contextmanager
def _quiet_transformers() -> Iterator[None]:
    """No progress bars and no loading report: what matters of it is raised as an error."""
    from transformers.utils import logging as noise

    verbosity, had_bars = noise.get_verbosity(), noise.is_progress_bar_enabled()
    noise.set_verbosity(logging.ERROR)
    noise.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        noise.set_verbosity(verbosity)
        if had_bars:
            noise.enable_progress_bar()  # type: ignore[no-untyped-call]
