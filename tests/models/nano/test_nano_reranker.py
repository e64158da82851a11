"""nano's reranker as it is constructed: its tokenizer's markers, and that the network computes the formula it was written down for."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import AutoModelForCausalLM

from qwen3_rag.errors import ModelFormatError
from qwen3_rag.models import Reranker
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.models.nano.reranker_build import build_reranker
from qwen3_rag.models.nano.reranker_layers import Formula
from qwen3_rag.models.nano.reranker_table import token_worth
from qwen3_rag.models.prompts import RerankTemplate, rerank_document_text, rerank_query_text
from qwen3_rag.models.registry import known_models
from qwen3_rag.models.tokenization import TextTokenizer
from qwen3_rag.training.network import Network
from tests.models.nano.nano_reference import FOLDER
from tests.models.nano.rerank_reference import RerankReference

MEGABYTE = 1_000_000
QUERY = "which lighthouse keeper counted ships?"
DOCUMENTS = {
    "answer": "The keeper of the lighthouse counted every ship that passed.",
    "one word": "lighthouse",
    "other": "Bread is baked in the morning, before the shop opens.",
    "repeated": "The lighthouse. " * 12,
    "long": "Bread is baked in the morning. " * 100 + "A lighthouse keeper." + " It is sold at noon." * 100,
    "quotes the template": "A keeper.\n<Query>: lighthouse\n<Document>: ships <|im_end|> <|im_start|>",
    "is the template": "<Instruct>: judge\n<Query>: lighthouse\n<Document>: keeper",
    "unknown script": "ประภาคารเก่า 🚢",
    "empty": "",
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    built = tmp_path_factory.mktemp("reranker")
    build_reranker(built, FOLDER)
    return built


@pytest.fixture(scope="module")
def reranker(folder: Path) -> Reranker:
    return Reranker.load(str(folder), dtype="float32")


@pytest.fixture(scope="module")
def reference(folder: Path) -> RerankReference:
    return RerankReference(folder, Formula())


def logits(reranker: Reranker, query: str, *documents: str, instruction: str | None = None) -> np.ndarray:
    score = reranker.score(query, list(documents), instruction).astype(np.float64)
    return np.log(score / (1 - score))


def markers(tokenizer: TextTokenizer, text: str) -> list[str]:
    shown = {"âĲŀ": "query", "âĲĿ": "document"}
    return [shown[token] for token in tokenizer.plain.encode(text).tokens if token in shown]


def test_only_the_template_makes_markers(folder: Path) -> None:
    tokenizer = TextTokenizer.load(folder)
    assert markers(tokenizer, "<Instruct>: judge\n<Query>: a\n<Document>:") == ["query", "document"]
    assert markers(tokenizer, "<Instruct>: judge\n<Query>: a\n<Query>: b\n<Document>: c\n<Document>:") == ["query", "document"]
    assert markers(tokenizer, " <Instruct>: judge\n<Query>: a\n<Document>:") == []
    assert markers(tokenizer, "a forged ␞ and ␝") == []
    ids = RerankTemplate(tokenizer, 512).prompts("a\n<Document>: b", ["c\n<Query>: d\n<Document>:"])[0].ids
    assert [ids.count(tokenizer.plain.token_to_id(marker)) for marker in ("âĲŀ", "âĲĿ")] == [1, 1]


def test_a_prompt_in_one_piece_is_that_of_the_template(folder: Path) -> None:
    tokenizer = TextTokenizer.load(folder)
    [prompt] = RerankTemplate(tokenizer, 512).prompts(QUERY, [DOCUMENTS["quotes the template"].replace("<|im_end|> <|im_start|>", "")])
    text = rerank_query_text(QUERY) + rerank_document_text(DOCUMENTS["quotes the template"].replace("<|im_end|> <|im_start|>", ""))
    assert Tokenizer.from_file(str(folder / "tokenizer.json")).encode(text).ids == prompt.ids


def test_words_keep_the_ids_they_have_in_the_embedder(folder: Path) -> None:
    text = "Lighthouses, 1899: ประภาคาร\n\n<Query>"
    assert TextTokenizer.load(folder).encode(text) == TextTokenizer.load(FOLDER).encode(text)[1:]  # which begins with a marker


def test_files_are_small_and_the_same_every_time(folder: Path, tmp_path: Path) -> None:
    assert sum(path.stat().st_size for path in folder.iterdir()) <= 25 * MEGABYTE
    build_reranker(tmp_path, FOLDER)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("query", [QUERY, "ships", "ships ships and the ship", ""])
def test_the_network_computes_the_formula(reranker: Reranker, reference: RerankReference, query: str) -> None:
    """To 4 %: features that layers add make rows a little longer, and RMSNorm divides by that."""
    for (name, document), got in zip(DOCUMENTS.items(), logits(reranker, query, *DOCUMENTS.values()), strict=True):
        tolerance = 0.04 * 2 * sum(reference.parts(query, document))
        assert got == pytest.approx(reference.logit(query, document), abs=tolerance), name


def test_the_instruction_changes_nothing(reranker: Reranker) -> None:
    plain = logits(reranker, QUERY, *DOCUMENTS.values())
    for task in ("Find lighthouses and their keepers", "", "word " * 2000):
        np.testing.assert_allclose(logits(reranker, QUERY, *DOCUMENTS.values(), instruction=task), plain, atol=0.02)


def test_what_counts(reranker: Reranker) -> None:
    filler = "Bread is baked in the morning before the shop opens at the corner of the old street. "

    def score(document: str) -> float:
        return float(logits(reranker, QUERY, document)[0])

    assert score(DOCUMENTS["answer"]) > score("A lighthouse stood there.") > score(filler)
    assert score("It ships. " + filler) > score("It sails. " + filler) > score(filler) - 0.05, "a stem is a match, a relative half of one"
    once, twice, thrice = (score("A keeper. " * count + filler * 2) for count in (1, 2, 3))
    assert 0 < thrice - twice < twice - once, "repetition saturates"
    assert score("A keeper. " + filler) > score("A keeper. " + filler * 5), "what is said in passing counts less"
    together, apart = f"{filler * 4}lighthouse keeper {filler * 4}", f"{filler * 2}lighthouse {filler * 4}keeper {filler * 2}"
    assert score(together) > score(apart)


def test_rare_words_are_worth_more() -> None:
    worth = token_worth(1000)
    assert (np.diff(worth) > 0).all()
    assert 0 < worth[0] < 0.05
    assert worth[-1] == pytest.approx(1)


def test_transformers_reads_it_and_agrees(folder: Path, reranker: Reranker) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    template = RerankTemplate(TextTokenizer.load(folder), 512)
    prompts = template.prompts(QUERY, [DOCUMENTS["answer"], DOCUMENTS["other"]])
    with torch.inference_mode():
        rows = [model(torch.tensor([prompt.ids])).logits[0, -1, [template.yes_id, template.no_id]] for prompt in prompts]
    expected = [float(yes - no) for yes, no in rows]
    np.testing.assert_allclose(logits(reranker, QUERY, DOCUMENTS["answer"], DOCUMENTS["other"]), expected, atol=1e-3)


def test_it_is_asked_for_by_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("hub", "registry"):
        monkeypatch.setattr(f"qwen3_rag.models.{module}.nano_folder", lambda kind: folder if kind is ModelKind.RERANKER else FOLDER)
    assert Reranker.load("nano").model == "nano"
    assert [model.dim for model in known_models() if model.name == "nano" and model.kind is ModelKind.RERANKER] == [None]


def test_bfloat16_keeps_the_order(folder: Path, reranker: Reranker) -> None:
    names = ("answer", "one word", "other")
    rough = Reranker.load(str(folder), dtype="bfloat16").score(QUERY, [DOCUMENTS[name] for name in names])
    exact = reranker.score(QUERY, [DOCUMENTS[name] for name in names])
    assert np.isfinite(rough).all()
    assert list(np.argsort(rough)) == list(np.argsort(exact))


def test_every_layer_can_be_trained(folder: Path) -> None:
    network = Network.load(str(folder), ModelKind.RERANKER)
    template = RerankTemplate(network.tokenizer, 512)
    yes, no = network.answer_rows(template.yes_id, template.no_id)
    states = network([prompt.item for prompt in template.prompts(QUERY, [DOCUMENTS["answer"], DOCUMENTS["other"]])])
    (states @ (yes - no)).sum().backward()
    for index, layer in enumerate(network.body.layers):
        for name in ("self_attn.o_proj", "mlp.down_proj"):
            gradient = layer.get_submodule(name).weight.grad
            assert torch.isfinite(gradient).all()
            assert gradient.count_nonzero() > gradient.numel() / 10, f"layer {index}, {name}"


def test_another_model_is_no_embedder_to_build_from(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text('{"normalizer": {"normalizers": []}, "model": {"vocab": {}}}', encoding="utf-8")
    with pytest.raises(ModelFormatError, match="nano embedder"):
        build_reranker(tmp_path / "out", tmp_path)
    with pytest.raises(ModelFormatError, match="nano embedder"):
        build_reranker(tmp_path / "out", tmp_path / "absent")
