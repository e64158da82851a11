"""How a query is worded, given a word and its meaning, the headings above a section, or a term of a manual.

What is drawn follows the generator. It knows nothing of the texts that answer.
"""

from __future__ import annotations

import random
import re

_QUESTIONS = ("what is {}?", "what does {} mean?", "define {}", "meaning of {}", "{} definition")
_EMPTY_HEADING = re.compile(
    r"(?:see also|references?|synopsis|name|copyright|credits?|authors?|license|licence|index|(?:table of )?contents|history|bugs"
    r"|reporting bugs|documentation|change ?log|compatibility|about this document|related .*|further reading|previous .*|next .*"
    r"|navigation|git)$",
    re.IGNORECASE,
)
_NEWS = re.compile(
    r"^(?:Version|Release[ds]?|Changes (?:in|since|between))?\s*v?\d+\.\d+|release notes|release history|change ?log|^\d{4}-\d\d",
    re.IGNORECASE,
)
_SIGNATURE = re.compile(r"\s*\((?:boolean|integer|string|enum|floating point|real|text|bytes)\)$")
_CAPITALS = ("DESCRIPTION", "OPTIONS", "EXAMPLES", "EXAMPLE", "NOTES", "CONFIGURATION", "DISCUSSION", "ENVIRONMENT")
_LONGEST = 150


def definition_pair(word: str, meaning: str, generator: random.Random) -> tuple[str, str]:
    """Query and positive: the words as they are in six of ten cases, else a question about the first of them.

    Half of the questions are answered as an encyclopedia would, with the word in front.
    """
    if generator.random() < 0.6:
        return word, meaning
    first = word.split(", ")[0]
    query = generator.choice(_QUESTIONS).format(first)
    return query, f"{first}: {meaning}" if generator.random() < 0.5 else meaning


def section_query(path: tuple[str, ...], generator: random.Random) -> str | None:
    """The last heading, with the one above it where it has fewer than three words, and now and then where it has more.

    None for headings of what nobody asks for: references, changes of a version.
    """
    heading = path[-1]
    if _EMPTY_HEADING.match(heading) or any(map(_NEWS.search, path)) or len(heading) > _LONGEST:
        return None
    if len(path) == 1 or (len(heading.split()) >= 3 and generator.random() < 0.8):
        return _spoken(heading)
    above = path[-2] if len(path[-2].split()) > 1 or len(path) == 2 else f"{path[0]} {path[-2]}"
    if above.lower() in heading.lower():
        return _spoken(heading)
    return generator.choice(("{above}: {heading}", "{heading} {above}", "{above} {heading}")).format(
        above=_spoken(above), heading=_spoken(heading)
    )


def term_query(path: tuple[str, ...]) -> str | None:
    """The term, with the page's title where it is an option or a single short word."""
    title, term = path[0], _SIGNATURE.sub("", path[-1])
    if len(term) > 100 or len(term) < 2 or any(map(_NEWS.search, path)):
        return None
    alone = len(term) > 20 or "_" in term or "." in term
    return term if alone or not title else f"{title} {term}"


def _spoken(heading: str) -> str:
    """A heading in capitals, as manual pages have it, in small letters; not a single word, which may be a name."""
    return heading.lower() if heading.isupper() and (" " in heading or heading in _CAPITALS) else heading
