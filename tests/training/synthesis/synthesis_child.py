"""One run of synthesis in a process of its own, to be killed: URL, passages, output."""

from __future__ import annotations

import sys
from pathlib import Path

from qwen3_rag.training.synthesis.settings import FilterSettings, ServerSettings, SynthesisSettings
from qwen3_rag.training.synthesis.synthesize import synthesize


def settings_for(url: str, passages: Path, output: Path) -> tuple[SynthesisSettings, ServerSettings, FilterSettings]:
    server = ServerSettings(url=f"{url}/v1", model="small", concurrency=3, timeout=10.0, retries=1)
    return SynthesisSettings(passages=passages, output=output, embedder="nano", per_passage=3), server, FilterSettings(least_similarity=0.1)


if __name__ == "__main__":
    arguments = settings_for(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
    print("ready", flush=True)
    synthesize(*arguments)
    print("done", flush=True)
