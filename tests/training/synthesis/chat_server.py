"""A language model that answers the two prompts of synthesis by rule, behind a real HTTP server, with answers of bad models at will."""

from __future__ import annotations

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Callable

from tests.models.remote.server import InferenceServer, Json

PATH = "/v1/chat/completions"
ENGLISH = "how long does it take until the {} is ready for the {} again?"
GERMAN = "wie lange dauert es, bis {} wieder für {} bereit ist und benutzt werden kann?"


class ChatModel:
    """`spoilt` maps how often a prompt was seen (from 0, corrections count) to what is said instead of the right answer."""

    def __init__(self) -> None:
        self.seen: Counter[str] = Counter()
        self.conversations: list[Json] = []
        self.spoilt: Callable[[str, int], str | None] = lambda prompt, times: None
        self.hang_once = 0.0
        self.delay = 0.0
        self.finish = "stop"

    def __call__(self, body: Json) -> Json:
        self.conversations.append(body)
        prompt = body["messages"][1]["content"]
        times = self.seen[prompt]
        self.seen[prompt] += 1
        time.sleep(self.delay)
        if self.hang_once:
            seconds, self.hang_once = self.hang_once, 0.0
            time.sleep(seconds)
        text = self.spoilt(prompt, times) or json.dumps(right_answer(prompt), ensure_ascii=False)
        return {
            "id": "chat-1",
            "object": "chat.completion",
            "created": 0,
            "model": body["model"],
            "choices": [{"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": self.finish}],
            "usage": {"prompt_tokens": 100, "completion_tokens": 10, "total_tokens": 110},
        }

    @property
    def calls(self) -> int:
        return len(self.conversations)


def is_configuration(prompt: str) -> bool:
    return prompt.startswith("We want")


def right_answer(prompt: str) -> Json:
    number = int.from_bytes(hashlib.sha256(prompt.encode()).digest()[:4], "big")
    if is_configuration(prompt):
        types = re.findall(r"^- (\w+):", prompt, re.MULTILINE)
        difficulties, names = types[-3:], types[:-3]
        return {"role": number % 5 + 1, "type": names[number % len(names)], "difficulty": difficulties[number % 3]}
    words = re.findall(r"\w{4,}", prompt.split("<passage>")[1].split("</passage>")[0])
    pattern = GERMAN if "in German" in prompt else ENGLISH
    text = pattern.format(words[number % len(words)], words[number // 7 % len(words)])
    fields = re.findall(r'"(\w+)":', prompt.split("Answer like this:")[1])
    values = {name: f"{text}{'' if place == 0 else f' ({name})'}" for place, name in enumerate(fields)}
    return {**values, **({"other_labels": ["complaint", "order"]} if "other_labels" in fields else {})}


def chat_server(model: ChatModel) -> InferenceServer:
    return InferenceServer({PATH: model})
