"""The two prompts of a synthetic pair, as chat messages: first who asks what kind of question, then the question itself.

The order of things is that of the paper (appendix A.1): roles near the passage are offered, the model picks one, a type and a difficulty,
and with these and a length and a language it then writes. The words are this project's own.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from qwen3_rag.training.pairs import Task
from qwen3_rag.training.synthesis.tasks import KINDS, LISTED, Difficulty

MOST_CHARACTERS = 6000
"""What a prompt shows of a passage."""

Messages = list[dict[str, str]]

_SYSTEM = "You make training examples for a search engine. You answer with one JSON object and nothing else: no comment, no Markdown."
_DIFFICULTIES = {
    Difficulty.HIGH_SCHOOL: "everyday words, one step of thought",
    Difficulty.UNIVERSITY: "some terms of the field, several facts at once",
    Difficulty.PHD: "a specialist's precision, a detail or a consequence that others would miss",
}
LANGUAGES = {
    "ar": "Arabic", "cs": "Czech", "da": "Danish", "de": "German", "el": "Greek", "en": "English", "es": "Spanish", "fi": "Finnish",
    "fr": "French", "he": "Hebrew", "hi": "Hindi", "hu": "Hungarian", "id": "Indonesian", "it": "Italian", "ja": "Japanese",
    "ko": "Korean", "nl": "Dutch", "no": "Norwegian", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "ru": "Russian",
    "sv": "Swedish", "th": "Thai", "tr": "Turkish", "uk": "Ukrainian", "vi": "Vietnamese", "zh": "Chinese",
}  # fmt: skip
"""ISO 639-1 → English name; a language that is not here is called by its code."""


@dataclass(frozen=True, slots=True)
class Order:
    """What the second call is asked for: who asks, what type of question, how hard, of about how many words, in which language."""

    role: str
    type: str
    difficulty: Difficulty
    words: tuple[int, int]
    language: str


def configuration_prompt(task: Task, passage: str, roles: Sequence[str]) -> Messages:
    """Ask which of the roles would want what of the passage; answered by `answers.Configuration`."""
    kind = KINDS[task]
    types = "\n".join(f"- {name}: {meaning}" for name, meaning in kind.types.items())
    difficulties = "\n".join(f"- {name}: {meaning}" for name, meaning in _DIFFICULTIES.items())
    listed = "\n".join(f"{number}. {role}" for number, role in enumerate(roles, start=1))
    return _messages(
        f"We want {kind.aim}. Decide who would write it, of what type it is and how difficult it is.\n\n"
        f"Passage:\n<passage>\n{_shown(passage)}\n</passage>\n\n"
        f"People, of whom you choose the one with the best reason to care for this passage:\n{listed}\n\n"
        f"Types, of which you choose the one that suits person and passage:\n{types}\n\n"
        f"Difficulties, of which you choose the one that suits the person:\n{difficulties}\n\n"
        'Answer like this: {"role": the number of the person, "type": "a name from the list", "difficulty": "a name from the list"}'
    )


def generation_prompt(task: Task, passage: str, order: Order) -> Messages:
    """Ask for the pair itself; answered by the task's class in `answers`."""
    kind = KINDS[task]
    fields = "\n".join(f"- {name}: {meaning}" for name, meaning in kind.fields.items())
    shape = json.dumps({name: ["…", "…", "…"] if name in LISTED else "…" for name in kind.fields}, ensure_ascii=False)
    language = LANGUAGES.get(order.language, order.language)
    target = "Write the translation in" if task is Task.BITEXT else "Write in"
    few, many = order.words
    length = "" if task is Task.BITEXT else f"\nLength: {few} to {many} words for each text."
    return _messages(
        f"Passage:\n<passage>\n{_shown(passage)}\n</passage>\n\n"
        f"Person: {order.role}\n"
        f"Type: {order.type} ({kind.types[order.type]})\n"
        f"Difficulty: {order.difficulty} ({_DIFFICULTIES[order.difficulty]}){length}\n"
        f"Language: {target} {language}, whatever the language of the passage.\n\n"
        f"{kind.order}\n\n"
        f"Fields:\n{fields}\n\n"
        f"Answer like this: {shape}"
    )


def correction(answer: str, fault: str) -> Messages:
    """What follows a prompt whose answer could not be used."""
    return [
        {"role": "assistant", "content": answer[:MOST_CHARACTERS]},
        {"role": "user", "content": f"That answer cannot be used: {fault} Answer again, with the corrected JSON object alone."},
    ]


def _messages(text: str) -> Messages:
    return [{"role": "system", "content": _SYSTEM}, {"role": "user", "content": text}]


def _shown(passage: str) -> str:
    return passage if len(passage) <= MOST_CHARACTERS else f"{passage[:MOST_CHARACTERS]} […]"
