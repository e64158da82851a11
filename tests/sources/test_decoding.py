"""Text in its own encoding comes out right or not at all: an error, never garbage."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qwen3_rag.sources.decoding import UndecidableError, decode, is_binary

GERMAN = "Der Fußgänger überquerte die Straße, während die Behörde neue Maßnahmen für größere Städte ankündigte."
FRENCH = "L’été dernier, les élèves ont découvert une forêt où régnait un silence étonnant. Ça ne coûtait rien."
SPANISH = "Las llaves de cifrado se cambian cada noventa días. ¿De acuerdo? Mañana habrá más información para el ingeniero."
RUSSIAN = "Ключи шифрования меняются каждые девяносто дней. Если ключ утерян, обратитесь к дежурному инженеру."
JAPANESE = "鍵は九十日ごとに更新されます。鍵を紛失した場合は、当番の技術者に連絡し、契約番号を伝えてください。"
SIMPLIFIED = "密钥每九十天更换一次。如果密钥丢失，请联系值班工程师并提供您的合同编号。"
TRADITIONAL = "密鑰每九十天更換一次。如果密鑰遺失，請聯絡值班工程師並提供您的合約編號。"
KOREAN = "암호화 키는 구십 일마다 교체됩니다. 키를 분실한 경우 당직 엔지니어에게 연락하여 계약 번호를 알려 주십시오."
GREEK = "Τα κλειδιά κρυπτογράφησης αλλάζουν κάθε ενενήντα ημέρες. Εάν χαθεί το κλειδί, επικοινωνήστε με τον μηχανικό."
CZECH = "Šifrovací klíče se mění každých devadesát dní. Pokud se klíč ztratí, obraťte se na službu konajícího inženýra."
ENGLISH = "The key is rotated every ninety days; ask Renée for the exact date — it’s posted on the “wall”."


@pytest.mark.parametrize(
    ("text", "encoding"),
    [
        (GERMAN, "latin-1"),
        (FRENCH, "cp1252"),
        (SPANISH, "latin-1"),
        (ENGLISH, "cp1252"),
        (RUSSIAN, "koi8-r"),
        (RUSSIAN, "cp1251"),
        (RUSSIAN, "cp866"),
        (JAPANESE, "shift_jis"),
        (JAPANESE, "euc_jp"),
        (SIMPLIFIED, "gb18030"),
        (TRADITIONAL, "big5"),
        (KOREAN, "euc_kr"),
        (GREEK, "iso8859-7"),
        (CZECH, "cp1250"),
    ],
)
def test_an_old_encoding_is_recognised(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("text", [ENGLISH, GERMAN])
def test_unicode_is_recognised_with_and_without_a_mark(text: str, encoding: str) -> None:
    assert decode(text.encode(encoding)) == text
    assert not is_binary(text.encode(encoding))


@pytest.mark.parametrize("text", [RUSSIAN, SIMPLIFIED, "👩‍🚀 nur mit Marke"])
def test_utf16_with_a_mark_needs_no_ascii(text: str) -> None:
    assert decode(text.encode("utf-16")) == text


@given(st.text(alphabet=st.characters(exclude_categories=("Cs", "Cc")), min_size=1))
def test_utf8_is_never_mistaken(text: str) -> None:
    assert decode(text.encode()) == text.removeprefix("\ufeff")


def test_a_declared_encoding_is_believed_where_it_fits() -> None:
    short = "Привет, мир"
    assert decode(short.encode("koi8-r"), "koi8-r") == short
    assert decode("“naïve”".encode("cp1252"), "iso-8859-1") == "“naïve”"
    assert decode(GERMAN.encode("latin-1"), "no-such-encoding") == GERMAN


@pytest.mark.parametrize("data", ["Привет, мир".encode("koi8-r"), "你好世界".encode("gb18030")])
def test_too_little_text_to_tell_is_an_error(data: bytes) -> None:
    with pytest.raises(UndecidableError, match="save it as UTF-8"):
        decode(data)


@pytest.mark.parametrize("seed", range(20))
def test_random_bytes_are_an_error(seed: int) -> None:
    data = random.Random(seed).randbytes(2000)
    for sample in (data, data.replace(b"\x00", b"x")):
        with pytest.raises(UndecidableError):
            decode(sample)


def test_broken_utf16_is_an_error() -> None:
    with pytest.raises(UndecidableError, match="UTF-16-LE"):
        decode(b"\xff\xfea\x00b")


def test_binary_is_told_from_text() -> None:
    assert is_binary(b"text\x00more")
    assert is_binary(bytes(range(1, 32)) * 10)
    assert not is_binary(b"\x1b[31mred\x1b[0m\x0c\ttext\r\n")
