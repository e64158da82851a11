from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from qwen3_rag.store.language import FALLBACK, detect, detect_query, primary, query_languages

SENTENCES = {
    "ar": "تقع المكتبة الجديدة في وسط المدينة القديمة وتفتح أبوابها كل صباح.",
    "de": "Die neue Bibliothek liegt mitten in der Altstadt und öffnet jeden Morgen.",
    "el": "Η νέα βιβλιοθήκη βρίσκεται στο κέντρο της παλιάς πόλης.",
    "en": "The new library is in the middle of the old town and opens every morning.",
    "es": "La nueva biblioteca está en el centro de la ciudad vieja y abre cada mañana.",
    "fr": "La nouvelle bibliothèque se trouve au centre de la vieille ville.",
    "he": "הספרייה החדשה נמצאת במרכז העיר העתיקה.",
    "hi": "नया पुस्तकालय पुराने शहर के बीच में है और हर सुबह खुलता है।",
    "ja": "新しい図書館は旧市街の中心にあり、毎朝開館します。",
    "ka": "ახალი ბიბლიოთეკა ძველი ქალაქის ცენტრშია.",
    "km": "បណ្ណាល័យថ្មីនៅកណ្តាលទីក្រុងចាស់។",
    "ko": "새 도서관은 구시가지 한가운데에 있으며 매일 아침 문을 엽니다.",
    "pl": "Nowa biblioteka znajduje się w centrum starego miasta.",
    "ru": "Новая библиотека находится в центре старого города.",
    "ta": "புதிய நூலகம் பழைய நகரத்தின் நடுவில் உள்ளது.",
    "th": "ห้องสมุดแห่งใหม่อยู่กลางเมืองเก่าและเปิดทุกเช้า",
    "tr": "Yeni kütüphane eski şehrin ortasında ve her sabah açılıyor.",
    "uk": "Нова бібліотека розташована в центрі старого міста.",
    "vi": "Thư viện mới nằm ở giữa khu phố cổ và mở cửa mỗi sáng.",
    "zh": "新图书馆位于老城中心，每天早上开放。",
}


@pytest.mark.parametrize("code", SENTENCES)
def test_sentences(code: str) -> None:
    assert detect(SENTENCES[code]) == code
    assert detect_query(SENTENCES[code], list(SENTENCES)) == code


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  \n",
        "42 17.5 2024-01-01",
        "!?",
        "https://example.com/der/die/das",
        "x[i] += y[j]; z(3)",
        '{"id": 1, "v": [2, 3]}',
        "\ufffd\x00",
    ],
)
def test_text_without_a_language_falls_back(text: str) -> None:
    assert detect(text) == FALLBACK


def test_a_chinese_text_that_quotes_english_is_chinese() -> None:
    assert detect("使用 Kubernetes 和 Docker 部署服务") == "zh"
    assert detect("Tokyo, which is written 東京, is the capital of Japan.") == "en"


def test_a_query_is_one_of_the_collections_languages() -> None:
    assert detect_query("東京", ["en", "ja"]) == "ja"
    assert detect_query("東京", ["en", "zh"]) == "zh"
    assert detect_query("東京", ["en", "de"]) == "en"
    assert detect_query("Wo ist der Schlüssel?", ["en", "de"]) == "de"
    assert detect_query("Wo ist der Schlüssel?", ["en"]) == "en"
    assert detect_query("Wo ist der Schlüssel?", []) == "de"
    assert detect_query("Wo ist der Schlüssel?", ["en", "DE-at"]) == "de"
    assert detect_query("1234", ["zh", "fr"]) == "zh"


def test_what_a_collection_holds_is_expected_of_a_query():
    for word in ("illness", "number", "january", "settings"):
        assert query_languages(word, {"en": 300, "sv": 1, "de": 1})[0] == "en"
    assert "en" in query_languages("Running", {"en": 26, "sv": 1, "no": 3})
    assert query_languages("hur byter man nyckel till kontoret", {"en": 300, "sv": 1}) == ["sv"]
    assert query_languages("how are keys rotated?", {"en": 1, "sv": 300}) == ["en"]
    assert query_languages("Urlaub", {"en-GB": 10, "EN": 5, "de": 20}) == ["de", "en"]


def test_a_query_that_no_detector_knows_is_in_what_is_held_most():
    assert query_languages("ikke relevant", {"tlh": 3, "en": 0}) == ["en"]
    assert query_languages("12 34", {"de": 5, "fr": 1}) == ["de"]
    assert query_languages("ключ", {"de": 5, "fr": 1}) == ["de"]
    assert query_languages("anything", {}) == ["en"]


def test_codes_are_reduced_to_their_primary_subtag() -> None:
    assert [primary(code) for code in ("de-AT", "EN", "zh_CN", "nb", "iw", "", None)] == ["de", "en", "zh", "no", "he", None, None]


def test_threads_agree() -> None:
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(detect, [*SENTENCES.values()] * 5)) == [*SENTENCES] * 5


def test_one_language_loads_no_detector() -> None:
    code = (
        "import sys; from qwen3_rag.store.language import detect_query; "
        "detect_query('wo ist der Schlüssel', ['de']); assert 'py3langid' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
