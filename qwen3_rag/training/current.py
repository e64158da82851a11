"""The network as it is in the middle of training, as an embedder and as a reranker, so that it can be judged like any other."""

from __future__ import annotations

from qwen3_rag.models.embedder import Embedder
from qwen3_rag.models.inference import Inference
from qwen3_rag.models.loading import Loaded
from qwen3_rag.models.reranker import Reranker
from qwen3_rag.training.network import Network

_NAME = "the model in training"


def current_embedder(network: Network) -> Embedder:
    """To be used before the next step."""
    return Embedder(_loaded(network))


def current_reranker(network: Network) -> Reranker:
    """It answers with the rows of the head that are being trained, which are in no file yet. To be used before the next step."""
    yes, no = (network.tokenizer.word_id(word) for word in ("yes", "no"))
    loaded = _loaded(network)
    rows = [row.detach().float() for row in network.answer_rows(yes, no)]
    return Reranker(loaded, (rows[0] - rows[1]).cpu().numpy())


def _loaded(network: Network) -> Loaded:
    network.eval()
    network.refresh()
    return Loaded(_NAME, network.checkpoint, network.tokenizer, Inference(network.running, _NAME))
