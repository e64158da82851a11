"""Merges checkpoints by spherical linear interpolation (slerp), tensor by tensor: the last stage of the paper's embedding models.

Two tensors of directions a and b at an angle θ become sin((1−t)θ)/sin θ · a + sin(tθ)/sin θ · b (Shoemake, SIGGRAPH 1985). Several are
folded from the left: the first two, the result with the third, and so on, with t = the weight of the new one over the weights so far.
The order matters a little, since slerp of three is not associative. This module knows tensors and files of them, not networks.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from qwen3_rag.errors import ConfigurationError, ModelFormatError
from qwen3_rag.training.weights import written_dtype

WEIGHTS = "model.safetensors"
_ADAPTER = "adapter_config.json"
_PARALLEL = 1e-4
"""Below this angle, in radians, the straight line is the same to rounding and the formula divides by almost nothing."""


def slerp(first: torch.Tensor, second: torch.Tensor, t: float) -> torch.Tensor:
    """The tensor a share `t` of the way from `first` (0) to `second` (1), in the dtype of `first`; computed in float64.

    The angle is that of the whole tensors taken as vectors, and the formula is applied to the tensors themselves, so that lengths are
    interpolated along. Tensors that are parallel, opposite or zero are interpolated on the straight line.
    """
    a, b = first.double().flatten(), second.double().flatten()
    norms = a.norm() * b.norm()
    cosine = (a @ b / norms).clamp(-1, 1) if norms > 0 else torch.ones((), dtype=torch.float64)
    angle = torch.arccos(cosine)
    if angle < _PARALLEL or torch.pi - angle < _PARALLEL:
        merged = (1 - t) * a + t * b
    else:
        merged = (torch.sin((1 - t) * angle) * a + torch.sin(t * angle) * b) / torch.sin(angle)
    return merged.reshape(first.shape).to(first.dtype)


def slerp_all(tensors: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    """Several tensors folded from the left; `weights` are positive and need not sum to one."""
    merged, total = tensors[0], weights[0]
    for tensor, weight in zip(tensors[1:], weights[1:], strict=True):
        total += weight
        merged = slerp(merged, tensor, weight / total)
    return merged


def merge_checkpoints(folders: Sequence[str | Path], target: str | Path, weights: Sequence[float] | None = None) -> Path:
    """Write the slerp of several checkpoints of one shape; everything but the weights is the first one's. Returns `target`.

    Tensors are read one at a time. A head that is tied to the token embeddings is not in the files, and so stays tied.

    Args:
        folders: two or more Hugging Face folders with one `model.safetensors` each.
        target: a folder that does not exist yet, or is empty.
        weights: how much each counts, positive; None counts all alike.

    Raises:
        ConfigurationError: fewer than two folders, weights that do not fit, or a target that is not empty or cannot be made.
        ModelFormatError: a folder without weights, with an unmerged LoRA adapter, or of another shape than the first.
    """
    sources, place = [Path(folder) for folder in folders], Path(target)
    shares = _checked_weights(len(sources), weights)
    if place.is_dir() and any(place.iterdir()):
        raise ConfigurationError(f"{place} is not empty. Name a new folder for the merged checkpoint.")
    for source in sources:
        _check_folder(source)
    merged = _merged(sources, shares)
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigurationError(
            f"{place} cannot be made: {error.strerror or error}. Name a new folder for the merged checkpoint."
        ) from None
    for file in sources[0].iterdir():
        if file.is_file() and file.name != WEIGHTS:
            shutil.copy2(file, place / file.name)
    save_file(merged, place / WEIGHTS, {"format": "pt"})
    return place


def _merged(sources: Sequence[Path], weights: Sequence[float]) -> dict[str, torch.Tensor]:
    files: list[Any] = [safe_open(source / WEIGHTS, framework="pt") for source in sources]
    names = set(files[0].keys())
    for source, file in zip(sources[1:], files[1:], strict=True):
        if different := names ^ set(file.keys()):
            raise ModelFormatError(
                f"{source} does not hold the same tensors as {sources[0]}: {sorted(different)[0]!r} is in one only. "
                "Merge checkpoints that were trained from the same one."
            )
    return {name: _merged_tensor(name, sources, [file.get_tensor(name) for file in files], weights) for name in sorted(names)}


def _merged_tensor(name: str, sources: Sequence[Path], tensors: Sequence[torch.Tensor], weights: Sequence[float]) -> torch.Tensor:
    for source, tensor in zip(sources, tensors, strict=True):
        if tensor.shape != tensors[0].shape:
            raise ModelFormatError(
                f"{name!r} has shape {tuple(tensor.shape)} in {source} and {tuple(tensors[0].shape)} in {sources[0]}. "
                "Merge checkpoints that were trained from the same one."
            )
    if not tensors[0].is_floating_point():
        return tensors[0]
    return slerp_all([tensor.to(written_dtype(tensor.dtype)) for tensor in tensors], weights).contiguous()


def _checked_weights(count: int, weights: Sequence[float] | None) -> list[float]:
    if count < 2:
        raise ConfigurationError(f"Merging takes two checkpoints or more, not {count}.")
    shares = [1.0] * count if weights is None else [float(weight) for weight in weights]
    if len(shares) != count or not all(weight > 0 for weight in shares):
        raise ConfigurationError(f"Give one positive weight for each of the {count} checkpoints, not {shares}.")
    return shares


def _check_folder(folder: Path) -> None:
    if (folder / _ADAPTER).exists():
        raise ModelFormatError(f"{folder} is a LoRA adapter. Merge it into its model first (`export` does), then merge the checkpoints.")
    if not (folder / WEIGHTS).exists():
        raise ModelFormatError(f"{folder / WEIGHTS} is missing. Export the checkpoint first; weights in several files are not merged.")
