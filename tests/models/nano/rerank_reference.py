"""What nano's reranker is meant to compute, from its token rows and the formula, without a network."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from safetensors.numpy import load_file

from qwen3_rag.models.nano.reranker_layers import COMPARED, FEATURES, SIZE, Feature, Formula
from qwen3_rag.models.tokenization import TextTokenizer


def silu(values: np.ndarray) -> np.ndarray:
    return values / (1 + np.exp(-values))


class RerankReference:
    def __init__(self, folder: Path, formula: Formula) -> None:
        self.tokenizer = TextTokenizer.load(folder)
        self.rows = load_file(folder / "model.safetensors")["model.embed_tokens.weight"].astype(np.float64)
        self.formula = formula

    def logit(self, query: str, document: str) -> float:
        """Log-odds of yes. Squashed a little by the final norm."""
        gain, loss = self.parts(query, document)
        return float(2 * (gain - loss) / np.sqrt(1 + (gain - loss) ** 2 / self.rows.shape[1]))

    def parts(self, query: str, document: str) -> tuple[float, float]:
        """What speaks for yes and for no. The marker that begins a part counts as a token of it, which matches nothing."""
        f = self.formula
        query_ids, ids = self.tokenizer.encode(f" {query}"), self.tokenizer.encode(f" {document}")
        weights = self._weights(query_ids)
        term = self._terms(query_ids, ids)
        distance = np.subtract.outer(np.arange(len(ids)), np.arange(len(ids)))
        window = np.tril(np.exp(-((distance / f.window) ** 2) / 2))
        nearby = np.array([window[row, : row + 1] @ term[: row + 1] for row in range(len(ids))])
        nearby /= window.sum(1) + np.exp(-(((np.arange(len(ids)) + 1) / f.window) ** 2) / 2)
        pair = silu(f.nearness * nearby) / f.nearness * term
        gain = f.score_scale * (term + f.pair_weight * pair).sum() / (1 + (len(ids) + 1) / f.length)
        return gain, f.query_scale * weights.sum() / (1 + (len(query_ids) + 1) / f.query_length) + f.bias

    def _terms(self, query_ids: Sequence[int], ids: Sequence[int]) -> np.ndarray:
        f = self.formula
        query, document = (self.rows[list(part), :COMPARED] / SIZE for part in (query_ids, ids))
        met = np.exp(f.sharpness * (document @ query.T - 1) + f.query_offset)
        own = np.tril(np.exp(f.sharpness * (document @ document.T - 1))).sum(1)
        total = met.sum(1) + own + 2 * np.exp(f.sharpness * (f.threshold - 1))
        match, weighted = met.sum(1) / total, met @ self._weights(query_ids) / total
        return silu(f.saturation * match) / f.saturation * weighted * f.term_scale

    def _weights(self, ids: Sequence[int]) -> np.ndarray:
        return self.rows[list(ids), self.rows.shape[1] - FEATURES + Feature.WEIGHT]
