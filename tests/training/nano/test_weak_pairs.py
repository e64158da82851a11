"""Weak pairs from made-up samples of every format: what becomes a pair, what is passed over, the same pairs from the same seed."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

import pytest

from qwen3_rag.errors import SourceUnavailableError
from qwen3_rag.models.nano import debian
from qwen3_rag.models.nano.debian import DebianArchive
from qwen3_rag.training.nano import weak_pairs
from qwen3_rag.training.nano.descriptions import package_summaries
from qwen3_rag.training.nano.dictionaries import READERS, dictionary_entries, elements, entries, foldoc, gcide, jargon, wordnet
from qwen3_rag.training.nano.documentation import LARGEST_PAGE, page_parts, pages
from qwen3_rag.training.nano.manuals import DICTIONARY_LICENCES, MANUALS, Manual
from qwen3_rag.training.nano.prose import cloze, is_clean, is_english, passages, sentences
from qwen3_rag.training.nano.wording import definition_pair, section_query, term_query
from qwen3_rag.training.pairs import Pair, read_pairs

PROSE = (
    "Keys are rotated every ninety days by the server. The old key is kept for a week. It can be used to read, e.g. Backups of that time."
)

INDEX = """Package: keysmith
Description-md5: 0
Description-en: rotates keys
 Keysmith is a daemon that rotates the keys of a server
 and keeps the old ones for a week.
 .
 It has no configuration.

Package: keysmith-dev
Description-md5: 1
Description-en: rotates keys - headers
 Headers of the daemon that rotates keys, for programs that build on it.

Package: keysmith-gtk
Description-md5: 2
Description-en: rotates keys - window
 Keysmith is a daemon that rotates the keys of a server
 and keeps the old ones for a week. This is its window.

Package: oldsmith
Description-md5: 3
Description-en: transitional package for keysmith
 This can be removed safely.

"""

PAGE = """<html><head><title>Keys — Server 1.0 documentation</title></head><body>
<div class="related" role="navigation">Home</div>
<div role="main"><h1>3. Keys<a class="headerlink">¶</a></h1><p>All about keys.</p>
<div class="toc"><ul><li>Rotation</li></ul></div>
<h2>3.1. Rotation</h2><p>Keys are rotated by a daemon.</p><pre>rotate --now</pre><table><tr><td>cell</td></tr></table>
<dl><dt>period (integer)</dt><dt>age</dt><dd>Days until a key is replaced.<dl><dt>inner</dt><dd>Nested.</dd></dl></dd></dl>
<dl class="py function">
<dt class="sig"><span class="sig-prename">keys.</span><span class="sig-name">rotate</span>(now)<a class="headerlink">¶</a></dt>
<dd><p>Rotate the keys.</p></dd></dl>
</div><footer>Copyright</footer></body></html>"""

GCIDE = """Davit \\Dav"it\\, n. [Cf. F. davier forceps, davit, cooper's
   instrument, G. d[=a]vit.] (Naut.)
   (a) A spar formerly used on board of ships; -- called also
       the {fish davit}. --Totten.
       [1913 Webster]

         A davit in one of the windows.    --A. B.
                                           Edwards.
   [1913 Webster]

   Syn: crane.

   Note: Not a word of it.
"""

FOLDOC = """capability
object capability

   1. <operating system, security> An {object} token in __any__
   system ({(http://example.org/)}.

   ["Capabilities", A. Author].

   (1998-03-09)
"""

JARGON = """buffer chuck
 //, n.

    [common] Shorter, ruder syn. for {buffer overflow},
    as the hackers say.
"""


def test_sentences_end_at_full_stops_but_not_at_abbreviations() -> None:
    assert sentences("See e.g. Smith.  It works! Does J. Doe know?") == ["See e.g. Smith.", "It works!", "Does J. Doe know?"]
    assert " ".join(sentences(PROSE)) == PROSE


def test_passages_end_with_sentences_and_are_never_longer() -> None:
    text = " ".join(f"Sentence number {number} stands here." for number in range(100))
    pieces = passages(text, 200)
    assert " ".join(pieces) == text
    assert all(len(piece) <= 200 and piece.endswith(".") for piece in pieces)
    assert passages("word " * 100, 52) == [("word " * 10).strip()]


@pytest.mark.parametrize(
    "text", ["cafÃ© in town", "it costs â€™ much", "a <b>bold</b> word", "one &amp; two", "1 2 3 4 5 6 = 7 8 9", "a \ufffd b"]
)
def test_markup_mojibake_and_numbers_are_not_clean(text: str) -> None:
    assert not is_clean(text)


def test_clean_english_is_told_from_other_things() -> None:
    assert is_clean(PROSE)
    assert is_english(PROSE)
    assert not is_english("Die Schlüssel werden alle neunzig Tage gewechselt.")
    assert not is_english("foo bar baz qux quux corge grault garply waldo fred plugh")


def test_cloze_takes_one_sentence_out() -> None:
    found = cloze(PROSE, random.Random(0))
    assert found is not None
    sentence, rest = found
    assert sorted([sentence, *sentences(rest)]) == sorted(sentences(PROSE))
    assert cloze("One sentence. Two sentences here.", random.Random(0)) is None
    assert cloze("Too short. To ask. For it.", random.Random(0)) is None


def digit(value: int) -> str:
    return "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"[value]


def test_dictd_entries_are_found_by_index_once_each(tmp_path: Path) -> None:
    texts = [b"about this file\n", b"alpha\n   first\n", "\u00e9t\u00e9\n   second\n".encode()]
    offsets = [digit(0), digit(len(texts[0])), digit(len(texts[0] + texts[1]))]
    about, alpha, second = (f"{offset}\t{digit(len(text))}\n" for offset, text in zip(offsets, texts, strict=True))
    index = f"00databaseinfo\t{about}alias\t{alpha}alpha\t{alpha}\u00e9t\u00e9\t{second}"
    (tmp_path / "made-up.index").write_text(index, encoding="utf-8")
    (tmp_path / "made-up.dict.dz").write_bytes(gzip.compress(b"".join(texts)))
    assert list(dictionary_entries(tmp_path, "made-up")) == ["alpha\n   first\n", "été\n   second\n"]


def test_offsets_have_digits_of_base_64() -> None:
    data = b"." * 64 + b"word\n"
    assert list(entries("word\tBA\tF\n", data)) == ["word\n"]


def test_every_dictionary_gives_word_and_meaning_without_markup() -> None:
    assert foldoc(FOLDOC) == ("capability", "1. An object token in any system (.")
    assert jargon(JARGON) == ("buffer chuck", "Shorter, ruder syn. for buffer overflow, as the hackers say.")
    assert gcide(GCIDE) == ("Davit", "A spar formerly used on board of ships; -- called also the fish davit.")
    assert elements("gold\nSymbol: Au\nAtomic number: 79\nAtomic weight: 196.9\nGold is a\n{metal}.\n") == ("gold", "Gold is a metal.")
    assert wordnet('dog, domestic dog: a canine; "the dog barked"') == ("dog, domestic dog", 'a canine; "the dog barked"')


def test_cross_references_are_no_definitions() -> None:
    assert gcide('Davy lamp \\Da"vy lamp`\\\n   See {Safety lamp}, under {Lamp}.\n   [1913 Webster]\n') is None
    assert foldoc("Mozart\n\n   (1999-01-01)\n") is None


def test_descriptions_of_twins_and_empty_packages_are_passed_over() -> None:
    expected = "Keysmith is a daemon that rotates the keys of a server and keeps the old ones for a week. It has no configuration."
    assert list(package_summaries(INDEX)) == [("rotates keys", expected)]


def test_page_gives_sections_under_their_headings_and_terms() -> None:
    found, terms = page_parts(PAGE)
    assert [(part.path, part.text) for part in found] == [
        (("Keys",), "All about keys."),
        (("Keys", "Rotation"), "Keys are rotated by a daemon. period (integer) age Days until a key is replaced. inner Nested."),
    ]
    assert [(part.path[-1], part.text) for part in terms] == [
        ("period (integer)", "Days until a key is replaced."),
        ("inner", "Nested."),
        ("keys.rotate", "Rotate the keys."),
    ]
    assert {part.path[0] for part in terms} == {"Keys"}


def test_page_without_one_top_heading_is_called_by_its_title() -> None:
    found, _ = page_parts("<title>Write-Ahead Logging - SQLite</title><body><h1>Overview</h1><p>a</p><h1>Limits</h1><p>b</p></body>")
    assert [part.path for part in found] == [("Write-Ahead Logging", "Overview"), ("Write-Ahead Logging", "Limits")]


def test_pages_are_drawn_from_the_seed_without_news_and_giants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("b", "a", "c", "changes-1", "whatsnew"):
        (tmp_path / f"{name}.html").write_text("text")
    (tmp_path / "giant.html").write_text("x" * (LARGEST_PAGE + 1))
    assert [path.stem for path in pages(tmp_path, ("*.html", "a.html"), random.Random(0))] == ["a", "b", "c"]
    monkeypatch.setattr("qwen3_rag.training.nano.documentation.MOST_PAGES", 2)
    drawn = pages(tmp_path, ("*.html",), random.Random(4))
    assert drawn == pages(tmp_path, ("*.html",), random.Random(4))
    assert len(drawn) == 2


def test_a_short_heading_is_asked_with_the_one_above() -> None:
    for seed in range(20):
        query = section_query(("Keys", "Rotation"), random.Random(seed))
        assert query is not None
        assert {"Keys", "Rotation"} <= set(query.replace(":", "").split())
    assert section_query(("How keys are rotated",), random.Random(0)) == "How keys are rotated"
    assert section_query(("git-rebase", "DESCRIPTION"), random.Random(0)) in {
        "git-rebase: description",
        "description git-rebase",
        "git-rebase description",
    }


@pytest.mark.parametrize(
    "path", [("Keys", "See also"), ("Keys", "References"), ("Changes", "Version 3.1"), ("Release History", "2013-01-10")]
)
def test_nobody_asks_for_references_and_news(path: tuple[str, ...]) -> None:
    assert section_query(path, random.Random(0)) is None


def test_terms_stand_alone_where_they_say_enough() -> None:
    assert term_query(("git-rebase", "--onto")) == "git-rebase --onto"
    assert term_query(("Vacuuming", "autovacuum_naptime (integer)")) == "autovacuum_naptime"
    assert term_query(("Keys", "x" * 101)) is None


def test_words_become_questions_now_and_then() -> None:
    generator = random.Random(0)
    made = [definition_pair("dog, hound", "a canine", generator) for _ in range(400)]
    plain = [query for query, _ in made if query == "dog, hound"]
    asked = {query for query, _ in made} - {"dog, hound"}
    assert 200 < len(plain) < 280
    assert asked == {"what is dog?", "what does dog mean?", "define dog", "meaning of dog", "dog definition"}
    assert {positive for _, positive in made} == {"a canine", "dog: a canine"}


def test_only_good_pairs_are_selected_each_positive_once(monkeypatch: pytest.MonkeyPatch) -> None:
    text = "The answer to this is long enough to be a definition of it."
    pairs = [
        Pair("one", text, source="foldoc", extra={"package": "p"}),
        Pair("two", text.upper(), source="foldoc"),
        Pair("short", "Too short.", source="foldoc"),
        Pair("markup", f"<b>{text}</b>", source="foldoc"),
        Pair(f"{text}!", f"{text}!", source="foldoc"),
        Pair("terms", text + " It is.", source="terms"),
    ]
    assert weak_pairs.selected(pairs, 0) == [Pair("one", text, language="en", source="foldoc", extra={"package": "p"})]
    many = [Pair(f"{number} q", f"{text} It is number {number}.", source="wordnet") for number in range(20)]
    monkeypatch.setitem(weak_pairs.MOST, "wordnet", 5)
    drawn = weak_pairs.selected(many, 0)
    assert len(drawn) == 5
    assert drawn == weak_pairs.selected(many, 0)
    assert drawn != weak_pairs.selected(many, 1)


class MadeUpArchive:
    """Stands in for `DebianArchive`: packages are folders under `root`."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def descriptions(self) -> str:
        return INDEX

    def unpacked(self, package: str) -> Path:
        return self.root / package

    def file(self, package: str) -> Path:
        return self.root / f"{package}_1.0_all.deb"

    def version(self, package: str) -> str:
        return "1.0"


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MadeUpArchive:
    """WordNet, the dictionaries with one entry each, and a manual of one page."""
    manual = Manual("keys-doc", "usr/share/doc/keys", "MIT")
    monkeypatch.setattr(weak_pairs, "MANUALS", (manual,))
    folder = tmp_path / manual.package / manual.folder
    folder.mkdir(parents=True)
    (folder / "keys.html").write_text(f"<h1>Keys</h1><h2>Rotation of the keys</h2><p>{PROSE}</p>", encoding="utf-8")
    wordnet_folder = tmp_path / "wordnet-base/usr/share/wordnet"
    wordnet_folder.mkdir(parents=True)
    for part in ("adj", "adv", "noun", "verb"):
        line = f"00001740 03 n 01 {part}ity 0 000 | that which is perceived or known or inferred by an {part}\n"
        (wordnet_folder / f"data.{part}").write_text(line, encoding="utf-8")
    entry = b"word\n   \n   This is what the word is said to mean in this dictionary.\n"
    for name in READERS:
        dictionary = tmp_path / f"dict-{name}/usr/share/dictd"
        dictionary.mkdir(parents=True)
        (dictionary / f"{name}.index").write_text("word\tA\tBI\n", encoding="utf-8")
        (dictionary / f"{name}.dict.dz").write_bytes(gzip.compress(entry))
    for package in ("wordnet-base", manual.package, *(f"dict-{name}" for name in READERS)):
        (tmp_path / f"{package}_1.0_all.deb").write_bytes(package.encode())
    return MadeUpArchive(tmp_path)


def test_command_writes_pairs_and_where_they_come_from(
    archive: MadeUpArchive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(weak_pairs, "DebianArchive", lambda folder: archive)
    for name in ("one", "two"):
        weak_pairs.main(["--output", str(tmp_path / name)])
    pairs = list(read_pairs(tmp_path / "one/pairs.jsonl"))
    assert (tmp_path / "one/pairs.jsonl").read_bytes() == (tmp_path / "two/pairs.jsonl").read_bytes()
    assert {pair.language for pair in pairs} == {"en"}
    assert ("Rotation of the keys", PROSE) in {(pair.query, pair.positive) for pair in pairs}
    record = json.loads((tmp_path / "one/sources.json").read_text(encoding="utf-8"))
    assert record["pairs"] == len(pairs) == sum(package["pairs"] for package in record["packages"].values())
    assert record["by_source"]["wordnet"] == 4
    assert record["by_source"]["sections"] == 1
    assert record["packages"]["keys-doc"] == {
        "version": "1.0",
        "licence": "MIT",
        "pairs": record["by_source"]["sections"] + record["by_source"].get("cloze", 0),
        "sha256": record["packages"]["keys-doc"]["sha256"],
    }
    assert f"{len(pairs)}" in capsys.readouterr().out


def test_every_dictionary_and_manual_has_a_licence() -> None:
    assert set(DICTIONARY_LICENCES) == set(READERS)
    assert all(manual.licence for manual in MANUALS)
    assert len({manual.package for manual in MANUALS}) == len(MANUALS)


def test_package_that_is_there_is_not_fetched_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[tuple[str, ...]] = []
    monkeypatch.setattr(debian, "_run", lambda *command, folder: calls.append(command))
    folder = tmp_path / "packages/keys-doc"
    folder.mkdir(parents=True)
    (folder / "keys-doc_1%3a2.0-1_all.deb").touch()
    archive = DebianArchive(tmp_path)
    assert archive.unpacked("keys-doc") == folder / "files"
    assert archive.version("keys-doc") == "1:2.0-1"
    assert [command[0] for command in calls] == ["dpkg-deb"]


def test_missing_package_says_what_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(debian, "_run", lambda *command, folder: "")
    with pytest.raises(SourceUnavailableError, match="Is http"):
        DebianArchive(tmp_path).file("no-such-package")
