from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from qwen3_rag.errors import ConfigurationError, ModelFormatError
from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.hub import nano_folder
from qwen3_rag.training.merge import merge_checkpoints, slerp, slerp_all


def looped(a: list[float], b: list[float], t: float) -> list[float]:
    """The two-point formula, number by number."""
    dot = sum(x * y for x, y in zip(a, b, strict=True))
    angle = math.acos(dot / math.sqrt(sum(x * x for x in a)) / math.sqrt(sum(y * y for y in b)))
    one, other = math.sin((1 - t) * angle) / math.sin(angle), math.sin(t * angle) / math.sin(angle)
    return [one * x + other * y for x, y in zip(a, b, strict=True)]


@pytest.mark.parametrize("t", [0.0, 0.25, 0.5, 0.9, 1.0])
def test_two_points(t: float):
    random = torch.Generator().manual_seed(4)
    a, b = torch.randn(3, 5, generator=random), torch.randn(3, 5, generator=random)
    expected = torch.tensor(looped(a.flatten().tolist(), b.flatten().tolist(), t)).reshape(3, 5)
    torch.testing.assert_close(slerp(a, b, t), expected, atol=1e-6, rtol=1e-5)


def test_halfway_between_unit_vectors_has_unit_length():
    a, b = torch.tensor([1.0, 0.0]), torch.tensor([0.0, 1.0])
    torch.testing.assert_close(slerp(a, b, 0.5), torch.tensor([1.0, 1.0]) / math.sqrt(2))
    torch.testing.assert_close(slerp(a, b, 1 / 3), torch.tensor([math.cos(math.pi / 6), math.sin(math.pi / 6)]))


@pytest.mark.parametrize("other", [torch.tensor([2.0, 4.0]), torch.tensor([-1.0, -2.0]), torch.zeros(2)])
def test_without_an_angle_the_line_is_straight(other: torch.Tensor):
    first = torch.tensor([1.0, 2.0])
    torch.testing.assert_close(slerp(first, other, 0.25), 0.75 * first + 0.25 * other)


def test_many_are_folded_from_the_left_with_running_weights():
    random = torch.Generator().manual_seed(5)
    a, b, c = (torch.randn(7, generator=random) for _ in range(3))
    torch.testing.assert_close(slerp_all([a, b, c], [1, 1, 2]), slerp(slerp(a, b, 0.5), c, 0.5))
    torch.testing.assert_close(slerp_all([a, b], [3, 1]), slerp(a, b, 0.25))
    assert not torch.allclose(slerp_all([a, b, c], [1, 1, 1]), slerp_all([c, b, a], [1, 1, 1]))


def test_dtype_is_kept():
    assert slerp(torch.ones(2).half(), torch.tensor([1.0, 0.0]).half(), 0.5).dtype == torch.float16


def checkpoint(folder: Path, seed: int, **changed: torch.Tensor) -> Path:
    folder.mkdir()
    random = torch.Generator().manual_seed(seed)
    tensors = {"a.weight": torch.randn(4, 3, generator=random), "b.weight": torch.randn(5, generator=random)}
    save_file(tensors | changed, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"seed": seed}))
    return folder


def test_folders(tmp_path: Path):
    folders = [checkpoint(tmp_path / str(seed), seed) for seed in (1, 2, 3)]
    made = merge_checkpoints(folders, tmp_path / "merged", [1, 2, 1])
    tensors = [load_file(folder / "model.safetensors") for folder in folders]
    for name, tensor in load_file(made / "model.safetensors").items():
        torch.testing.assert_close(tensor, slerp_all([one[name] for one in tensors], [1, 2, 1]))
    assert json.loads((made / "config.json").read_text()) == {"seed": 1}


def test_eight_bits_are_merged_into_sixteen(tmp_path: Path):
    halves = [checkpoint(tmp_path / str(seed), seed) for seed in (1, 2)]
    eighths = []
    for folder in halves:
        tensors = {name: tensor.to(torch.float8_e4m3fn) for name, tensor in load_file(folder / "model.safetensors").items()}
        eighths.append(tensors)
        save_file(tensors, folder / "model.safetensors")
    made = load_file(merge_checkpoints(halves, tmp_path / "merged") / "model.safetensors")
    for name, tensor in made.items():
        assert tensor.dtype == torch.float16
        torch.testing.assert_close(tensor, slerp(eighths[0][name].half(), eighths[1][name].half(), 0.5))


def test_a_merged_model_with_itself_is_itself(tmp_path: Path):
    made = merge_checkpoints([nano_folder(), nano_folder()], tmp_path / "merged")
    text = ["Keys are rotated every ninety days."]
    cosine = float((Embedder.load(str(made)).embed_documents(text) @ Embedder.load("nano").embed_documents(text).T)[0, 0])
    assert cosine == pytest.approx(1, abs=1e-6)


def test_what_cannot_be_merged(tmp_path: Path):
    first = checkpoint(tmp_path / "1", 1)
    with pytest.raises(ConfigurationError, match="two checkpoints"):
        merge_checkpoints([first], tmp_path / "out")
    with pytest.raises(ConfigurationError, match="positive weight"):
        merge_checkpoints([first, first], tmp_path / "out", [1, 0])
    with pytest.raises(ConfigurationError, match="not empty"):
        merge_checkpoints([first, first], first)
    for place in (first / "model.safetensors", first / "model.safetensors" / "out"):
        with pytest.raises(ConfigurationError, match="cannot be made"):
            merge_checkpoints([first, first], place)
    with pytest.raises(ModelFormatError, match=r"c\.weight"):
        merge_checkpoints([first, checkpoint(tmp_path / "2", 2, **{"c.weight": torch.ones(1)})], tmp_path / "out")
    with pytest.raises(ModelFormatError, match="shape"):
        merge_checkpoints([first, checkpoint(tmp_path / "3", 2, **{"b.weight": torch.ones(6)})], tmp_path / "out")
    adapter = checkpoint(tmp_path / "4", 1)
    (adapter / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelFormatError, match="LoRA"):
        merge_checkpoints([first, adapter], tmp_path / "out")
    with pytest.raises(ModelFormatError, match="missing"):
        merge_checkpoints([first, tmp_path], tmp_path / "out")
    assert not (tmp_path / "out").exists()
