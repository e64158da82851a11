"""English running text: its sentences, where to cut it, and whether it is text at all. It knows no format and no source."""

from __future__ import annotations

import random
import re

LONGEST = 1200
"""Characters of a passage."""

_END = re.compile(r"(?<=[.!?])[\"')\]]*\s+(?=[\"'(\[]*[A-Z0-9])")
_ABBREVIATION = re.compile(r"(?:\b(?:e\.g|i\.e|cf|vs|etc|approx|resp|Dr|Mr|Mrs|St|No|Fig|Inc|Ltd|Co|U\.S)\.|\b[A-Z]\.)$")
_MOJIBAKE = re.compile("\ufffd|Ã[\u0080-\u00bf]|â€|Â[\u0080-\u00bf]|[\u0080-\u009f\ue000-\uf8ff]")
_MARKUP = re.compile(r"</?[a-z][a-z0-9]*(?:\s[^<>]*)?>|&(?:amp|lt|gt|nbsp|#\d+);|\{\{|\}\}", re.IGNORECASE)
_WORD = re.compile(r"[A-Za-z]{2,}")
_COMMON = re.compile(
    r"\b(?:an?|and|are|as|at|be|by|can|for|from|has|if|in|is|it|not|of|on|or|that|the|this|to|used|when|which|with|you)\b", re.IGNORECASE
)


def flat(text: str) -> str:
    """The text on one line."""
    return " ".join(text.split())


def sentences(text: str) -> list[str]:
    """The sentences of a text on one line; joined by spaces they are the text. Abbreviations and initials end none."""
    found: list[str] = []
    open_ended = False
    for part in _END.split(flat(text)):
        if open_ended:
            found[-1] = f"{found[-1]} {part}"
        else:
            found.append(part)
        open_ended = bool(_ABBREVIATION.search(found[-1]))
    return [sentence for sentence in found if sentence]


def passages(text: str, longest: int = LONGEST) -> list[str]:
    """The text in pieces of at most `longest` characters that end with a sentence; a longer sentence ends its piece at a word."""
    pieces: list[str] = []
    for sentence in sentences(text):
        if pieces and len(pieces[-1]) + 1 + len(sentence) <= longest:
            pieces[-1] = f"{pieces[-1]} {sentence}"
        else:
            pieces.append(sentence if len(sentence) <= longest else sentence[:longest].rpartition(" ")[0])
    return [piece for piece in pieces if piece]


def is_clean(text: str) -> bool:
    """Whether it is without markup, without wrongly decoded characters, and mostly letters."""
    letters = sum(character.isalpha() or character.isspace() for character in text)
    return not _MOJIBAKE.search(text) and not _MARKUP.search(text) and letters >= 0.8 * len(text)


def is_english(text: str) -> bool:
    """Whether it reads as English prose: one word in ten, at least, is one of the commonest."""
    words = len(re.findall(r"[A-Za-z]+", text))
    return words > 0 and len(_COMMON.findall(text)) >= 0.1 * words and sum(map(str.isascii, text)) >= 0.95 * len(text)


def cloze(text: str, generator: random.Random) -> tuple[str, str] | None:
    """A sentence of the text and the text without it (inverse cloze task, arXiv 1906.00300); None for less than three sentences.

    Only a sentence that could be said alone is drawn: 5 to 40 words, beginning with a capital.
    """
    parts = sentences(text)
    able = [index for index, part in enumerate(parts) if 5 <= len(_WORD.findall(part)) <= 40 and part[0].isupper()]
    if len(parts) < 3 or not able:
        return None
    index = generator.choice(able)
    return parts[index], " ".join(parts[:index] + parts[index + 1 :])
