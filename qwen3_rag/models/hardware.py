"""Which device and which floating point format to compute with. Imports torch, so it is imported by `loading` alone.

"auto" is bfloat16 where that is computed natively, whatever weights are stored in: it is the format that the official models are released
in. Elsewhere it is emulated, and several times slower than float32.
"""

from __future__ import annotations

import re
from enum import StrEnum
from pathlib import Path

import torch

from qwen3_rag.errors import ConfigurationError

_AMPERE = (8, 0)
_CPU_BFLOAT16 = frozenset(("amx_bf16", "avx512_bf16"))
_DEVICE = re.compile(r"cpu|mps|cuda(:\d+)?")


class DType(StrEnum):
    """How weights and activations are held."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"
    FLOAT16 = "float16"


def select_device(name: str) -> torch.device:
    """The device called `name`; `"auto"` is cuda, else mps, else cpu.

    Raises:
        ConfigurationError: no such device here.
    """
    present = ["cpu"]
    if torch.backends.mps.is_available():
        present.insert(0, "mps")
    if torch.cuda.is_available():
        present = ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count())), *present]
    if name == "auto":
        return torch.device(present[0])
    if not _DEVICE.fullmatch(name) or name not in present:
        raise ConfigurationError(f"There is no device {name!r} here. `device` can be: auto, {', '.join(present)}.")
    return torch.device(name)


def select_dtype(name: str, device: torch.device) -> torch.dtype:
    """The format called `name`; for `"auto"` bfloat16 if `device` computes it natively, else float32.

    Raises:
        ConfigurationError: unknown name.
    """
    try:
        choice = DType(name)
    except ValueError:
        raise ConfigurationError(f"There is no dtype {name!r}. `dtype` can be: {', '.join(DType)}.") from None
    if choice is DType.AUTO:
        choice = DType.BFLOAT16 if computes_bfloat16(device) else DType.FLOAT32
    return {DType.FLOAT32: torch.float32, DType.BFLOAT16: torch.bfloat16, DType.FLOAT16: torch.float16}[choice]


def computes_bfloat16(device: torch.device) -> bool:
    """Whether `device` multiplies bfloat16 matrices in hardware: CUDA from compute capability 8.0, CPUs with AMX or AVX512_BF16.

    Apple GPUs count as no: which of them do is not something that torch tells.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= _AMPERE
    return device.type == "cpu" and cpu_computes_bfloat16(cpu_description())


def cpu_computes_bfloat16(cpuinfo: str) -> bool:
    """Read the answer from the text of Linux' `/proc/cpuinfo`."""
    flags = next((line.partition(":")[2] for line in cpuinfo.splitlines() if line.startswith("flags")), "")
    return not _CPU_BFLOAT16.isdisjoint(flags.split())


def cpu_description() -> str:
    """The text of `/proc/cpuinfo`, empty where there is none."""
    try:
        return Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
