"""`Qwen3NodeParser`: the core's chunker as a LlamaIndex node parser. It reads no files and embeds nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from llama_index.core.bridge.pydantic import Field, PrivateAttr
from llama_index.core.node_parser.interface import NodeParser
from llama_index.core.node_parser.node_utils import build_nodes_from_splits, default_id_func
from llama_index.core.schema import BaseNode, MetadataMode, TextNode
from llama_index.core.schema import Document as SourceDocument
from llama_index.core.utils import get_tqdm_iterable
from tokenizers import Tokenizer

from qwen3_rag.chunking import Chunker
from qwen3_rag.errors import ConfigurationError
from qwen3_rag.models.base import EmbedderLike
from qwen3_rag.settings import DEFAULT_EMBEDDER, ChunkingSettings
from qwen3_rag.sources.formats import Format, format_by_name, language_of
from qwen3_rag.store.points import assign_point_ids
from qwen3_rag.types import Chunk, Document, Syntax

HEADINGS = "headings"
"""Metadata key of the path of headings above a node."""
BETWEEN = " > "
AUTO = "auto"

LEAST_TOKENS = 16
LEAST_ROOM = 8
_FILE_KEYS = ("file_path", "file_name", "path", "filename", "source")
_SYNTAXES = {
    Format.MARKDOWN: Syntax.MARKDOWN,
    Format.CODE: Syntax.CODE,
    Format.JSON_LINES: Syntax.RECORDS,
    Format.TABLE: Syntax.RECORDS,
}


class Qwen3NodeParser(NodeParser):
    """Cuts documents along their sections into nodes of at most `chunk_size` of the embedder's own tokens.

    Metadata that is embedded with a node, its headings among it, counts. Spans are exact: `document.text[start_char_idx:end_char_idx]` is
    the node's text. Ids depend on the document's id and the node's content alone, so that parsing again gives them again.

    Example:
        >>> parser = Qwen3NodeParser("nano", chunk_size=256)  # doctest: +SKIP
        >>> nodes = parser.get_nodes_from_documents(documents)  # doctest: +SKIP
    """

    model_name: str = Field(description="The model whose tokens are counted.")
    chunk_size: int = Field(default=512, ge=LEAST_TOKENS, description="Most tokens of a node, embedded metadata included.")
    chunk_overlap: int = Field(default=0, ge=0, description="Tokens that neighbours share.")
    syntax: str = Field(default=AUTO, description="text, markdown, code or records; auto goes by the file's name in the metadata.")
    fingerprint: str = Field(default="", description="Of the settings and of how chunks are made.")

    _tokenizer: Tokenizer = PrivateAttr()

    def __init__(
        self,
        model_name: str | None = None,
        *,
        embedder: EmbedderLike | None = None,
        chunk_size: int = 512,
        chunk_overlap: int = 0,
        syntax: Syntax | str = AUTO,
        **base: Any,
    ) -> None:
        """Count in the tokens of a model by name, of which only the tokenizer is loaded, or of an embedder.

        Args:
            model_name: a hub id, a local folder or `"nano"`; None is `Qwen/Qwen3-Embedding-0.6B`.
            embedder: an embedder, instead of a name.
            chunk_size: most tokens of a node.
            chunk_overlap: tokens that neighbours share, at most half of `chunk_size`.
            syntax: text, markdown, code or records; `"auto"` goes by the file's name in the metadata.
            base: `include_metadata`, `include_prev_next_rel`, `id_func` and what every LlamaIndex node parser takes.

        Raises:
            ConfigurationError: an unknown syntax, or an overlap of more than half of the size.
            ModelNotFoundError: the tokenizer is neither here nor on the hub.
        """
        name = embedder.model if embedder is not None else model_name or DEFAULT_EMBEDDER
        tokenizer = embedder.tokenizer if embedder is not None else _tokenizer(name)
        chunker = Chunker(tokenizer, ChunkingSettings(chunk_size, chunk_overlap))
        fields = {"chunk_size": chunk_size, "chunk_overlap": chunk_overlap, "syntax": _checked(syntax), "model_name": name}
        base.pop("fingerprint", None)
        super().__init__(**cast("dict[str, Any]", {**fields, **base, "fingerprint": chunker.fingerprint}))
        self._tokenizer = tokenizer

    @classmethod
    def class_name(cls) -> str:
        """The name in serialised form."""
        return "Qwen3NodeParser"

    def _parse_nodes(self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any) -> list[BaseNode]:
        documents = get_tqdm_iterable(nodes, show_progress, "Parsing nodes")
        return [node for document in documents for node in self._nodes(document)]

    async def _aparse_nodes(self, nodes: Sequence[BaseNode], show_progress: bool = False, **kwargs: Any) -> list[BaseNode]:
        return await asyncio.to_thread(self._parse_nodes, nodes, show_progress, **kwargs)

    def _postprocess_parsed_nodes(self, nodes: list[BaseNode], parent_doc_map: dict[str, SourceDocument]) -> list[BaseNode]:
        """Relationships and metadata as everywhere; but spans stay as they were cut, not as the text is found again."""
        spans = {node.node_id: _span(node) for node in nodes}
        for node in super()._postprocess_parsed_nodes(nodes, parent_doc_map):
            if isinstance(node, TextNode):
                node.start_char_idx, node.end_char_idx = spans[node.node_id]
        return nodes

    def _nodes(self, source: BaseNode) -> list[BaseNode]:
        document = Document(source.node_id, source.get_content(metadata_mode=MetadataMode.NONE), **self._written(source))
        settings = ChunkingSettings(self._room(source), min(self.chunk_overlap, self._room(source) // 2))
        chunks = Chunker(self._tokenizer, settings).chunk(document)
        nodes = build_nodes_from_splits([chunk.text for chunk in chunks], source, id_func=self.id_func)
        ids = assign_point_ids(chunks) if self.id_func is default_id_func else [node.node_id for node in nodes]
        offset = source.start_char_idx or 0 if isinstance(source, TextNode) else 0
        return [_placed(node, chunk, node_id, offset) for node, chunk, node_id in zip(nodes, chunks, ids, strict=True)]

    def _written(self, source: BaseNode) -> dict[str, Any]:
        """How the document is written: as said, else by the name of its file."""
        name = next((Path(str(source.metadata[key])) for key in _FILE_KEYS if source.metadata.get(key)), None)
        code = language_of(name) if name else None
        if self.syntax != AUTO:
            return {"syntax": Syntax(self.syntax), "code": code}
        format_ = format_by_name(name) if name else None
        return {"syntax": _SYNTAXES.get(format_, Syntax.TEXT) if format_ else Syntax.TEXT, "code": code}

    def _room(self, source: BaseNode) -> int:
        """What the metadata that are embedded with every node leave of `chunk_size`."""
        frame = TextNode(
            text="",
            metadata={**(source.metadata if self.include_metadata else {}), HEADINGS: ""},
            excluded_embed_metadata_keys=source.excluded_embed_metadata_keys,
            metadata_template=source.metadata_template,
            metadata_separator=source.metadata_separator,
        )
        taken = len(self._tokenizer.encode(f"{frame.get_metadata_str(MetadataMode.EMBED)}\n\n", add_special_tokens=False).ids)
        if self.chunk_size - taken < LEAST_ROOM:
            raise ConfigurationError(
                f"The metadata of document {source.node_id!r} take {taken} of chunk_size={self.chunk_size} tokens: too little is left for "
                "text. Raise chunk_size, name keys in excluded_embed_metadata_keys, or parse with include_metadata=False."
            )
        return self.chunk_size - taken


def _placed(node: TextNode, chunk: Chunk, node_id: str, offset: int) -> BaseNode:
    node.id_ = node_id
    node.start_char_idx, node.end_char_idx = chunk.start + offset, chunk.end + offset
    node.relationships = dict(node.relationships)
    node.embedding = None
    if chunk.headings:
        node.metadata[HEADINGS] = BETWEEN.join(chunk.headings)
    return node


def _span(node: BaseNode) -> tuple[int | None, int | None]:
    return (node.start_char_idx, node.end_char_idx) if isinstance(node, TextNode) else (None, None)


def _tokenizer(model: str) -> Tokenizer:
    from qwen3_rag.models.hub import ModelKind, tokenizer_folder
    from qwen3_rag.models.tokenization import TextTokenizer

    return TextTokenizer.load(tokenizer_folder(model, ModelKind.EMBEDDER)).plain


def _checked(syntax: Syntax | str) -> str:
    known = [AUTO, *Syntax]
    if syntax not in known:
        raise ConfigurationError(f"syntax={syntax!r} is not known. Known: {', '.join(known)}.")
    return str(syntax)
