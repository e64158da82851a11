"""What is promised of chunks, for any text: exact spans, nothing lost, never over the budget. And what makes them good."""

from __future__ import annotations

import copy
import pickle
import random
import time
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer

from qwen3_rag.chunking import Chunker
from qwen3_rag.errors import ConfigurationError, SourceError
from qwen3_rag.settings import ChunkingSettings
from qwen3_rag.types import Chunk, Document, EncodedText, Heading, Syntax
from tests.fakes import word_tokenizer

PIECES = st.sampled_from(
    [
        *(
            "# ",
            "## Head",
            "\n",
            "\n\n",
            "\r\n",
            "\r",
            " ",
            "    ",
            "\t",
            "```\n",
            "- ",
            "| a | b |\n",
            "> ",
            "===\n",
            "---\n",
            "\u2028",
            "\x1c",
        ),
        *(
            "Keys are rotated. ",
            "word " * 30,
            "x" * 50,
            "密钥每九十天更换一次。",
            "e\u0301",
            "👨‍👩‍👧‍👦",
            "🇩🇪",
            "ﷺ",
            "\u0000",
            "def f(x):\n    return x\n",
            "{};",
        ),
    ]
)
TEXTS = st.lists(PIECES | st.text(alphabet=st.characters(exclude_categories=("Cs",)), max_size=20), max_size=60).map("".join)
CODES = st.sampled_from([None, "python", "javascript", "typescript", "tsx", "java", "go", "rust", "c", "cpp", "bash", "ruby", "cobol"])
QUICK = settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


def check(chunks: list[Chunk], document: Document, tokenizer: Tokenizer, budget: int) -> None:
    """Every promise that holds whatever the text."""
    covered = bytearray(len(document.text))
    for ordinal, chunk in enumerate(chunks):
        assert chunk.ordinal == ordinal
        assert document.text[chunk.start : chunk.end] == chunk.text
        assert chunk.text.strip()
        assert chunk.tokens == len(tokenizer.encode(chunk.embedding_text, add_special_tokens=False)) <= budget
        assert "\n" not in chunk.context
        covered[chunk.start : chunk.end] = b"\x01" * (chunk.end - chunk.start)
    starts = [chunk.start for chunk in chunks]
    assert starts == sorted(set(starts))
    assert all(here or character.isspace() for here, character in zip(covered, document.text, strict=True))


def disjoint(chunks: list[Chunk]) -> bool:
    return all(one.end <= two.start for one, two in pairwise(chunks))


def markdown(text: str, title: str | None = None) -> Document:
    return Document(id="d", text=text, title=title, syntax=Syntax.MARKDOWN)


class TestPromises:
    @QUICK
    @given(text=TEXTS, syntax=st.sampled_from(Syntax), code=CODES, budget=st.integers(16, 80), title=st.none() | TEXTS)
    def test_any_text(self, bpe: Tokenizer, text: str, syntax: Syntax, code: str | None, budget: int, title: str | None) -> None:
        document = Document(id="d", text=text, title=title, syntax=syntax, code=code)
        chunks = Chunker(bpe, ChunkingSettings(budget)).chunk(document)
        check(chunks, document, bpe, budget)
        assert disjoint(chunks)

    @QUICK
    @given(text=TEXTS, syntax=st.sampled_from(Syntax))
    def test_any_tokenizer(self, tokenizer: Tokenizer, text: str, syntax: Syntax) -> None:
        document = Document(id="d", text=text, title="A title", syntax=syntax)
        check(Chunker(tokenizer, ChunkingSettings(24)).chunk(document), document, tokenizer, 24)

    @QUICK
    @given(text=TEXTS, overlap=st.integers(1, 20))
    def test_any_overlap(self, bpe: Tokenizer, text: str, overlap: int) -> None:
        document = markdown(text)
        check(Chunker(bpe, ChunkingSettings(40, overlap)).chunk(document), document, bpe, 40)

    @QUICK
    @given(text=TEXTS, headings=st.lists(st.builds(Heading, TEXTS, st.integers(1, 6), st.integers(-5, 400))))
    def test_any_headings(self, bpe: Tokenizer, text: str, headings: list[Heading]) -> None:
        document = Document(id="d", text=text, headings=tuple(headings))
        check(Chunker(bpe, ChunkingSettings(40)).chunk(document), document, bpe, 40)

    @pytest.mark.parametrize(
        ("text", "syntax", "code"),
        [
            ("a" * 100_000, Syntax.TEXT, None),
            ("".join(random.Random(0).choices("abcdefghij0123456789+/", k=100_000)), Syntax.TEXT, None),
            ("密钥每九十天更换一次" * 3_000, Syntax.MARKDOWN, None),
            ("👨‍👩‍👧‍👦" * 2_000, Syntax.TEXT, None),
            ("e" + "\u0301" * 5_000, Syntax.TEXT, None),
            ("|" + " cell |" * 20 + "\n|" + " - |" * 20 + "\n" + ("|" + " cell |" * 20 + "\n") * 300, Syntax.MARKDOWN, None),
            ("var a=function(b){return b+1};if(x){y()}else{z(1,2,[3])};" * 800, Syntax.CODE, "javascript"),
            (" " * 50_000 + "x" + "\n" * 50_000 + "y", Syntax.MARKDOWN, None),
            ("# " + "long heading " * 2_000 + "\n\ntext", Syntax.MARKDOWN, None),
            ("\n".join(f"{'#' * (1 + number % 6)} h{number}" for number in range(2_000)), Syntax.MARKDOWN, None),
            ("- " * 2_000 + "x\n" + "> " * 2_000 + "y\n" + "[" * 5_000, Syntax.MARKDOWN, None),
        ],
        ids=["word", "base64", "chinese", "emoji", "accents", "table", "minified", "spaces", "heading", "headings", "nesting"],
    )
    def test_hard_texts(self, tokenizer: Tokenizer, text: str, syntax: Syntax, code: str | None) -> None:
        document = Document(id="d", text=text, title="A long title " * 200, syntax=syntax, code=code)
        began = time.monotonic()
        chunks = Chunker(tokenizer, ChunkingSettings(128)).chunk(document)
        assert time.monotonic() - began < 30
        check(chunks, document, tokenizer, 128)
        assert max(len(chunk.text.strip()) for chunk in chunks) < 128 * 40

    @pytest.mark.parametrize("text", ["", " \n\t\u3000\x1c\n"])
    def test_white_space_has_no_chunks(self, bpe: Tokenizer, text: str) -> None:
        assert Chunker(bpe, ChunkingSettings()).chunk(markdown(text)) == []

    def test_a_lone_surrogate_is_an_error(self, bpe: Tokenizer) -> None:
        with pytest.raises(SourceError, match="text of d holds a lone surrogate at character 2"):
            Chunker(bpe, ChunkingSettings()).chunk(markdown("ab\ud800"))

    def test_truncation_and_padding_of_the_tokenizer_do_not_count(self, bpe: Tokenizer) -> None:
        limited = Tokenizer.from_str(bpe.to_str())
        limited.enable_truncation(5)
        limited.enable_padding(length=50)
        document = markdown("Keys are rotated. " * 50)
        assert Chunker(limited, ChunkingSettings(32)).chunk(document) == Chunker(bpe, ChunkingSettings(32)).chunk(document)
        assert limited.truncation is not None

    def test_no_boundary_is_drawn_by_the_block_length(self, bpe: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
        document = Document(id="d", text=" ".join(f"Sentence number {number} is here." for number in range(3_000)))
        in_blocks = Chunker(bpe, ChunkingSettings(64)).chunk(document)
        monkeypatch.setattr("qwen3_rag.chunking.splitting._LEAST_BLOCK", 10**9)
        assert Chunker(bpe, ChunkingSettings(64)).chunk(document) == in_blocks


class TestSections:
    def test_a_chunk_keeps_to_its_section(self, bpe: Tokenizer) -> None:
        long = "Keys are rotated every day. " * 10
        document = markdown(f"# Handbook\n\n{long}\n\n## Keys\n\n{long}\n\n### Loss\n\n{long}\n\n## Backups\n\n{long}", "Handbook")
        chunks = Chunker(bpe, ChunkingSettings(128)).chunk(document)
        assert [chunk.headings for chunk in chunks] == [(), ("Keys",), ("Keys", "Loss"), ("Backups",)]
        assert [chunk.context for chunk in chunks] == ["Handbook", "Handbook > Keys", "Handbook > Keys > Loss", "Handbook > Backups"]
        assert chunks[2].text.startswith("### Loss\n\nKeys are rotated")

    def test_small_sections_join_their_kin_only(self, bpe: Tokenizer) -> None:
        document = markdown("# A\n\n## A1\n\nShort.\n\n## A2\n\nShort too.\n\n# B\n\n## B1\n\nShort.\n")
        chunks = Chunker(bpe, ChunkingSettings(256)).chunk(document)
        assert [(chunk.headings, chunk.text) for chunk in chunks] == [
            (("A", "A1"), "# A\n\n## A1\n\nShort.\n\n## A2\n\nShort too."),
            (("B", "B1"), "# B\n\n## B1\n\nShort."),
        ]

    def test_a_heading_is_never_a_chunk_of_its_own(self, bpe: Tokenizer) -> None:
        paragraph = "Keys are rotated every ninety days. " * 30
        chunks = Chunker(bpe, ChunkingSettings(128)).chunk(markdown(f"# A\n\n## Keys\n\n{paragraph}\n\n{paragraph}"))
        assert len(chunks) > 2
        assert chunks[0].text.startswith("# A\n\n## Keys\n\nKeys are")
        assert all(chunk.headings == ("A", "Keys") for chunk in chunks)

    def test_a_comment_in_a_code_block_is_no_heading(self, bpe: Tokenizer) -> None:
        chunks = Chunker(bpe, ChunkingSettings(256)).chunk(markdown("# Real\n\n```sh\n# not a heading\nls\n```\n\ntext after"))
        assert [chunk.headings for chunk in chunks] == [("Real",)]

    def test_given_headings_are_used_for_any_syntax(self, bpe: Tokenizer) -> None:
        text = "Keys\n\n" + "Rotate them. " * 30 + "\n\nLoss\n\n" + "Call someone. " * 30
        headings = (Heading("Keys", 1, 0), Heading("Loss", 2, text.index("Loss")))
        chunks = Chunker(bpe, ChunkingSettings(64)).chunk(Document(id="d", text=text, headings=headings))
        assert {chunk.headings for chunk in chunks if "Call" in chunk.text} == {("Keys", "Loss")}
        assert {chunk.headings for chunk in chunks if "Rotate" in chunk.text} == {("Keys",)}

    def test_sections_with_the_same_words_are_told_apart(self, bpe: Tokenizer) -> None:
        document = markdown("# X\n\n## A\n\n### N\n\nOne.\n\n## B\n\n### N\n\nTwo.\n")
        chunks = Chunker(bpe, ChunkingSettings(128)).chunk(document)
        assert [chunk.headings for chunk in chunks] == [("X", "A", "N"), ("X", "B", "N")]


class TestContext:
    def test_it_takes_at_most_a_quarter_and_keeps_the_innermost_heading(self, bpe: Tokenizer) -> None:
        path = [f"The keys of day {number}" for number in range(1, 7)]
        text = "\n\n".join(f"{'#' * (number + 1)} {heading}\n\n{'Keys. ' * 60}" for number, heading in enumerate(path))
        deepest = Chunker(bpe, ChunkingSettings(128)).chunk(markdown(text, "Title"))[-2:]
        for chunk in deepest:
            assert chunk.headings[-1] == path[-1]
            assert chunk.title == "Title"
            assert len(chunk.headings) < len(path)
            assert len(bpe.encode(chunk.context)) <= 128 // 4

    def test_an_endless_heading_or_title_is_cut(self, bpe: Tokenizer) -> None:
        (chunk,) = Chunker(bpe, ChunkingSettings(32)).chunk(Document(id="d", text="Text.", title="endless " * 100))
        assert chunk.title is not None
        assert chunk.title.startswith("end")
        assert chunk.title.endswith("…")
        document = Document(id="d", text="x\nText.", title="Title", headings=(Heading("endless " * 100, 1, 0),))
        (chunk,) = Chunker(bpe, ChunkingSettings(32)).chunk(document)
        assert chunk.headings[0].endswith("…")
        assert chunk.title is None

    def test_the_title_is_not_repeated_in_the_path(self, bpe: Tokenizer) -> None:
        (chunk,) = Chunker(bpe, ChunkingSettings(128)).chunk(markdown("# The  title\n\n## Keys\n\nText.", "The title"))
        assert chunk.headings == ("Keys",)

    def test_language_and_id_are_passed_on(self, bpe: Tokenizer) -> None:
        (chunk,) = Chunker(bpe, ChunkingSettings()).chunk(Document(id="d", text="Text.", language="de"))
        assert (chunk.document_id, chunk.language, chunk.title, chunk.context) == ("d", "de", None, "")


class TestSyntax:
    def test_code_is_cut_between_functions(self, bpe: Tokenizer) -> None:
        function = "def name_{0}(keys):\n    first = keys[0]\n\n    return [first, *keys]\n"
        text = "\n\n".join(function.format(number) for number in range(12))
        chunks = Chunker(bpe, ChunkingSettings(128)).chunk(Document(id="d", text=text, syntax=Syntax.CODE, code="python"))
        assert len(chunks) > 3
        assert all(chunk.text.startswith("def ") and chunk.text.endswith("*keys]") for chunk in chunks)

    def test_records_stay_whole_where_they_fit(self, bpe: Tokenizer) -> None:
        record = "name: number {0}\nage: {0}\nnote: Keys are rotated."
        text = "\n\n".join(record.format(number) for number in range(40))
        chunks = Chunker(bpe, ChunkingSettings(64)).chunk(Document(id="d", text=text, syntax=Syntax.RECORDS))
        assert all(chunk.text.startswith("name:") and chunk.text.endswith("rotated.") for chunk in chunks)

    @pytest.mark.parametrize("code", ["python", "javascript", "typescript", "tsx", "java", "go", "rust", "c", "cpp", "bash", "ruby"])
    def test_every_grammar_loads(self, bpe: Tokenizer, code: str) -> None:
        document = Document(id="d", text="x = 1;\n" * 100, syntax=Syntax.CODE, code=code)
        check(Chunker(bpe, ChunkingSettings(32)).chunk(document), document, bpe, 32)


class TestOverlap:
    def test_neighbours_share_text_up_to_the_overlap(self, bpe: Tokenizer) -> None:
        document = Document(id="d", text=" ".join(f"Key {number} is here." for number in range(200)))
        chunks = Chunker(bpe, ChunkingSettings(64, 16)).chunk(document)
        check(chunks, document, bpe, 64)
        shared = [document.text[two.start : one.end] for one, two in pairwise(chunks)]
        assert all(shared)
        assert all(len(bpe.encode(text)) <= 16 for text in shared)

    def test_more_than_half_of_the_budget_is_refused(self, bpe: Tokenizer) -> None:
        with pytest.raises(ConfigurationError, match="QWEN3_RAG_CHUNK_OVERLAP to 32 or less"):
            Chunker(bpe, ChunkingSettings(64, 33))


def test_the_fingerprint_tells_settings_apart(bpe: Tokenizer) -> None:
    prints = {Chunker(bpe, ChunkingSettings(*values)).fingerprint for values in ((512, 0), (512, 64), (256, 0), (256, 64))}
    assert len(prints) == 4
    assert Chunker(bpe, ChunkingSettings()).fingerprint == Chunker(bpe, ChunkingSettings()).fingerprint


def test_chunks_carry_the_ids_that_the_model_reads():
    tokenizer = word_tokenizer()
    [chunk] = Chunker(tokenizer, ChunkingSettings(tokens=50)).chunk(Document("a", "one two three", title="Numbers"))
    assert isinstance(chunk.embedding_text, EncodedText)
    assert chunk.embedding_text == "Numbers\none two three"
    assert chunk.embedding_text.ids_in(tokenizer) == tokenizer.encode(str(chunk.embedding_text)).ids
    assert chunk.embedding_text.ids_in(word_tokenizer()) is None
    assert not isinstance(replace(chunk, text="other").embedding_text, EncodedText)
    for copied in (copy.deepcopy(chunk.embedding_text), pickle.loads(pickle.dumps(chunk.embedding_text))):
        assert copied == chunk.embedding_text
        assert type(copied) is str
