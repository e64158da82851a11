"""Every format gives text, structure and metadata; every file that cannot be read gives an error that names it and says what to do."""

from __future__ import annotations

import builtins
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

from qwen3_rag.errors import MissingExtraError, SourceError, SourceUnavailableError, UnsupportedFormatError
from qwen3_rag.settings import SourceSettings
from qwen3_rag.sources import Format, SourceFile, discover, hash_file, read, supported_formats
from qwen3_rag.types import Document, Syntax

SETTINGS = SourceSettings()


def load(tmp_path: Path, name: str, content: str | bytes) -> Document:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(SourceFile(path, tmp_path, path.stat().st_size), SETTINGS)


def heads(document: Document) -> list[tuple[str, int]]:
    return [(heading.text, heading.level) for heading in document.headings]


def test_a_document_tells_where_it_is_from(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    document = load(tmp_path, "sub/a.txt", "some text")
    path = tmp_path / "sub/a.txt"
    assert document.id == document.source == path.as_posix()
    assert document.metadata == {"path": "sub/a.txt", "format": "text"}
    assert document.content_hash == hash_file(path) == hashlib.sha256(b"some text").hexdigest()
    assert document.title is None
    (alone,) = discover(path, SETTINGS)
    assert isinstance(alone, SourceFile)
    assert read(alone, SETTINGS).metadata["path"] == "a.txt"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "utf-8-sig"])
def test_line_ends_and_marks_are_normalised(tmp_path: Path, encoding: str) -> None:
    assert load(tmp_path, "a.txt", "one\r\ntwo\rthree\n".encode(encoding)).text == "one\ntwo\nthree\n"


class TestMarkdown:
    def test_yaml_front_matter_is_metadata(self, tmp_path: Path) -> None:
        front = "---\ntitle: Key rotation\ndate: 2024-02-01\ntags: [a, b]\nn: .nan\npath: mine\n1: {x: null}\n---\n"
        document = load(tmp_path, "a.md", front + "\n# Other\n\ntext\n")
        assert document.title == "Key rotation"
        assert document.text == "# Other\n\ntext\n"
        assert document.syntax is Syntax.MARKDOWN
        assert document.metadata == {
            "title": "Key rotation",
            "date": "2024-02-01",
            "tags": ["a", "b"],
            "n": "nan",
            "1": {"x": None},
            "path": "a.md",
            "format": "markdown",
        }
        json.dumps(document.metadata, allow_nan=False)

    def test_toml_front_matter_is_metadata(self, tmp_path: Path) -> None:
        document = load(tmp_path, "a.md", '+++\ntitle = "T"\nwhen = 2024-02-01T10:00:00Z\n+++\nbody\n')
        assert (document.title, document.text) == ("T", "body\n")
        assert document.metadata["when"] == "2024-02-01T10:00:00+00:00"

    @pytest.mark.parametrize(
        "text",
        [
            "---\nnot: [valid\n---\ntext\n",
            "---\njust a line between rules\n---\ntext\n",
            "---\ndate: 2024-13-45\n---\ntext\n",
            "---\nnever: closed\n\ntext\n",
            "---\na: &a [*a]\n---\ntext\n",
            "---\na: &a [x,x,x,x,x,x,x,x,x]\n"
            + "".join(f"{new}: &{new} [{','.join(['*' + old] * 9)}]\n" for old, new in zip("abcdefg", "bcdefgh", strict=True))
            + "---\ntext\n",
        ],
        ids=["invalid", "no-mapping", "no-date", "open", "recursive", "exponential"],
    )
    def test_what_is_no_front_matter_stays_text(self, tmp_path: Path, text: str) -> None:
        document = load(tmp_path, "a.md", text)
        assert document.text.replace("\n\n---", "\n---") == text
        assert set(document.metadata) == {"path", "format"}

    def test_the_first_heading_is_the_title_if_it_is_of_level_1(self, tmp_path: Path) -> None:
        assert load(tmp_path, "a.md", "intro\n\n# The *big* `one`\n\n## b\n").title == "The big one"
        assert load(tmp_path, "b.md", "## Sub\n\n# Later\n").title is None

    def test_front_matter_that_is_not_valid_is_no_heading(self, tmp_path: Path) -> None:
        document = load(tmp_path, "a.md", "---\nteam: x\ntitle: Keys: how\n---\n# Rotation\n\ntext\n")
        assert [heading.text for heading in document.headings] == ["Rotation"]
        assert "title: Keys: how" in document.text
        for value in ("!!bool x", "!!timestamp x"):
            assert f"done: {value}" in load(tmp_path, "b.md", f"---\ndone: {value}\n---\nBody\n").text

    def test_empty_front_matter_is_taken_off(self, tmp_path: Path) -> None:
        assert load(tmp_path, "a.md", "---\n---\ntext\n").text == "text\n"


class TestHtml:
    PAGE = """<!DOCTYPE html><html><head><title>Keys – Example Site</title><style>p {}</style></head><body>
    <nav><a href="/">Home</a></nav><h1>Key   <b>rotation</b></h1><p>Keys are <i>rotated</i>.<br>Often &amp; well.</p>
    <h2>How</h2><ul><li>one</li><li><p>two</p></li></ul>
    <table><tr><th>a</th><th>b</th></tr><tr><td><p>1</p></td><td>2</td></tr></table>
    <pre>x = 1\n  y</pre><script>alert("no")</script><!-- no --></body></html>"""

    def test_text_headings_and_title(self, tmp_path: Path) -> None:
        document = load(tmp_path, "a.html", self.PAGE)
        assert document.text == ("Key rotation\n\nKeys are rotated.\nOften & well.\n\nHow\n\n- one\n- two\n\na | b\n1 | 2\n\nx = 1\n  y")
        assert heads(document) == [("Key rotation", 1), ("How", 2)]
        assert all(document.text.startswith(heading.text, heading.start) for heading in document.headings)
        assert document.title == "Key rotation"

    def test_the_title_element_counts_where_no_single_h1_does(self, tmp_path: Path) -> None:
        assert load(tmp_path, "a.html", "<title>T</title><h1>a</h1><h1>b</h1>").title == "T"
        assert load(tmp_path, "b.html", "<title> A\nB </title><p>x</p>").title == "A B"
        assert load(tmp_path, "c.html", "<p>x</p>").title is None

    def test_a_declared_encoding_is_used(self, tmp_path: Path) -> None:
        page = '<meta charset="koi8-r"><p>Привет</p>'.encode("koi8-r")
        assert load(tmp_path, "a.html", page).text == "Привет"
        page = '<?xml version="1.0" encoding="cp1251"?><html><body>Мир</body></html>'.encode("cp1251")
        assert load(tmp_path, "b.xhtml", page).text == "Мир"

    def test_tags_of_the_head_may_be_omitted(self, tmp_path: Path) -> None:
        page = "<!doctype html><html><head><meta charset=utf-8><title>T</title><body><h1>Hi</h1><p>Content here</p></body></html>"
        for name, source in (("a.html", page), ("b.html", page.replace("<head>", ""))):
            document = load(tmp_path, name, source)
            assert (document.text, document.title) == ("Hi\n\nContent here", "Hi")

    def test_rows_that_begin_with_an_empty_cell_are_lines(self, tmp_path: Path) -> None:
        rows = "<tr><td></td><td>2023</td></tr><tr><td>Rev</td><td>1</td></tr><tr><td><p></p></td><td>3</td></tr>"
        assert load(tmp_path, "a.html", f"<p>Intro<table>{rows}</table>").text == "Intro\n\n | 2023\nRev | 1\n | 3"
        assert load(tmp_path, "b.html", "<p>x<table><tr><td></td></tr><tr><td>a</td></tr></table>").text == "x\n\na"

    @pytest.mark.parametrize("closed", [True, False])
    def test_cells_that_are_not_closed_and_spaces_around_them(self, tmp_path: Path, closed: bool) -> None:
        source = "<table><tr> <td> a </td> <td> b </td></tr> <tr> <td>c</td> <td> d <p>e</p></td> </tr></table>"
        source = source if closed else source.replace("</td>", "").replace("</tr>", "")
        assert load(tmp_path, "a.html", source).text.replace("d\n\ne", "d e") == "a | b\nc | d e"
        nested = "<table><tr><td>a<table><tr><td>b</td></tr></table></td></tr></table>"
        assert load(tmp_path, "b.html", nested).text == "a\n\nb"
        assert load(tmp_path, "c.html", "<ul><li> one</li> <li> two </li></ul>").text == "- one\n- two"
        assert load(tmp_path, "d.html", "<table>Text <th>h</th><td>c</td></table>").text == "Text h | c"

    def test_words_of_headings(self, tmp_path: Path) -> None:
        page = """<h1>Keys<br>and <b>lo</b>cks<a class="headerlink" href="#k">¶</a></h1><p>x</p>
        <h2><a href="#s">#</a> <div>C#</div><div>code</div><!-- no --></h2><h3><a href="/x">Linked</a><button>copy</button></h3>"""
        assert [heading.text for heading in load(tmp_path, "a.html", page).headings] == ["Keys and locks", "C# code", "Linked"]
        source = "Intro\n\n=== ===\n\\   b\n=== ===\n1   2\n\\   4\n=== ==="
        assert load(tmp_path, "a.rst", source).text == "Intro\n\n | b\n1 | 2\n | 4"

    def test_pages_without_tags_or_nested_very_deeply_are_read(self, tmp_path: Path) -> None:
        assert load(tmp_path, "a.html", "other.html").text == "other.html"
        assert load(tmp_path, "b.html", "<div>" * 3000 + "deep").text == "deep"


@pytest.mark.parametrize(("name", "text"), [("Shift_JIS", "日本語"), ("ISO-8859-1", "Café naïve 100 ± 2")])
def test_the_encoding_that_xml_declares_is_believed(tmp_path: Path, name: str, text: str) -> None:
    source = f'<?xml version="1.0" encoding="{name}"?><a>{text}</a>'
    for file in ("a.xml", "a.txt"):
        assert load(tmp_path, file, source.encode(name)).text == source


class TestRst:
    def test_option_lists(self, tmp_path: Path) -> None:
        source = "Intro\n\n-a, --all=FILE  Show *all*.\n-b              Be brief.\n\n                More.\n"
        assert load(tmp_path, "a.rst", source).text == "Intro\n\n-a, --all=FILE: Show all.\n-b: Be brief.\n\nMore."

    def test_only_titles_of_sections_are_headings(self, tmp_path: Path) -> None:
        source = "Config\n======\n\nRun it.\n\n.. admonition:: On Windows\n\n   Use WSL.\n\nThen reboot.\n"
        document = load(tmp_path, "a.rst", source)
        assert [heading.text for heading in document.headings] == ["Config"]
        assert document.text == "Config\n\nRun it.\n\nOn Windows\n\nUse WSL.\n\nThen reboot."

    def test_a_title_with_a_short_line_is_written_once(self, tmp_path: Path) -> None:
        document = load(tmp_path, "a.rst", "Long title here\n======\n\nText.")
        assert (document.text, document.title) == ("Long title here\n\nText.", "Long title here")

    def test_a_caption_is_a_paragraph(self, tmp_path: Path) -> None:
        assert load(tmp_path, "a.rst", ".. figure:: a.png\n   :alt: Diagram\n\n   The caption.").text == "Diagram\n\nThe caption."

    def test_text_and_headings(self, tmp_path: Path) -> None:
        source = """Title
=====

See :ref:`the keys <keys>` and ``code`` in |name|.

.. versionadded:: 1.2
   New *here*.

.. note:: Known.

Section
-------

* one
* two

==== ====
a    b
==== ====
1    2
==== ====

.. |name| replace:: QWEN
.. a comment
"""
        document = load(tmp_path, "a.rst", source)
        assert document.text == (
            "Title\n\nSee the keys and code in QWEN.\n\n1.2\nNew *here*.\n\nKnown.\n\nSection\n\n- one\n- two\n\na | b\n1 | 2"
        )
        assert heads(document) == [("Title", 1), ("Section", 2)]
        assert all(document.text.startswith(heading.text, heading.start) for heading in document.headings)
        assert document.title == "Title"

    def test_no_other_file_is_read(self, tmp_path: Path) -> None:
        (tmp_path / "secret.txt").write_text("SECRET")
        secret = tmp_path / "secret.txt"
        source = f"""Text

.. include:: {secret}

.. literalinclude:: {secret}

.. raw:: html
   :file: {secret}

.. csv-table::
   :file: {secret}

.. raw:: html

   <b>RAW</b>
"""
        text = load(tmp_path, "a.rst", source).text
        assert "Text" in text
        assert "SECRET" not in text
        assert "RAW" not in text


class TestCode:
    @pytest.mark.parametrize(
        ("name", "content", "code"),
        [
            ("a.py", "x = 1\n", "python"),
            ("a.tsx", "<a/>\n", "tsx"),
            ("Makefile", "all:\n", "make"),
            ("tool", "#!/usr/bin/env python3\nx = 1\n", "python"),
            ("run", "#!/bin/sh -e\n:\n", "bash"),
            ("a.kt", "val x = 1\n", "kotlin"),
        ],
    )
    def test_the_language_is_told(self, tmp_path: Path, name: str, content: str, code: str) -> None:
        document = load(tmp_path, name, content)
        assert (document.syntax, document.code, document.text) == (Syntax.CODE, code, content)

    def test_pep_263_is_believed(self, tmp_path: Path) -> None:
        assert "мир" in load(tmp_path, "a.py", "# -*- coding: koi8-r -*-\nx = 'мир'\n".encode("koi8-r")).text


class TestRecords:
    def test_json_lists_are_records(self, tmp_path: Path) -> None:
        document = load(tmp_path, "a.json", '[{"a": 1.50, "b": {"c": [1, "x"], "d": null, "e": true}}, {"f": [{"g": 1}, {"g": 2}]}]')
        assert document.text == "a: 1.50\nb.c: 1, x\nb.e: true\n\nf.g: 1\n\nf.g: 2"
        assert document.syntax is Syntax.RECORDS

    def test_odd_json_is_read(self, tmp_path: Path) -> None:
        assert load(tmp_path, "a.json", r'{"k": "\ud83d\ude00 \ud800 \u0000."}').text == "k: 😀 \ufffd ."
        assert load(tmp_path, "b.json", "1" * 5000).text == "1" * 5000
        assert load(tmp_path, "c.json", '["a", "b"]').text == "a, b"

    def test_json_lines(self, tmp_path: Path) -> None:
        assert load(tmp_path, "a.jsonl", '{"a": 1}\n\n{"a": "two\\nlines"}\n').text == "a: 1\n\na: two\nlines"

    @pytest.mark.parametrize(
        ("name", "content", "where"),
        [
            ("a.json", '{\n"a": 1,,\n}', "line 2"),
            ("a.jsonl", '{"a": 1}\n\n{"a": \n', "line 3"),
            ("b.json", "[" * 100_000, "nested too deeply"),
        ],
    )
    def test_invalid_json_is_an_error_that_says_where(self, tmp_path: Path, name: str, content: str, where: str) -> None:
        with pytest.raises(SourceError, match=f"{name} .*{where}"):
            load(tmp_path, name, content)

    @pytest.mark.parametrize(
        ("name", "content"),
        [
            ("a.csv", 'name,age\nBob,3\n"Ann, B.",4\n'),
            ("a.csv", "name;age\nBob;3\nAnn, B.;4\n"),
            ("a.tsv", "name\tage\r\nBob\t3\r\nAnn, B.\t4\r\n"),
            ("a.csv", "name|age\nBob|3\nAnn, B.|4\n"),
        ],
    )
    def test_tables(self, tmp_path: Path, name: str, content: str) -> None:
        assert load(tmp_path, name, content).text == "name: Bob\nage: 3\n\nname: Ann, B.\nage: 4"

    def test_names_of_columns_that_are_years_or_missing(self, tmp_path: Path) -> None:
        with_years = "Country,2019,2020\nPeru,1.5,2\nChad,,7\n"
        assert load(tmp_path, "a.csv", with_years).text == "Country: Peru\n2019: 1.5\n2020: 2\n\nCountry: Chad\n2020: 7"
        assert load(tmp_path, "b.csv", "Ann,1990,2005\nBob,1985,2001\n").text.startswith("column 1: Ann\ncolumn 2: 1990")
        assert load(tmp_path, "c.csv", "Ann,7,9\nBob,1,2\n").text.startswith("column 1: Ann")
        assert load(tmp_path, "d.csv", ",name\n0,Bob\n1,Ann\n").text == "0\nname: Bob\n\n1\nname: Ann"
        assert load(tmp_path, "e.csv", "name,\nBob,1\n").text.startswith("column 1: name")
        assert load(tmp_path, "f.csv", ",2019,2020\nRevenue,5,6\n").text == "Revenue\n2019: 5\n2020: 6"

    def test_a_first_line_that_names_the_separator(self, tmp_path: Path) -> None:
        assert load(tmp_path, "a.csv", "sep=;\r\na,b;c\r\n1;2\r\n").text == "a,b: 1\nc: 2"

    @pytest.mark.parametrize("cell", ['"Size, in', '"5'])
    def test_a_quote_that_is_never_closed(self, tmp_path: Path, cell: str) -> None:
        rows = f"part\tnote\na\t{cell}\nb\tsmall\nc\tlarge\n"
        assert load(tmp_path, "a.tsv", rows).text == f"part: a\nnote: {cell}\n\npart: b\nnote: small\n\npart: c\nnote: large"
        assert load(tmp_path, "b.tsv", 'part\tnote\na\t"two\nlines"\n').text == "part: a\nnote: two\nlines"
        one_column = 'note\n"one\ntwo"\n"say "hi" there"\n'
        assert load(tmp_path, "d.csv", one_column).text == 'note: one\ntwo\n\nnote: say hi" there"'
        assert load(tmp_path, "c.tsv", 'part\tnote\na\t"two\n\ttabbed lines"\n').text == "part: a\nnote: two\n\ttabbed lines"

    def test_tables_without_names_ragged_or_with_huge_cells(self, tmp_path: Path) -> None:
        assert load(tmp_path, "a.csv", "1,2\n3,4\n").text == "column 1: 1\ncolumn 2: 2\n\ncolumn 1: 3\ncolumn 2: 4"
        assert load(tmp_path, "b.csv", "a,b\n1\n1,2,3\n").text == "a: 1\n\na: 1\nb: 2\ncolumn 3: 3"
        assert len(load(tmp_path, "c.csv", "a,b\n1," + "x" * 200_000 + "\n").text) > 200_000
        assert load(tmp_path, "d.csv", "only one line\n").text.strip() == "column 1: only one line"


class TestNotebook:
    def test_cells_become_markdown(self, tmp_path: Path) -> None:
        cells: list[dict[str, Any]] = [
            {"cell_type": "markdown", "source": ["# Report\n", "text ![](attachment:x.png)"]},
            {
                "cell_type": "code",
                "source": "print('```')\n",
                "outputs": [
                    {"output_type": "stream", "text": [f"line {number}\n" for number in range(30)]},
                    {"output_type": "display_data", "data": {"image/png": "AAAA", "text/plain": "<Figure>"}},
                    {"output_type": "error", "ename": "ValueError", "evalue": "no", "traceback": []},
                ],
            },
        ]
        notebook = {"cells": cells, "metadata": {"language_info": {"name": "python"}}, "nbformat": 4}
        document = load(tmp_path, "a.ipynb", json.dumps(notebook))
        assert document.title == "Report"
        assert document.text.startswith("# Report\ntext \n\n````python\nprint('```')\n````\n\n```text\nline 0\n")
        assert "line 19\n…" in document.text
        assert "line 20" not in document.text
        assert "AAAA" not in document.text
        assert "ValueError: no" in document.text

    def test_markdown_that_code_shows_is_text(self, tmp_path: Path) -> None:
        data = {"text/markdown": ["**Total**: ", "42"], "text/plain": ["<IPython.core.display.Markdown object>"], "text/html": "<b>no</b>"}
        cell = {"cell_type": "code", "source": "", "outputs": [{"output_type": "display_data", "data": data}]}
        assert load(tmp_path, "a.ipynb", json.dumps({"cells": [cell]})).text == "```text\n**Total**: 42\n```"

    @pytest.mark.parametrize("metadata", [None, {"language_info": None}, {"language_info": {"name": None}}, {"language_info": {}}])
    def test_a_notebook_that_names_no_language_is_read(self, tmp_path: Path, metadata: object) -> None:
        notebook = {"cells": [{"cell_type": "code", "source": "x = 1"}], "metadata": metadata}
        assert load(tmp_path, "a.ipynb", json.dumps(notebook)).text == "```python\nx = 1\n```"

    @pytest.mark.parametrize(
        "content",
        [
            *("{}", "[1]", "no json", '{"cells": [1]}', '{"cells": [{"source": "x"}]}'),
            '{"cells": [{"cell_type": "heading", "level": "x", "source": "x"}]}',
        ],
    )
    def test_what_is_no_notebook_is_an_error(self, tmp_path: Path, content: str) -> None:
        with pytest.raises(SourceError, match=r"a\.ipynb is not a Jupyter notebook"):
            load(tmp_path, "a.ipynb", content)


class TestRefused:
    @pytest.mark.parametrize(
        ("name", "content", "reason"),
        [
            ("a.pdf", b"\x89PNG\r\n\x1a\n\x00\x00", "it is a PNG image"),
            ("a.txt", b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n", "it is a PDF"),
            ("a.docx", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(100), "old or encrypted office document.*without a password"),
            ("a.docx", b"just text", "it is text"),
            ("a.xlsx", b"PK\x03\x04" + bytes(26) + b"word/document.xml", "it is a DOCX document"),
            ("a.md", b"PK\x03\x04" + bytes(26), "it is a ZIP archive"),
            ("a.txt", b"", "is empty"),
            ("a.txt", b"abc\x00def", "holds binary data"),
            ("a.md", "Привет".encode("koi8-r"), "save it as UTF-8"),
        ],
    )
    def test_the_reason_names_the_file(self, tmp_path: Path, name: str, content: bytes, reason: str) -> None:
        with pytest.raises(SourceError, match=rf"{name} .*{reason}"):
            load(tmp_path, name, content)

    def test_a_file_of_white_space_is_a_document_without_text(self, tmp_path: Path) -> None:
        assert load(tmp_path, "a.txt", b" \n\t\r\n").text.strip() == ""

    def test_binary_of_unknown_name_is_unsupported(self, tmp_path: Path) -> None:
        with pytest.raises(UnsupportedFormatError, match=r"a\.xyz is binary data, which no reader knows"):
            load(tmp_path, "a.xyz", bytes(range(256)))

    def test_too_large(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").write_text("x" * 101)
        with pytest.raises(SourceError, match="larger than the limit of 100 bytes"):
            read(SourceFile(tmp_path / "a.txt", None, 101), SourceSettings(max_bytes=100))

    def test_a_file_that_is_gone_or_closed(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        gone = SourceFile(tmp_path / "gone.txt", None, 1)
        with pytest.raises(SourceUnavailableError, match=r"gone\.txt cannot be read: No such file"):
            read(gone, SETTINGS)
        with pytest.raises(SourceUnavailableError, match=r"gone\.txt cannot be read"):
            hash_file(gone.path)

        def refuse(*_: object, **__: object) -> bytes:
            raise PermissionError(13, "Permission denied")

        monkeypatch.setattr(Path, "read_bytes", refuse)
        (tmp_path / "closed.txt").write_text("x")
        with pytest.raises(SourceUnavailableError, match=r"closed\.txt cannot be read: Permission denied"):
            read(SourceFile(tmp_path / "closed.txt", None, 1), SETTINGS)

    def test_a_missing_extra_is_named(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        importer = builtins.__import__

        def without(name: str, *args: Any, **kwargs: Any) -> Any:
            if name == "markitdown":
                raise ImportError(name)
            return importer(name, *args, **kwargs)

        monkeypatch.setattr(builtins, "__import__", without)
        with pytest.raises(MissingExtraError, match=r"pip install 'qwen3-rag\[documents\]'"):
            load(tmp_path, "a.pdf", b"%PDF-1.4\nstartxref\n9\n%%EOF")


def test_every_format_is_listed() -> None:
    formats = supported_formats()
    assert {info.format for info in formats} == set(Format)
    extensions = [extension for info in formats for extension in info.extensions]
    assert len(extensions) == len(set(extensions))
    assert {info.format for info in formats if info.extra} == {Format.PDF, Format.DOCX, Format.PPTX, Format.XLSX}
