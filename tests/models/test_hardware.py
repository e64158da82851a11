"""bfloat16 is chosen only where it is computed natively."""

from __future__ import annotations

import pytest
import torch

from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models import hardware
from qwen3_rag.models.embedder import Embedder

AVX2 = "processor\t: 0\nflags\t\t: fpu sse4_2 avx avx2 f16c fma\nbugs\t\t: spectre\n"
AVX512_BF16 = "processor\t: 0\nflags\t\t: fpu avx2 avx512f avx512_bf16\n"
AMX = "processor\t: 0\nflags\t\t: fpu avx2 amx_bf16 amx_tile amx_int8\n"
AMX_WITHOUT_BF16 = "flags\t\t: fpu avx2 amx_tile amx_int8\nbugs\t\t: avx512_bf16\n"


@pytest.mark.parametrize(("cpuinfo", "native"), [(AVX2, False), (AVX512_BF16, True), (AMX, True), (AMX_WITHOUT_BF16, False), ("", False)])
def test_cpu_flags(cpuinfo: str, native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hardware, "cpu_description", lambda: cpuinfo)
    expected = torch.bfloat16 if native else torch.float32
    assert hardware.select_dtype("auto", torch.device("cpu")) == expected
    assert hardware.select_dtype("float32", torch.device("cpu")) == torch.float32


@pytest.mark.parametrize(("capability", "native"), [((7, 5), False), ((8, 0), True), ((9, 0), True)])
def test_cuda_capability(capability: tuple[int, int], native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _: capability)
    assert hardware.computes_bfloat16(torch.device("cuda")) is native


def test_mps_computes_float32_unless_told_otherwise() -> None:
    assert hardware.select_dtype("auto", torch.device("mps")) == torch.float32
    assert hardware.select_dtype("bfloat16", torch.device("mps")) == torch.bfloat16


@pytest.mark.parametrize(
    ("cuda", "mps", "expected"),
    [(True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_device(cuda: bool, mps: bool, expected: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: mps)
    assert hardware.select_device("auto").type == expected
    if cuda:
        assert hardware.select_device("cuda:1") == torch.device("cuda:1")


def test_unknown_names_are_refused_before_anything_is_loaded(no_network: list[object]) -> None:
    with pytest.raises(ConfigurationError, match="auto, float32, bfloat16, float16"):
        Embedder.load("acme/embedding", dtype="float8")
    with pytest.raises(ConfigurationError, match=r"'tpu'.*auto.*cpu"):
        Embedder.load("acme/embedding", device="tpu")
    with pytest.raises(ConfigurationError, match="'cuda:99'"):
        Embedder.load("acme/embedding", device="cuda:99")
    assert no_network == []
