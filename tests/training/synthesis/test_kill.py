"""`kill -9` in the middle of synthesis, then the same again: no answer that arrived is asked for twice, and the pairs are the same."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from qwen3_rag.training.synthesis.synthesize import synthesize
from tests.models.remote.server import InferenceServer, Json
from tests.training.synthesis.chat_server import ChatModel
from tests.training.synthesis.synthesis_child import settings_for

ROOT = Path(__file__).parent.parent.parent.parent


@pytest.mark.parametrize("kills", [1, pytest.param(12, marks=[pytest.mark.slow, pytest.mark.timeout(900)])], ids=["once", "often"])
def test_killed_at_random_moments(kills: int, chat: InferenceServer, model: ChatModel, passages_file: Path, tmp_path: Path):
    unbroken = tmp_path / "unbroken.jsonl"
    wanted = synthesize(*settings_for(chat.url, passages_file, unbroken))
    whole = len(model.conversations)
    model.conversations.clear()
    model.delay = 0.05
    moments = random.Random(7)
    broken, midway = tmp_path / "broken.jsonl", 0
    for number in range(kills):
        kill_after_calls(chat, model, passages_file, broken, moments.randrange(1, whole // kills))
        midway += not broken.exists()
        answered = journaled(broken)
        before = len(model.conversations)
        assert len(answered) <= before
        if number == kills - 1:
            model.delay = 0.0
            report = synthesize(*settings_for(chat.url, passages_file, broken))
            assert report.tally.remembered.calls == len(answered)
            assert report.tally.paid.calls == whole - len(answered)
            assert report.kept == wanted.kept > 0
    asked = Counter(map(identity, model.conversations))
    lost = sum(asked.values()) - len(asked)  # answers that a kill kept from arriving
    assert len(asked) == whole
    assert lost <= kills * 3
    assert broken.read_text() == unbroken.read_text()
    assert midway >= kills - 1


def kill_after_calls(chat: InferenceServer, model: ChatModel, passages: Path, output: Path, calls: int) -> None:
    """Start a run, and kill it as soon as the server has begun so many more answers."""
    already = len(model.conversations)
    command = [sys.executable, "-m", "tests.training.synthesis.synthesis_child", chat.url, str(passages), str(output)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as child:
        while len(model.conversations) < already + calls and child.poll() is None:
            time.sleep(0.001)
        child.send_signal(signal.SIGKILL)
    time.sleep(0.1)  # the server ends what it had begun


def journaled(output: Path) -> list[str]:
    return output.with_suffix(".journal.jsonl").read_text(encoding="utf-8").splitlines()


def identity(body: Json) -> str:
    return json.dumps([body["messages"], body["seed"]])
