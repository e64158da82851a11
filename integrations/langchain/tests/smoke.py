"""Uses each class once, with nano, in a folder of its own. It needs the installed package and nothing of the repository."""

from __future__ import annotations

import asyncio
import importlib.metadata
import tempfile
from collections.abc import Sequence
from pathlib import Path

from langchain_core.documents import Document
from langchain_core.indexing import index

import langchain_qwen3_rag
from langchain_qwen3_rag import Qwen3Embeddings, Qwen3RecordManager, Qwen3Reranker, Qwen3Retriever, Qwen3VectorStore
from qwen3_rag.models.base import ResultArray

DOCUMENTS = [
    Document("Keys are rotated every 90 days.", metadata={"source": "security.md"}),
    Document("Lunch is served at noon.", metadata={"source": "canteen.md"}),
]


class Shortest:
    """A reranker that prefers short documents."""

    model = "shortest"

    def score(self, query: str, documents: Sequence[str], instruction: str | None = None) -> ResultArray:
        import numpy as np

        return ResultArray.of(np.array([1 / len(document) for document in documents], dtype=np.float32), [False] * len(documents))


def main() -> None:
    assert (Path(langchain_qwen3_rag.__file__).parent / "py.typed").is_file()
    assert any(str(path).endswith("LICENSE") for path in importlib.metadata.files("langchain-qwen3-rag") or [])
    embeddings = Qwen3Embeddings("nano", dim=128)
    with (
        tempfile.TemporaryDirectory() as folder,
        Qwen3VectorStore(folder, embeddings, reranker=Shortest()) as store,
        Qwen3RecordManager("smoke", folder) as records,
    ):
        assert index(DOCUMENTS, records, store, cleanup="full", key_encoder="sha256")["num_added"] == 2
        assert index(DOCUMENTS, records, store, cleanup="full", key_encoder="sha256")["num_skipped"] == 2
        assert store.similarity_search("when do we eat?", k=1)[0].metadata == {"source": "canteen.md"}
        retriever = Qwen3Retriever(store=store, rerank=False, filter={"source": {"$ne": "canteen.md"}})
        found = asyncio.run(retriever.ainvoke("when do we eat?"))
        assert [document.page_content for document in found] == [DOCUMENTS[0].page_content]
        best = Qwen3Reranker(reranker=Shortest(), top_n=1).compress_documents(DOCUMENTS, "anything")
        assert best[0].page_content == DOCUMENTS[1].page_content
    print("langchain-qwen3-rag", importlib.metadata.version("langchain-qwen3-rag"), "works")


if __name__ == "__main__":
    main()
