"""A process to be killed: ingests the folder argv[2] into the knowledge base argv[1]."""

import sys

from qwen3_rag import KnowledgeBase, Settings
from qwen3_rag.store.language import detect
from tests.fakes import HashEmbedder

if __name__ == "__main__":
    settings = Settings.load(kb=sys.argv[1], chunk_tokens=int(sys.argv[3]))
    with KnowledgeBase.open(settings=settings, embedder=HashEmbedder()) as kb:
        detect("the detector is loaded before the clock runs")
        print("ready", flush=True)
        kb.ingest(sys.argv[2])
        print("done", flush=True)
