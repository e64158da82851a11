"""Turns bytes into text without ever guessing garbage: when the encoding cannot be told, that is an error.

Order: byte order mark, UTF-8, an encoding that the file itself declares, UTF-16 without a mark, then statistics (charset-normalizer)
with rules for its ties. It knows nothing of formats.
"""

from __future__ import annotations

import codecs
import re
from collections.abc import Callable

from charset_normalizer import CharsetMatch, from_bytes

_BINARY = "holds binary data, not text: leave it out with an exclude glob"
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_SINGLE_BYTE = (
    *("cp1252", "cp1250", "cp1251", "cp1253", "cp1254", "cp1255", "cp1256", "cp1257", "cp874"),
    *("iso8859_2", "iso8859_5", "koi8_r", "cp866"),
)
"""Encodings that text files are found in. Rare ones (Macintosh, EBCDIC, DOS) are left out: they read almost any bytes as letters."""

_CONTROLS = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f]")
_HIGH = re.compile(b"[\x80-\xff]")
_NON_ASCII = re.compile("[^\x00-\x7f]")
_EAST_ASIAN_MARKS = re.compile("[\u3000-\u3020\uff01-\uff5e—…“”‘’·]")
_KANA = re.compile("[\u3041-\u30ff]")
_HANGUL = re.compile("[\uac00-\ud7a3]")
_IDEOGRAPH = re.compile("[\u4e00-\u9fff]")
_WESTERN = re.compile("[À-ÿŒœŠšŽžŸ¡-¿–—‘’‚“”„†‡•…‰‹›€™×÷ƒˆ˜]*")
_UNWESTERN = re.compile("[ðýþÐÝÞ]|[^\\W\\d_][±¶¦¼¾¿¤¨¯]")
"""What Windows-1252 makes of common Turkish, Baltic and Central European letters."""

_CHAOS_TIE = 0.02
_COHERENCE_MARGIN = 0.03


class UndecidableError(ValueError):
    """The bytes are no text, or text in an encoding that cannot be told. The message is the reason, without a file name."""


def decode(data: bytes, declared: str | None = None) -> str:
    """Decode a file's bytes, of any length. `declared` is an encoding named inside the file.

    Raises:
        UndecidableError: the bytes are binary, or several encodings fit equally well and differ.
    """
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            return _with_mark(data[len(mark) :], encoding)
    if b"\x00" in data:
        return _without_mark(data)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        text = _declared(data, declared) or _statistical(data)
    if is_binary(data[:8192]):
        raise UndecidableError(_BINARY)
    return text


def is_binary(start: bytes) -> bool:
    """Whether the first bytes of a file cannot be those of a text file: NUL bytes outside UTF-16 and UTF-32, or many control characters."""
    if start.startswith(tuple(mark for mark, _ in _MARKS)):
        return False
    if b"\x00" in start:
        return _utf16_order(start) is None
    controls = sum(start.count(bytes((code,))) for code in (*range(1, 8), *range(14, 27), *range(28, 32)))
    return controls > max(2, len(start) // 100)


def _with_mark(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError as error:
        raise UndecidableError(f"begins like {encoding.upper()} but is not valid at byte {error.start}: save it as UTF-8") from error


def _without_mark(data: bytes) -> str:
    encoding = _utf16_order(data)
    if encoding is not None:
        text = _strict(data, encoding)
        if text is not None:
            return text
    raise UndecidableError(_BINARY)


def _utf16_order(data: bytes) -> str | None:
    """UTF-16 without a mark shows as zeros in every other byte; text of few ASCII characters is not recognised."""
    data = data[: len(data) & ~1]
    even, odd = data[::2].count(0), data[1::2].count(0)
    for encoding, high, low in (("utf-16-le", odd, even), ("utf-16-be", even, odd)):
        if low == 0 and high > max(2, 0.5 * len(data) / 2) and not _CONTROLS.search(data.decode(encoding, "ignore")):
            return encoding
    return None


def _declared(data: bytes, encoding: str | None) -> str | None:
    """The text in the encoding that the file names, if that is known and fits."""
    if not encoding:
        return None
    try:
        text = data.decode("cp1252" if codecs.lookup(encoding).name in ("iso8859-1", "ascii") else encoding)
    except (LookupError, UnicodeDecodeError):
        return None
    return None if _CONTROLS.search(text) else text


def _statistical(data: bytes) -> str:
    text = _east_asian(data) or _single_byte(data)
    if text is None:
        raise UndecidableError("is not UTF-8, and its encoding cannot be told with confidence: save it as UTF-8")
    return text


def _east_asian(data: bytes) -> str | None:
    """Chinese, Japanese or Korean, told by what its text mostly consists of and a misreading does not."""
    readings = {encoding: text for encoding, judge in _EAST_ASIAN.items() if (text := _strict(data, encoding)) and judge(text)}
    if "cp949" in readings:  # Korean reads as common Chinese characters too, but with spaces between the words
        return readings["cp949"]
    return readings.popitem()[1] if len(set(readings.values())) == 1 else None


def _strict(data: bytes, encoding: str) -> str | None:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        return None
    return None if _CONTROLS.search(text) else text


def _japanese(text: str) -> bool:
    foreign = len(_NON_ASCII.findall(text))
    kana = len(_KANA.findall(text))
    return kana > 0.2 * foreign and kana + len(_IDEOGRAPH.findall(text)) + len(_EAST_ASIAN_MARKS.findall(text)) > 0.95 * foreign


def _korean(text: str) -> bool:
    return text.count(" ") >= len(_HANGUL.findall(text)) / 15 and _mostly(_HANGUL, text, "euc_kr", (0xB0, 0xC8))


def _simplified(text: str) -> bool:
    return _mostly(_IDEOGRAPH, text, "gb2312", (0xB0, 0xD7))


def _traditional(text: str) -> bool:
    return _mostly(_IDEOGRAPH, text, "big5", (0xA4, 0xC6))


def _mostly(script: re.Pattern[str], text: str, encoding: str, common: tuple[int, int]) -> bool:
    """Whether nine in ten non-ASCII characters are of the script, and those in the rows of `encoding` that hold its common characters."""
    foreign = len(_NON_ASCII.findall(text)) - len(_EAST_ASIAN_MARKS.findall(text))
    found = "".join(script.findall(text)).encode(encoding, "ignore")
    usual = sum(common[0] <= lead <= common[1] for lead in found[::2])
    return foreign >= _LEAST_EAST_ASIAN and usual >= 0.9 * foreign


_LEAST_EAST_ASIAN = 6
_EAST_ASIAN: dict[str, Callable[[str], bool]] = {
    "cp932": _japanese,
    "euc_jp": _japanese,
    "cp949": _korean,
    "gb18030": _simplified,
    "big5": _traditional,
}


def _single_byte(data: bytes) -> str | None:
    matches = [match for match in from_bytes(data, cp_isolation=list(_SINGLE_BYTE)) if not _CONTROLS.search(str(match))]
    if not matches:
        return None
    least = min(match.chaos for match in matches)
    likely = sorted((match for match in matches if match.chaos <= least + _CHAOS_TIE), key=lambda match: -match.coherence)
    best = likely[0]
    tied = [match for match in likely if best.coherence - match.coherence < _COHERENCE_MARGIN]
    few = len(_HIGH.findall(data)) <= len(data) // 100  # too few for statistics to mean much
    western = next((match for match in (likely if few else tied) if _is_western(match)), None)
    if western is not None:
        return str(western)
    if {"iso8859_2", "cp1250"} <= {match.encoding for match in likely} and not re.search(rb"[\x80-\x9f]", data):
        # Where the two differ, text in Windows-1250 has letters among those bytes, so it is the other.
        tied = [match for match in tied if match.encoding != "cp1250"]
    return str(tied[0]) if len({str(match) for match in tied}) == 1 else None


def _is_western(match: CharsetMatch) -> bool:
    text = str(match)
    foreign = "".join(_NON_ASCII.findall(text))
    return "cp1252" in match.could_be_from_charset and bool(_WESTERN.fullmatch(foreign)) and not _UNWESTERN.search(text)
