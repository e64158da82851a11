"""Qwen3 embedding models: queries and documents in, L2-normalised vectors out, at any Matryoshka dimension.

Formula of the Qwen3 Embedding paper (arXiv 2506.05176): hidden state of the end-of-text token in the last layer, truncated to `dim`,
cast to float32, then normalised; in that order. Concurrent callers, threads or tasks, share batches. This module knows no template text
and no tensors.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, Self

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from qwen3_rag.errors import ConfigurationError, DimensionError, EmbeddingSpaceError
from qwen3_rag.models.base import ResultArray
from qwen3_rag.models.hub import ModelKind
from qwen3_rag.models.loading import Loaded, load
from qwen3_rag.models.prompts import TEMPLATE_VERSION, EmbeddingTemplate, Prompt
from qwen3_rag.models.query_cache import QueryCache
from qwen3_rag.models.scheduling import Computed, Reduction, Rows
from qwen3_rag.types import EmbeddingSpace

MIN_DIM = 32
_SHORT_CHARACTERS = 4096

P = ParamSpec("P")

logger = logging.getLogger(__name__)


class Embedder:
    """A Qwen3 embedding model. Safe to call from several threads.

    ```python
    embedder = Embedder.load("nano", dim=128)
    documents = embedder.embed_documents(["Keys are rotated every 90 days.", "Lunch is at noon."])
    queries = embedder.embed_queries(["how are keys rotated?"])
    print(queries @ documents.T)
    ```
    """

    def __init__(self, loaded: Loaded, dim: int | None = None) -> None:
        self._loaded = loaded
        self._template = EmbeddingTemplate(loaded.tokenizer, loaded.checkpoint.context)
        self._dim = self.check_dim(self.hidden_size if dim is None else dim)
        self._cache = QueryCache()

    @classmethod
    def load(cls, model: str, *, dim: int | None = None, dtype: str = "auto", device: str = "auto", quantization: str = "none") -> Self:
        """Load a checkpoint: a hub id, a local folder, or `"nano"`.

        `dim` is the default dimension of the vectors, from 32 to the model's hidden size; None is the latter. `dtype` is `"auto"`,
        `"float32"`, `"bfloat16"` or `"float16"`; `device` is `"auto"`, `"cpu"`, `"cuda"`, `"cuda:1"` or `"mps"`; `quantization` is
        `"none"` or, on the CPU, `"int8"`.

        Raises:
            MissingExtraError: torch or transformers is not installed.
            ConfigurationError: unknown dtype, device or quantization.
            DimensionError: `dim` outside what the model offers.
            ModelNotFoundError: no such folder, and the hub does not have it or cannot be reached.
            ModelFormatError: the folder holds no Qwen3 embedding checkpoint.
        """
        return cls(load(model, ModelKind.EMBEDDER, dtype, device, quantization), dim)

    def __copy__(self) -> Self:
        """Nothing in it changes, and a model in memory twice helps nobody: what holds it may be copied, and shares it."""
        return self

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """As `__copy__`."""
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        """For worker processes: it is loaded there by its name, as it was here, and must make vectors of the same space."""
        if self._loaded.asked is None:
            raise TypeError(f"{self.model} has no name to load it by in another process. Save it, and use Embedder.load there.")
        return _loaded_again, (type(self), self.model, self._dim, self._loaded.asked, self.fingerprint)

    @property
    def model(self) -> str:
        """The name it was loaded by; of a local folder, its absolute path."""
        return self._loaded.name

    @property
    def dim(self) -> int:
        """Default dimension of its vectors."""
        return self._dim

    @property
    def hidden_size(self) -> int:
        """The largest dimension."""
        return self._loaded.checkpoint.hidden_size

    @property
    def max_tokens(self) -> int:
        """Longest text in tokens, the end-of-text token included."""
        return self._loaded.checkpoint.context

    @property
    def tokenizer(self) -> Tokenizer:
        """Encodes text as the model will read it: without truncation, padding or special tokens."""
        return self._loaded.tokenizer.plain

    @property
    def space(self) -> EmbeddingSpace:
        """What makes its vectors comparable, at its default dim."""
        return EmbeddingSpace(self.model, self._loaded.checkpoint.revision, self._dim, TEMPLATE_VERSION)

    @property
    def fingerprint(self) -> str:
        """Fingerprint of `space`."""
        return self.space.fingerprint

    def embed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        """Embed queries, each after its instruction. A query asked again is answered from a small cache.

        Returns float32 of shape (n, dim), rows L2-normalised, with `truncated` for each text.

        Raises:
            ConfigurationError: not a sequence of strings, or an instruction that leaves no room.
            DimensionError: `dim` outside 32 and the hidden size.
            NonFiniteError: the model computed NaN or infinity.
            ModelMemoryError: one text alone needs more memory than there is.
            OverloadedError: too many callers wait already.
        """
        call = self._queries(texts, instruction, dim)
        return call.finish(self._loaded.inference.run(call.items, call.reduction))

    def embed_documents(self, texts: Sequence[str], dim: int | None = None) -> ResultArray:
        """Embed documents as they are. Returns and raises as `embed_queries`."""
        call = self._documents(texts, dim)
        return call.finish(self._loaded.inference.run(call.items, call.reduction))

    async def aembed_queries(self, texts: Sequence[str], instruction: str | None = None, dim: int | None = None) -> ResultArray:
        """`embed_queries` for tasks: they share batches, and a cancelled one is not computed."""
        return await self._afinish(await _prepared(texts, self._queries, texts, instruction, dim))

    async def aembed_documents(self, texts: Sequence[str], dim: int | None = None) -> ResultArray:
        """`embed_documents` for tasks: they share batches, and a cancelled one is not computed."""
        return await self._afinish(await _prepared(texts, self._documents, texts, dim))

    async def _afinish(self, call: _Call) -> ResultArray:
        computed = await asyncio.wrap_future(self._loaded.inference.submit(call.items, call.reduction))
        return call.finish(computed)

    def _queries(self, texts: Sequence[str], instruction: str | None, dim: int | None) -> _Call:
        width = self.check_dim(self._dim if dim is None else dim)
        queries = checked_texts("texts", texts)
        known = [self._cache.get((instruction, width, query)) for query in queries]
        unknown = [index for index, found in enumerate(known) if found is None]
        prompts = self._template.queries([queries[index] for index in unknown], instruction)

        def keep(vectors: Rows) -> ResultArray:
            for row, (index, prompt) in enumerate(zip(unknown, prompts, strict=True)):
                known[index] = self._cache.put((instruction, width, queries[index]), vectors[row], truncated=prompt.truncated)
            found = [entry for entry in known if entry is not None]
            rows = np.stack([entry.vector for entry in found]) if found else np.empty((0, width), dtype=np.float32)
            return ResultArray.of(rows, [entry.truncated for entry in found])

        return _Call(prompts, self._reduction(width), self._told("queries", keep))

    def _documents(self, texts: Sequence[str], dim: int | None) -> _Call:
        width = self.check_dim(self._dim if dim is None else dim)
        prompts = self._template.documents(checked_texts("texts", texts))
        truncated = [prompt.truncated for prompt in prompts]
        return _Call(prompts, self._reduction(width), self._told("documents", lambda vectors: ResultArray.of(vectors, truncated)))

    def _reduction(self, dim: int) -> Reduction:
        return Reduction(lambda states: normalised(states[:, :dim]), (dim,))

    def _told(self, role: str, keep: Callable[[Rows], ResultArray]) -> Callable[[Rows], ResultArray]:
        """`keep`, and a line in the log when texts were cut."""

        def told(vectors: Rows) -> ResultArray:
            result = keep(vectors)
            if result.truncated is not None and (cut := int(result.truncated.sum())):
                logger.warning("%d of %d %s were cut to the %d tokens that %s reads", cut, len(result), role, self.max_tokens, self.model)
            return result

        return told

    def check_dim(self, dim: int) -> int:
        """`dim`, if vectors of so many dimensions can be had.

        Raises:
            DimensionError: they cannot.
        """
        least, most = min(MIN_DIM, self.hidden_size), self.hidden_size
        if not isinstance(dim, int | np.integer) or isinstance(dim, bool) or not least <= dim <= most:
            raise DimensionError(f"An embedding dimension of {dim!r} is not possible with {self.model}. `dim` can be {least} to {most}.")
        return int(dim)


def _loaded_again(kind: type[Embedder], model: str, dim: int, asked: dict[str, str], fingerprint: str) -> Embedder:
    embedder = kind.load(model, dim=dim, **asked)
    if embedder.fingerprint != fingerprint:
        raise EmbeddingSpaceError(
            f"{model} has weights of another revision here than in the process that sent it: they make vectors of {embedder.space}. "
            "Bring the same weights to both."
        )
    return embedder


class _Call:
    """One call's prompts, what is kept of their hidden states, and how its result is made of that."""

    def __init__(self, prompts: Sequence[Prompt], reduction: Reduction, keep: Callable[[Rows], ResultArray]) -> None:
        self.items = [prompt.item for prompt in prompts]
        self.reduction = reduction
        self._keep = keep

    def finish(self, computed: Computed) -> ResultArray:
        """The result."""
        return self._keep(computed.rows)


async def _prepared(texts: Sequence[str], prepare: Callable[P, _Call], *args: P.args, **options: P.kwargs) -> _Call:
    """Tokenizing much text is work for a thread; a few words are done at once."""
    if isinstance(texts, list | tuple) and sum(len(text) for text in texts if isinstance(text, str)) <= _SHORT_CHARACTERS:
        return prepare(*args, **options)
    return await asyncio.to_thread(prepare, *args, **options)


def normalised(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Rows divided by their L2 norm; a row of zeros stays one."""
    norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    result: NDArray[np.float32] = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return result


def checked_texts(argument: str, texts: Any) -> list[str]:
    """`texts` as a list, if it is one of strings.

    Raises:
        ConfigurationError: it is a single string, or holds something else.
    """
    if isinstance(texts, str | bytes) or not hasattr(texts, "__iter__"):
        raise ConfigurationError(f"`{argument}` must be a list of strings, not a single {type(texts).__name__}. Write [text] for one text.")
    items = list(texts)
    for item in items:
        if not isinstance(item, str):
            raise ConfigurationError(f"`{argument}` must be a list of strings; it holds a {type(item).__name__}.")
    return items
