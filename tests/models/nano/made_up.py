"""A constructed checkpoint of a few words, whose tables are drawn: what the construction promises has to hold for any."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from qwen3_rag.models.nano.checkpoint import TokenTable, save_checkpoint
from qwen3_rag.models.nano.vocabulary import Vocabulary, build_vocabulary, save_tokenizer

WORDS = ["[PAD]", "[unused0]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "ship", "##s", "sail", "é", "yes", "no", ":", "query", "bird", "night"]
CONTEXT = 32_768


def made_up_vocabulary(folder: Path) -> Vocabulary:
    (folder / "vocab.txt").write_text("\n".join(WORDS) + "\n", encoding="utf-8")
    return build_vocabulary(folder / "vocab.txt")


def made_up_table(vocabulary: Vocabulary, content: int = 72) -> TokenTable:
    generator = np.random.default_rng(5)
    directions = generator.normal(size=(len(vocabulary), content))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    log_weights = generator.uniform(-8, 0, len(vocabulary))
    negligible = [*vocabulary.tokenizer.encode("\n").ids, *vocabulary.tokenizer.encode("\n\n").ids]
    negligible += [vocabulary.marker_id, vocabulary.end_of_text_id]
    log_weights[negligible] = -np.inf
    return TokenTable(directions, log_weights, vocabulary.end_of_text_id)


def made_up_checkpoint(folder: Path, context: int = CONTEXT) -> TokenTable:
    vocabulary = made_up_vocabulary(folder)
    table = made_up_table(vocabulary)
    save_tokenizer(vocabulary, folder, context)
    save_checkpoint(table, folder, seed=3)
    return table
