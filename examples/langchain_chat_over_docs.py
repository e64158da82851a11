"""Ask a folder of documents, with LangChain. From a fresh clone: make demo, then .venv/bin/python examples/langchain_chat_over_docs.py

Without a chat model the answer is the best passage. Name any that LangChain knows, and install what it asks for; questions are yours too:
    .venv/bin/python examples/langchain_chat_over_docs.py --model ollama:qwen3 "who may open the vault at night?"
"""  # noqa: D400

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path
from typing import Any

from langchain_classic.chains import create_retrieval_chain
from langchain_classic.chains.combine_documents import create_stuff_documents_chain
from langchain_classic.chat_models import init_chat_model
from langchain_core.language_models import BaseChatModel, SimpleChatModel
from langchain_core.messages import BaseMessage
from langchain_core.prompts import ChatPromptTemplate

from langchain_qwen3_rag import Qwen3Retriever
from qwen3_rag import KnowledgeBase, Settings

HANDBOOK = Path(__file__).resolve().parent / "handbook"
PROMPT = ChatPromptTemplate.from_template("Answer from the context alone.\nQuestion: {input}\nContext:\n{context}")
BETWEEN = "\n=====\n"


class Quote(SimpleChatModel):
    """Stands in for a chat model: it quotes the first passage of the context."""

    _llm_type = "quote"

    def _call(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> str:
        return str(messages[-1].content).partition("Context:\n")[2].split(BETWEEN)[0]


def main() -> None:
    """Ingest the handbook, then say for each question what was found and what the answer is."""
    parser = argparse.ArgumentParser(description="Ask the example handbook.")
    parser.add_argument("questions", nargs="*", default=["who may open the vault at night?", "may I throw away last year's backup key?"])
    parser.add_argument("--model", help="provider:model, as LangChain's init_chat_model takes it")
    given = parser.parse_args()
    model: BaseChatModel = init_chat_model(given.model) if given.model else Quote()
    settings = Settings.load(exclude=("questions.toml",))
    with tempfile.TemporaryDirectory() as folder, KnowledgeBase.open(folder, settings=settings, embedder="nano") as kb:
        kb.ingest(HANDBOOK)
        answering = create_stuff_documents_chain(model, PROMPT, document_separator=BETWEEN)
        chain = create_retrieval_chain(Qwen3Retriever(store=kb, k=3), answering)
        for question in given.questions:
            print(f"\n\n> {question}")
            for part in chain.stream({"input": question}):
                for document in part.get("context", []):
                    print(f"  {document.metadata['retrieval_score']:.2f} {Path(document.metadata['source']).relative_to(HANDBOOK)}")
                print(part.get("answer", ""), end="", flush=True)


if __name__ == "__main__":
    main()
