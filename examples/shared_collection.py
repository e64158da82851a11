"""One collection, three readers. From a fresh clone: make demo, then .venv/bin/python examples/shared_collection.py.

LangChain writes, LlamaIndex and the core find what it wrote; LlamaIndex adds to it, and LangChain finds that. They share vectors, BM25 and
filters, since all of them use the core's schema; the knowledge base could ingest folders beside.
"""

import tempfile

from langchain_core.documents import Document
from llama_index.core.schema import TextNode
from llama_index.retrievers.qwen3_rag import Qwen3Retriever
from llama_index.vector_stores.qwen3_rag import Qwen3VectorStore as LlamaIndexStore

from langchain_qwen3_rag import Qwen3VectorStore as LangChainStore
from qwen3_rag import KnowledgeBase

QUESTION = "how often are keys rotated?"
WRITTEN_BY_LANGCHAIN = [
    Document("Keys are rotated every 90 days.", id="keys", metadata={"team": "platform", "source": "security.md"}),
    Document("Lunch is served at noon.", id="lunch", metadata={"team": "office", "source": "canteen.md"}),
]
WRITTEN_BY_LLAMA_INDEX = TextNode(id_="rota", text="The rota of the watch changes on Mondays.", metadata={"team": "platform"})


def main() -> None:
    """Write with the one, read with the others."""
    with tempfile.TemporaryDirectory() as folder, KnowledgeBase.open(folder, embedder="nano") as kb:
        lang_chain, llama_index = LangChainStore(kb), LlamaIndexStore(kb)

        lang_chain.add_documents(WRITTEN_BY_LANGCHAIN)
        hit = kb.search(QUESTION, top_k=1)[0]
        print(f"core:       {hit.id} {hit.text} {dict(hit.metadata)}")
        found = Qwen3Retriever(llama_index, top_k=1, filters={"team": "platform"}).retrieve(QUESTION)[0]
        print(f"LlamaIndex: {found.node_id} {found.text} {found.node.metadata['source']}")

        llama_index.add([WRITTEN_BY_LLAMA_INDEX])
        document = lang_chain.similarity_search("when does the rota change?", k=1, filter={"team": "platform"})[0]
        print(f"LangChain:  {document.id} {document.page_content} {document.metadata}")

        llama_index.delete_nodes(["lunch"])
        print(f"left:       {sorted(node.node_id for node in llama_index.get_nodes())}, counted by the core: {kb.status().passages}")


if __name__ == "__main__":
    main()
