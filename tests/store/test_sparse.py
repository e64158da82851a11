from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from qwen3_rag.store.sparse import Bm25Encoder
from qwen3_rag.store.words import truncate, words

ENCODER = Bm25Encoder()


def terms(text: str, language: str) -> set[int]:
    return set(ENCODER.query(text, language).indices)


# One query, the passage that answers it, and one that does not; the query's words are inflected or run together with others there.
PASSAGES = {
    "ar": ("ارتفاع الجبل", "يبلغ ارتفاع الجبل ثلاثة آلاف متر", "تفتح المكتبة كل صباح"),
    "cs": ("univerzitní knihovny", "V univerzitním městě otevřeli knihovnu", "Hora měří tři tisíce metrů"),
    "de": ("Höhe der Berge", "Der Berg erreicht eine Höhe von 3000 Metern", "Die Bibliothek öffnet am Morgen"),
    "el": ("ύψος του βουνού", "Το βουνό έχει ύψος τρεις χιλιάδες μέτρα", "Η βιβλιοθήκη ανοίγει κάθε πρωί"),
    "en": ("climbing mountains", "They climbed the mountain in June", "The library opens in the morning"),
    "hi": ("पर्वत की ऊँचाई", "इस पर्वत की ऊँचाई तीन हज़ार मीटर है", "पुस्तकालय हर सुबह खुलता है"),
    "hu": ("hegyek magassága", "A hegy magasságát nyáron mérték", "A könyvtár reggel nyit"),
    "ja": ("山の高さ", "この山は高さが三千メートルある", "図書館は毎朝開館する"),
    "km": ("កម្ពស់ភ្នំ", "ភ្នំនេះមានកម្ពស់បីពាន់ម៉ែត្រ", "បណ្ណាល័យបើករាល់ព្រឹក"),
    "ko": ("산의 높이", "이 산은 높이가 삼천 미터이다", "도서관은 매일 아침 문을 연다"),
    "lo": ("ຄວາມສູງຂອງພູ", "ພູນີ້ມີຄວາມສູງສາມພັນແມັດ", "ຫໍສະໝຸດເປີດທຸກເຊົ້າ"),
    "my": ("တောင်အမြင့်", "ဤတောင်သည်အမြင့်မီတာသုံးထောင်ရှိသည်", "စာကြည့်တိုက်နံနက်တိုင်းဖွင့်သည်"),
    "pl": ("uniwersyteckie biblioteki", "Bibliotekę uniwersytecką otwarto rano", "Góra ma trzy tysiące metrów"),
    "ru": ("высота горы", "Высоту этой горы измерили летом", "Библиотека открывается утром"),
    "ta": ("மலையின் உயரம்", "இந்த மலை மூவாயிரம் மீட்டர் உயரமானது", "நூலகம் காலையில் திறக்கும்"),
    "th": ("ความสูงของภูเขา", "ภูเขาลูกนี้มีความสูงสามพันเมตร", "ห้องสมุดเปิดทุกเช้า"),
    "tr": ("dağların yüksekliği", "Dağın yüksekliği üç bin metredir", "Kütüphane sabah açılır"),
    "vi": ("độ cao của núi", "Ngọn núi này có độ cao ba nghìn mét", "Thư viện mở cửa mỗi sáng"),
    "zh": ("山的高度", "这座山高度为三千米", "图书馆每天早上开放"),
}


@pytest.mark.parametrize("language", PASSAGES)
def test_a_query_finds_its_passage_in_every_script(language: str) -> None:
    query, answer, other = PASSAGES[language]
    right, wrong = ENCODER.documents([answer, other], [language, language])
    wanted = terms(query, language)
    assert len(wanted & set(right.indices)) >= 2
    assert len(wanted & set(right.indices)) > len(wanted & set(wrong.indices))


@pytest.mark.parametrize("language", [*PASSAGES, "sw", "xx"])
def test_numbers_and_names_are_terms_in_every_language(language: str) -> None:
    passage = ENCODER.documents(["GPT-4 2023 42"], [language])[0]
    assert terms("2023", language) <= set(passage.indices)
    assert len(terms("2023", language)) == 1
    assert terms("gpt", language) <= set(passage.indices)


def test_numbers_are_the_same_in_every_script() -> None:
    assert terms("٢٠٢٣", "ar") == terms("2023", "ar") == terms("２０２３", "zh") == terms("2023", "en")


def test_a_name_in_another_script_is_found_whatever_the_language() -> None:
    document = ENCODER.documents(["The capital, written 東京都, is large."], ["en"])[0]
    assert terms("東京", "ja") <= set(document.indices)


def test_weights_follow_term_frequency_and_length() -> None:
    short, long, twice = ENCODER.documents(["tiger", "tiger " + "word " * 300, "tiger tiger"], ["en"] * 3)
    tiger = next(iter(terms("tiger", "en")))
    weight = [dict(zip(vector.indices, vector.values, strict=True))[tiger] for vector in (short, long, twice)]
    assert weight[1] < weight[0] < weight[2] < 2.2


def test_stopwords_and_endings_go() -> None:
    assert terms("the running dogs", "en") == terms("dog runs", "en")
    assert terms("die Häuser der Städte", "de") == terms("Häusern Städten", "de")


def test_decomposed_accents_are_the_same_letter() -> None:
    assert terms("cafe\u0301", "fr") == terms("café", "fr")


def test_turkish_capital_i_is_lowercased_as_turkish() -> None:
    assert terms("İstanbul", "tr") == terms("istanbul", "tr")
    assert terms("ISPARTA", "tr") == terms("ısparta", "tr")


@pytest.mark.parametrize("text", ["", "  ", "!?…", "\u200b"])
def test_nothing_gives_an_empty_vector(text: str) -> None:
    assert ENCODER.documents([text], [None])[0].indices == []
    assert ENCODER.query(text, "en").indices == []


def test_an_unknown_language_is_detected() -> None:
    german = "Die neue Bibliothek liegt mitten in der Altstadt"
    assert ENCODER.documents([german], [None]) == ENCODER.documents([german], ["de"])
    assert ENCODER.query(german, None) == ENCODER.query(german, "de-AT")


def test_texts_and_languages_must_be_as_many() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ENCODER.documents(["a", "b"], ["en"])


def test_threads_agree() -> None:
    texts = [passage for passages in PASSAGES.values() for passage in passages]
    languages = [language for language in PASSAGES for _ in range(3)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: ENCODER.documents(texts, languages), range(8)))
    assert all(result == results[0] for result in results)


def test_words_of_unspaced_scripts_are_single_characters_and_pairs() -> None:
    assert words("東京都2023年").split() == ["東", "京", "都", "東京", "京都", "2023", "年"]
    assert words("서울시").split() == ["서", "울", "시", "서울", "울시"]
    assert words("ភ្នំ").split() == ["ភ្នំ"]


def test_words_keep_marks_and_lose_punctuation() -> None:
    assert words("नई दिल्ली, भारत।").split() == ["नई", "दिल्ली", "भारत"]
    assert words("foo_bar-baz C++ o'clock").split() == ["foo", "bar", "baz", "C", "o", "clock"]
    assert words("co\u00adoperate").split() == ["cooperate"]


def test_numbers_are_never_truncated() -> None:
    assert truncate("nejneobhospodařovávatelnějšími 1234567 XK2041B9", 6) == "nejneo 1234567 XK2041B9"
