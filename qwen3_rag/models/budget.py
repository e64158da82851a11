"""How many tokens go into one batch: as many as compute well and fit into the memory, fewer after an out-of-memory, slowly more again.

It knows the sizes of a Qwen3 network and asks the machine what is free. It runs nothing.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
from transformers import Qwen3Config

CPU_TOKENS = 2048
"""Measured on two cores: from 1,024 to 4,096 tokens a batch is equally fast, and a shared beginning is paid once a batch."""
ACCELERATOR_TOKENS = 32_768
LEAST_TOKENS = 256
"""What a budget begins with where next to nothing is free. Memory that runs out all the same makes it smaller still."""
_SHARE_OF_FREE = 0.5
_RESTORE_AFTER = 16
_RESTORE_FACTOR = 1.25
_NO_LIMIT = 1 << 60
_CGROUP = Path("/sys/fs/cgroup")


class TokenBudget:
    """The tokens of a batch now. Not thread-safe: one thread composes batches."""

    def __init__(self, most: int) -> None:
        self.most = max(most, LEAST_TOKENS)
        self.tokens = self.most
        self._good = 0

    def halve(self, attempted: int) -> None:
        """A batch of `attempted` tokens was too large: the next one is smaller, down to a single text."""
        self.tokens = max(1, min(self.tokens, attempted) // 2)
        self._good = 0

    def succeeded(self) -> None:
        """A batch went through; after sixteen of them the budget grows by a quarter, up to where it began."""
        if self.tokens >= self.most:
            return
        self._good += 1
        if self._good >= _RESTORE_AFTER:
            self.tokens, self._good = min(self.most, math.ceil(self.tokens * _RESTORE_FACTOR)), 0


@dataclass(frozen=True, slots=True)
class Footprint:
    """Bytes that a batch needs at its peak for each token: hidden states, projections and their rotated copies, and the MLP's inside."""

    bytes_per_token: int

    @classmethod
    def of(cls, config: Qwen3Config, dtype: torch.dtype) -> Footprint:
        """An estimate from the network's sizes, on the high side."""
        head_dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        attention = (config.num_attention_heads + 2 * (config.num_key_value_heads or config.num_attention_heads)) * head_dim
        numbers = 4 * config.hidden_size + 3 * attention + 3 * config.intermediate_size
        return cls(numbers * dtype.itemsize)


def choose_budget(config: Qwen3Config, dtype: torch.dtype, device: torch.device, lanes: int = 1) -> TokenBudget:
    """The budget for a network: what each of its lanes computes well on `device`, or what half of the free memory holds if that is less."""
    preferred = CPU_TOKENS * lanes if device.type == "cpu" else ACCELERATOR_TOKENS
    held = torch.float32 if device.type == "cpu" else dtype  # there what goes from layer to layer is, whatever weights are in
    fits = int(_SHARE_OF_FREE * free_bytes(device)) // Footprint.of(config, held).bytes_per_token
    return TokenBudget(min(preferred, fits))


def free_bytes(device: torch.device) -> int:
    """Memory that is free on `device`; for the CPU what the machine and its control group leave. A large number where nobody tells."""
    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    return min(_available(), _left_in_group())


def _available() -> int:
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    except OSError:
        return _NO_LIMIT
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable:")), _NO_LIMIT)


def _left_in_group() -> int:
    try:
        limit, used = ((_CGROUP / name).read_text(encoding="ascii").strip() for name in ("memory.max", "memory.current"))
        return max(0, int(limit) - int(used)) if limit != "max" else _NO_LIMIT
    except (OSError, ValueError):
        return _NO_LIMIT


def is_out_of_memory(error: BaseException) -> bool:
    """Whether `error` says that memory ran out. On the CPU torch raises a plain `RuntimeError` for it."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and ("DefaultCPUAllocator" in str(error) or "out of memory" in str(error).lower())
