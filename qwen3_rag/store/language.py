"""Which language a text is written in, as ISO 639-1, so that BM25 can analyse it. It knows nothing of the analysers.

A script that only one language uses decides by itself. Otherwise py3langid (naive Bayes over byte n-grams, 1 ms a page, 0.04 ms a
query) ranks languages; its rarest ones are left out, because taking German for Luxembourgish costs more than the reverse ever gains.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from functools import cache
from math import exp, inf, log

FALLBACK = "en"
"""The language of text that has none: numbers, code, nothing at all."""
LEAST_LIKELY = 0.01
MOST_LIKELY = 3
"""Which languages of a query count. Among 300 English passages, 3 German, 1 Swedish and 1 French, questions (xquad, English and German)
leave 1.0 language, the right one for 999 of 1,000; their single words leave 1.4 and 1.7, the right one among them for 996 English and 756
German words of 1,000, where the detector alone has 620 and 619."""

_SAMPLE = 4000
_SCRIPT_SAMPLE = 1000
_FEWEST_LETTERS = 3
_LEAST_PROSE = 0.65
"""Share of a text's tokens that must be plain words for a detector to be asked; below it the text is code or data."""

_LATIN_SHARE = 0.75
"""Below this share of Latin letters the other script decides: Chinese quotes English words far more often than the reverse."""

_ALIASES = {
    "nb": "no",
    "nn": "no",
    "wuu": "zh",
    "yue": "zh",
    "arz": "ar",
    "ary": "ar",
    "iw": "he",
    "in": "id",
    "jp": "ja",
    "hbo": "he",
    "bs": "hr",
}

_SCRIPTS: tuple[tuple[int, int, str], ...] = (
    (0x0370, 0x03FF, "el"),
    (0x0400, 0x052F, "Cyrillic"),
    (0x0530, 0x058F, "hy"),
    (0x0590, 0x05FF, "he"),
    (0x0600, 0x06FF, "Arabic"),
    (0x0750, 0x077F, "Arabic"),
    (0x0900, 0x097F, "Devanagari"),
    (0x0980, 0x09FF, "Bengali"),
    (0x0A00, 0x0A7F, "pa"),
    (0x0A80, 0x0AFF, "gu"),
    (0x0B00, 0x0B7F, "or"),
    (0x0B80, 0x0BFF, "ta"),
    (0x0C00, 0x0C7F, "te"),
    (0x0C80, 0x0CFF, "kn"),
    (0x0D00, 0x0D7F, "ml"),
    (0x0D80, 0x0DFF, "si"),
    (0x0E00, 0x0E7F, "th"),
    (0x0E80, 0x0EFF, "lo"),
    (0x0F00, 0x0FFF, "bo"),
    (0x1000, 0x109F, "my"),
    (0x10A0, 0x10FF, "ka"),
    (0x1100, 0x11FF, "ko"),
    (0x1200, 0x139F, "am"),
    (0x1780, 0x17FF, "km"),
    (0x1C90, 0x1CBF, "ka"),
    (0x1F00, 0x1FFF, "el"),
    (0x3040, 0x30FF, "kana"),
    (0x3130, 0x318F, "ko"),
    (0x3400, 0x9FFF, "han"),
    (0xAC00, 0xD7AF, "ko"),
    (0xF900, 0xFAFF, "han"),
    (0xFB50, 0xFDFF, "Arabic"),
    (0xFE70, 0xFEFF, "Arabic"),
    (0x20000, 0x3FFFF, "han"),
)
_STARTS = [start for start, _, _ in _SCRIPTS]
_LATIN = "Latin"
_LATIN_LANGUAGES = (
    "af az ca cs cy da de en eo es et eu fi fr ga gl hr hu id is it lt lv mg mt nl no pl pt ro sk sl so sq sr sv sw tl tr uz vi xh yo zu"
)
_BY_SCRIPT: dict[str, frozenset[str]] = {
    "Cyrillic": frozenset({"be", "bg", "kk", "ky", "mk", "mn", "ru", "sr", "tg", "tt", "uk"}),
    "Arabic": frozenset({"ar", "fa", "ku", "ps", "ug", "ur"}),
    "Devanagari": frozenset({"hi", "mr", "ne"}),
    "Bengali": frozenset({"as", "bn"}),
    _LATIN: frozenset(_LATIN_LANGUAGES.split()),
}
_INFORMATION = {"han": 4, "kana": 2, "ko": 2}
"""Letters of an alphabet that one character of these is worth."""

_NOT_PROSE = re.compile(r"https?://\S+|www\.\S+|\S+@\S+")
_ASCII_LETTER = re.compile("[A-Za-z]+")
_NOT_ASCII = re.compile("[^\x00-\x7f]")
_WORD = re.compile(r"""["'“”‘’«»„(\[¿¡]*[^\W\d_]+(?:[-'’][^\W\d_]+)*["'“”‘’«»)\],.;:!?…]*""")


def primary(code: str | None) -> str | None:
    """`de` for `de-AT`, `DE` and `de_DE`; `no` for `nb`; None for nothing."""
    if not code:
        return None
    subtag = re.split(r"[-_]", code.strip().lower(), maxsplit=1)[0]
    return _ALIASES.get(subtag, subtag) or None


@cache
def can_tell(language: str) -> bool:
    """Whether texts in `language`, a primary subtag, are ever found to be in it; else they are taken for another language."""
    candidates = {_candidates(script) for script in (_LATIN, *(script for _, _, script in _SCRIPTS))}
    if frozenset({language}) in candidates:  # it has a script of its own
        return True
    return any(language in among for among in candidates) and language in {code for code, _ in _ranking("A text.")}


def detect(text: str) -> str:
    """Language of a text; `FALLBACK` where it has none (empty, numbers, code)."""
    return _detect(text[:_SAMPLE]) or FALLBACK


def detect_query(text: str, among: Collection[str]) -> str:
    """Language of a query among those of the collection. One language is not looked for; none at all means any.

    A query in none of them gets whichever resembles it most: its words are then found as far as they are names and numbers.
    """
    return query_languages(text, dict.fromkeys(among, 1))[0]


def query_languages(text: str, held: Mapping[str, int]) -> list[str]:
    """Languages that a query may be in, the likeliest first, given how many passages of the collection are in each.

    A word or two do not tell their language: to the detector alone "illness" is Swedish, and among two hundred English passages and
    one Swedish it still might be. The shares of the collection are therefore what is expected beforehand (Bayes), and every language
    with a probability of `LEAST_LIKELY` counts, up to `MOST_LIKELY` of them. A sentence leaves one.
    """
    counts: Counter[str] = Counter()
    for code, count in held.items():
        counts[primary(code) or FALLBACK] += count
    if len(counts) < 2:
        return [next(iter(counts), None) or detect(text)]
    script = _script(text)
    candidates = _candidates(script) if script else frozenset()
    there = {code: count for code, count in counts.items() if code in candidates}
    if not there:
        return [FALLBACK if FALLBACK in counts else next(iter(counts))]
    return list(there) if len(there) == 1 else _likely(text[:_SAMPLE], there)


def _likely(text: str, counts: Mapping[str, int]) -> list[str]:
    scores: dict[str, float] = {}
    for code, score in _ranking(text):
        scores.setdefault(code, score)
    posterior = {code: scores.get(code, -inf) + log(max(count, 1)) for code, count in counts.items()}
    best = max(posterior.values())
    if best == -inf:  # the detector knows none of them
        return [max(counts, key=counts.__getitem__)]
    total = sum(exp(value - best) for value in posterior.values())
    likely = [code for code, value in posterior.items() if exp(value - best) >= LEAST_LIKELY * total]
    return sorted(likely, key=posterior.__getitem__, reverse=True)[:MOST_LIKELY]


def _detect(text: str) -> str | None:
    script = _script(text)
    if script is None:
        return None
    candidates = _candidates(script)
    if len(candidates) == 1:
        return next(iter(candidates))
    if script == _LATIN and not _is_prose(text):
        return None
    return next((code for code, _ in _ranking(text) if code in candidates), None)


def _script(text: str) -> str | None:
    """The script that decides, or None for text without letters."""
    counts = _letters(text[:_SCRIPT_SAMPLE])
    total = sum(counts.values())
    if total < 1:
        return None
    if counts["kana"] and counts["kana"] * 10 >= counts["han"]:
        counts["kana"] += counts.pop("han", 0)
    script, count = counts.most_common(1)[0]
    if script == _LATIN and count < total * _LATIN_SHARE:
        script = next(name for name, _ in counts.most_common() if name != _LATIN)
    return script


def _letters(text: str) -> Counter[str]:
    ascii_letters = len(text) - len(_ASCII_LETTER.sub("", text))
    counts: Counter[str] = Counter({_LATIN: ascii_letters} if ascii_letters else {})
    for character in _NOT_ASCII.findall(text):
        if character.isalpha():
            script = _script_of(ord(character))
            counts[script] += _INFORMATION.get(script, 1)
    return counts


def _script_of(code: int) -> str:
    index = bisect_right(_STARTS, code) - 1
    return _SCRIPTS[index][2] if index >= 0 and code <= _SCRIPTS[index][1] else _LATIN


def _candidates(script: str) -> frozenset[str]:
    match script:
        case "kana":
            return frozenset({"ja"})
        case "han":
            return frozenset({"zh", "ja"})
        case _:
            return _BY_SCRIPT.get(script, frozenset({script}))


def _is_prose(text: str) -> bool:
    tokens = _NOT_PROSE.sub(" ", text).split()
    plain = [token for token in tokens if _WORD.fullmatch(token)]
    return sum(map(len, plain)) >= _FEWEST_LETTERS and len(plain) >= len(tokens) * _LEAST_PROSE


def _ranking(text: str) -> Iterable[tuple[str, float]]:
    """Languages and their log-likelihood, the likeliest first; one code may come twice, where another code is an alias of it."""
    from py3langid import rank  # type: ignore[import-untyped]  # its model takes 0.7 s to load: only those who need it pay

    return ((_ALIASES.get(code, code), float(score)) for code, score in rank(_NOT_PROSE.sub(" ", text)))
