"""What sentence-transformers reads beside the weights: modules, pooling, prompts, and a tokenizer that ends each text itself.

File formats: https://sbert.net/docs/sentence_transformer/usage/custom_models.html. The library itself is not needed here.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, processors

from qwen3_rag.models.checkpoint import Checkpoint
from qwen3_rag.models.prompts import END_OF_TEXT, query_text
from qwen3_rag.models.tokenization import TOKENIZER_FILE, TextTokenizer
from qwen3_rag.training.weights import write_json

TOKENIZER_CONFIG = "tokenizer_config.json"
_MODULES = (
    ("", "sentence_transformers.models.Transformer"),
    ("1_Pooling", "sentence_transformers.models.Pooling"),
    ("2_Normalize", "sentence_transformers.models.Normalize"),
)


def write_modules(folder: Path, checkpoint: Checkpoint) -> None:
    """Make a folder with weights, configuration and tokenizer one that `SentenceTransformer(folder)` loads."""
    modules = [{"idx": index, "name": str(index), "path": path, "type": kind} for index, (path, kind) in enumerate(_MODULES)]
    write_json(folder / "modules.json", modules)
    for path, _ in _MODULES[1:]:
        (folder / path).mkdir()
    pooling = {"word_embedding_dimension": checkpoint.hidden_size, "pooling_mode_lasttoken": True, "include_prompt": True}
    others = ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens", "weightedmean_tokens")
    write_json(folder / "1_Pooling" / "config.json", pooling | {f"pooling_mode_{other}": False for other in others})
    write_json(folder / "2_Normalize" / "config.json", {})
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": checkpoint.context, "do_lower_case": False})
    prompts = {"query": query_text(""), "document": ""}
    described = {"prompts": prompts, "default_prompt_name": None, "similarity_fn_name": "cosine"}
    write_json(folder / "config_sentence_transformers.json", described)
    _end_each_text(folder)


def _end_each_text(folder: Path) -> None:
    """Have the tokenizer add the end-of-text token once, as the embedding models expect it; a tokenizer that does is left as it is."""
    tokenizer = Tokenizer.from_file(str(folder / TOKENIZER_FILE))
    end = TextTokenizer.load(folder).special_id(END_OF_TEXT)
    if tokenizer.encode("a").ids.count(end) != 1:
        template = processors.TemplateProcessing(
            single=f"$A {END_OF_TEXT}", pair=f"$A {END_OF_TEXT} $B:1 {END_OF_TEXT}:1", special_tokens=[(END_OF_TEXT, end)]
        )
        before = tokenizer.post_processor
        tokenizer.post_processor = template if before is None else processors.Sequence([before, template])
        tokenizer.save(str(folder / TOKENIZER_FILE))
    _complete_config(folder / TOKENIZER_CONFIG)


def _complete_config(path: Path) -> None:
    """Name what a batch is padded with, and a class that takes `tokenizer.json` as it is."""
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    config.setdefault("eos_token", END_OF_TEXT)
    config.setdefault("pad_token", END_OF_TEXT)
    write_json(path, config | {"tokenizer_class": "PreTrainedTokenizerFast"})
