"""Checkpoint folders that this package, transformers and sentence-transformers all load, with the same weights.

`official` has the shape of the 0.6B pair with random weights, fewer layers and the real tokenizer: speed does not depend on what weights
say. `nano` is the checkpoint of this package with the files that sentence-transformers wants besides.
"""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.harness import ROOT, require

TOKENIZER = ROOT.parent / "shared" / "qwen3-tokenizer"
END = "<|endoftext|>"
CONTEXT = 32_768
TASK = "Given a web search query, retrieve relevant passages that answer the query"
JUDGE = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)
RERANK_PREFIX = f"<|im_start|>system\n{JUDGE}<|im_end|>\n<|im_start|>user\n"
RERANK_SUFFIX = "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
_ROLE = "{{{{ messages | selectattr('role', 'eq', '{role}') | map(attribute='content') | first }}}}"
RERANK_TEMPLATE = (
    f"{RERANK_PREFIX}<Instruct>: {TASK}\n<Query>: {_ROLE.format(role='query')}\n<Document>: {_ROLE.format(role='document')}"
    # Jinja drops one newline at the end of a template.
    f"{RERANK_SUFFIX}\n"
)
"""The card's prompt as sentence-transformers 5.4 and later wants it: a chat template with the roles query and document."""


@contextmanager
def official(layers: int, *, reranker: bool = False) -> Iterator[Path]:
    """A folder with random float32 weights of the 0.6B shape, gone afterwards: an embedding checkpoint, or a reranker."""
    require(TOKENIZER / "tokenizer.json")
    with tempfile.TemporaryDirectory(prefix="qwen3-rag-benchmark-") as name:
        folder = Path(name)
        _write_weights(folder, layers)
        shutil.copy(TOKENIZER / "tokenizer_config.json", folder)
        shutil.copy(TOKENIZER / "tokenizer.json", folder)
        if reranker:
            _set_chat_template(folder, RERANK_TEMPLATE)
        else:
            _append_end(folder)
            _write_modules(folder, hidden_size=1024)
        yield folder


@contextmanager
def nano() -> Iterator[Path]:
    """A folder with the nano checkpoint for sentence-transformers, in float32, gone afterwards."""
    from safetensors.torch import load_file, save_file

    import qwen3_rag

    source = Path(qwen3_rag.__file__).parent / "models" / "nano"
    config = json.loads((source / "config.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="qwen3-rag-nano-") as name:
        folder = Path(name)
        for file in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(source / file, folder)
        _write_json(folder / "config.json", {**config, "dtype": "float32"})
        weights = load_file(source / "model.safetensors")
        save_file({key: weight.float() for key, weight in weights.items()}, folder / "model.safetensors", {"format": "pt"})
        _append_end(folder)
        _write_modules(folder, hidden_size=config["hidden_size"])
        yield folder


def _write_weights(folder: Path, layers: int) -> None:
    """Saved with the `model.` prefix and a tied head, as `Qwen3ForCausalLM` is; norms are ones, the rest is normal with std 0.02."""
    import torch
    from safetensors.torch import save_file
    from transformers import Qwen3Config, Qwen3Model

    config = Qwen3Config(
        architectures=["Qwen3ForCausalLM"],
        vocab_size=151_669,
        hidden_size=1024,
        intermediate_size=3072,
        num_hidden_layers=layers,
        num_attention_heads=16,
        num_key_value_heads=8,
        head_dim=128,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 1_000_000.0},
        bos_token_id=151_643,
        eos_token_id=151_645,
        dtype=torch.float32,
    )
    with torch.device("meta"):
        shapes = {f"model.{name}": parameter.shape for name, parameter in Qwen3Model(config).named_parameters()}
    generator = torch.Generator().manual_seed(11)
    weights = {
        key: torch.ones(shape) if len(shape) == 1 else torch.empty(shape).normal_(std=0.02, generator=generator)
        for key, shape in shapes.items()
    }
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    config.save_pretrained(folder)


def _append_end(folder: Path) -> None:
    """Give the tokenizer the post-processor of the official embedding checkpoints: the end-of-text token after every text."""
    from tokenizers import Tokenizer, processors

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    end = tokenizer.token_to_id(END)
    ours: Any = processors.TemplateProcessing(single=f"$A {END}", special_tokens=[(END, end)])
    former = tokenizer.post_processor
    tokenizer.post_processor = processors.Sequence([former, ours]) if former is not None else ours
    tokenizer.save(str(folder / "tokenizer.json"))


def _set_chat_template(folder: Path, template: str) -> None:
    path = folder / "tokenizer_config.json"
    config = json.loads(path.read_text(encoding="utf-8"))
    path.write_text(json.dumps({**config, "chat_template": template}, ensure_ascii=False), encoding="utf-8")


def _write_modules(folder: Path, hidden_size: int) -> None:
    """The three modules of the official embedding checkpoints: transformer, last-token pooling, normalisation."""
    names = {"": "Transformer", "1_Pooling": "Pooling", "2_Normalize": "Normalize"}
    modules = [
        {"idx": index, "name": str(index), "path": path, "type": f"sentence_transformers.models.{name}"}
        for index, (path, name) in enumerate(names.items())
    ]
    pooling = {"word_embedding_dimension": hidden_size, "pooling_mode_mean_tokens": False, "pooling_mode_lasttoken": True}
    prompts = {"prompts": {"query": f"Instruct: {TASK}\nQuery:", "document": ""}, "similarity_fn_name": "cosine"}
    (folder / "1_Pooling").mkdir()
    (folder / "2_Normalize").mkdir()
    _write_json(folder / "modules.json", modules)
    _write_json(folder / "1_Pooling" / "config.json", pooling)
    _write_json(folder / "config_sentence_transformers.json", prompts)
    _write_json(folder / "sentence_bert_config.json", {"max_seq_length": CONTEXT, "do_lower_case": False})


def _write_json(path: Path, value: object) -> None:
    path.write_text(json.dumps(value, indent=2), encoding="utf-8")
