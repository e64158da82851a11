"""PDF and office files, made here, are read through the extra; encrypted and damaged ones are errors that say so."""

from __future__ import annotations

import datetime
import io
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from qwen3_rag.errors import SourceError
from qwen3_rag.settings import SourceSettings
from qwen3_rag.sources import SourceFile, read
from qwen3_rag.types import Document, Syntax

pytest.importorskip("markitdown", reason="the extra `documents` is not installed")

W = "http://schemas.openxmlformats.org/wordprocessingml/2006/main"
R = "http://schemas.openxmlformats.org"


def load(tmp_path: Path, name: str, content: bytes) -> Document:
    path = tmp_path / name
    path.write_bytes(content)
    return read(SourceFile(path, tmp_path, len(content)), SourceSettings())


def pdf(text: str = "Keys are rotated every ninety days.", password: str | None = None) -> bytes:
    fpdf = pytest.importorskip("fpdf")
    document = fpdf.FPDF()
    document.add_page()
    document.set_font("Helvetica", size=12)
    if text:
        document.multi_cell(0, text=text)
    if password:
        document.set_encryption(owner_password="owner", user_password=password)
    return bytes(document.output())


def docx(title: str | None = None, text: str = "They run at night.") -> bytes:
    styles = f'<w:styles xmlns:w="{W}"><w:style w:type="paragraph" w:styleId="Heading1"><w:name w:val="heading 1"/></w:style></w:styles>'
    body = (
        f'<w:document xmlns:w="{W}"><w:body><w:p><w:pPr><w:pStyle w:val="Heading1"/></w:pPr><w:r><w:t>Backups</w:t></w:r></w:p>'
        f"<w:p><w:r><w:t>{text}</w:t></w:r></w:p></w:body></w:document>"
    )
    core = f'<p:coreProperties xmlns:p="x" xmlns:dc="http://purl.org/dc/elements/1.1/"><dc:title>{title}</dc:title></p:coreProperties>'
    main = "application/vnd.openxmlformats-officedocument.wordprocessingml"
    parts = {
        "[Content_Types].xml": f'<Types xmlns="{R}/package/2006/content-types"><Default Extension="rels" ContentType="application/'
        f'vnd.openxmlformats-package.relationships+xml"/><Override PartName="/word/document.xml" '
        f'ContentType="{main}.document.main+xml"/></Types>',
        "_rels/.rels": f'<Relationships xmlns="{R}/package/2006/relationships"><Relationship Id="r1" Type="{R}/officeDocument/2006/'
        'relationships/officeDocument" Target="word/document.xml"/></Relationships>',
        "word/_rels/document.xml.rels": f'<Relationships xmlns="{R}/package/2006/relationships"><Relationship Id="r1" '
        f'Type="{R}/officeDocument/2006/relationships/styles" Target="styles.xml"/></Relationships>',
        "word/document.xml": body,
        "word/styles.xml": styles,
    }
    if title:
        parts["docProps/core.xml"] = core
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def test_pdf(tmp_path: Path) -> None:
    document = load(tmp_path, "a.pdf", pdf())
    assert document.text.strip() == "Keys are rotated every ninety days."
    assert document.syntax is Syntax.TEXT
    assert document.metadata["format"] == "pdf"


def test_a_pdf_without_an_ending_is_recognised(tmp_path: Path) -> None:
    assert "rotated" in load(tmp_path, "report", pdf()).text


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda: pdf(password="secret"), "is encrypted and needs a password"),
        (lambda: pdf(""), "without text, perhaps scanned pages"),
        (lambda: pdf()[:400], "damaged or incomplete PDF"),
    ],
    ids=["encrypted", "scanned", "cut"],
)
def test_pdfs_that_cannot_be_read(tmp_path: Path, content: object, reason: str) -> None:
    assert callable(content)
    with pytest.raises(SourceError, match=rf"a\.pdf .*{reason}"):
        load(tmp_path, "a.pdf", content())


def test_docx(tmp_path: Path) -> None:
    document = load(tmp_path, "a.docx", docx("Operations handbook"))
    assert document.title == "Operations handbook"
    assert document.text == "# Backups\n\nThey run at night."
    assert document.syntax is Syntax.MARKDOWN
    assert load(tmp_path, "b.docx", docx()).title == "Backups"


def test_names_in_a_docx_get_no_backslashes(tmp_path: Path) -> None:
    assert load(tmp_path, "a.docx", docx(text="Set MAX_TOKENS in my_app.cfg; a*b*c")).text.endswith("Set MAX_TOKENS in my_app.cfg; a*b*c")


def test_a_slide_without_a_title_is_not_under_the_one_before(tmp_path: Path) -> None:
    pptx = pytest.importorskip("pptx")
    deck = pptx.Presentation()
    for layout, texts in ((1, ["Rotation", "Every month."]), (6, ["Call the porter."]), (6, [])):
        slide = deck.slides.add_slide(deck.slide_layouts[layout])
        for number, text in enumerate(texts):
            box = slide.placeholders[number] if layout == 1 else slide.shapes.add_textbox(0, 0, 9999, 9999)
            box.text_frame.text = text
    deck.save(tmp_path / "a.pptx")
    document = load(tmp_path, "a.pptx", (tmp_path / "a.pptx").read_bytes())
    assert [heading.text for heading in document.headings] == ["Rotation", "Slide 2"]
    assert document.title == "Rotation"
    assert "Call the porter." in document.text.split("Slide 2")[1]


def test_a_slide_s_number_is_no_title_of_the_deck(tmp_path: Path) -> None:
    pptx = pytest.importorskip("pptx")
    deck = pptx.Presentation()
    deck.slides.add_slide(deck.slide_layouts[6]).shapes.add_textbox(0, 0, 9999, 9999).text_frame.text = "hello"
    deck.save(tmp_path / "a.pptx")
    document = load(tmp_path, "a.pptx", (tmp_path / "a.pptx").read_bytes())
    assert document.title != "Slide 1"
    assert [heading.text for heading in document.headings] == ["Slide 1"]


@pytest.mark.parametrize("name", ["a.docx", "a.pptx", "a.xlsx"])
def test_a_damaged_archive_is_an_error(tmp_path: Path, name: str) -> None:
    part = {"a.docx": b"word/", "a.pptx": b"ppt/", "a.xlsx": b"xl/"}[name]
    with pytest.raises(SourceError, match=rf"{name} is a damaged"):
        load(tmp_path, name, b"PK\x03\x04" + bytes(26) + part + bytes(100))


def test_an_archive_that_unpacks_to_too_much_is_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwen3_rag.sources.readers.office._MOST_UNPACKED", 100)
    with pytest.raises(SourceError, match="unpacks to more than"):
        load(tmp_path, "a.docx", docx())


def test_pptx(tmp_path: Path) -> None:
    pptx = pytest.importorskip("pptx")
    deck = pptx.Presentation()
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Plan"
    slide.placeholders[1].text = "Move on Monday."
    deck.save(tmp_path / "a.pptx")
    document = load(tmp_path, "a.pptx", (tmp_path / "a.pptx").read_bytes())
    assert document.title == "Plan"
    assert document.text == "# Plan\nMove on Monday."


def xlsx(*rows: list[object], **more: list[list[object]]) -> bytes:
    openpyxl = pytest.importorskip("openpyxl")
    buffer = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        book = openpyxl.Workbook()
        book.active.title = "Years"
        for sheet, content in [(book.active, rows), *((book.create_sheet(name), content) for name, content in more.items())]:
            for row in content:
                sheet.append(row)
        book.save(buffer)
    return buffer.getvalue()


def cells(tmp_path: Path, *values: object) -> list[str]:
    """One column's values as they are read, below the head."""
    lines = load(tmp_path, "a.xlsx", xlsx(["x", "y"], *([value, "-"] for value in values))).text.splitlines()[3:]
    return [line.removeprefix("| ").removesuffix(" | - |") for line in lines]


def test_xlsx(tmp_path: Path) -> None:
    document = load(tmp_path, "a.xlsx", xlsx(["name", "year", None], ["founded", 2024, None], ["sold", None, 1.5]))
    assert document.text == "## Years\n| name | year |  |\n| --- | --- | --- |\n| founded | 2024 |  |\n| sold |  | 1.5 |"


def test_text_in_a_workbook_stays_as_it_is(tmp_path: Path) -> None:
    texts = ["02134", "2.0", "1.10", "+4912345", "1e5", "NA", "N/A", "None", "null", "snake_case", "a*b*c", "<b> & c"]
    assert cells(tmp_path, *texts) == texts


def test_numbers_in_a_workbook_keep_their_digits(tmp_path: Path) -> None:
    values = [1234567890123, None, 3.14159265, 2024.0, 0.1 + 0.2, -7, 1e-7, True, False]
    assert cells(tmp_path, *values) == ["1234567890123", "", "3.14159265", "2024", "0.3", "-7", "1e-07", "TRUE", "FALSE"]


def test_dates_in_a_workbook_are_iso(tmp_path: Path) -> None:
    values = [datetime.date(2024, 2, 1), datetime.datetime(2024, 2, 1, 10, 30), datetime.time(9, 5)]
    assert cells(tmp_path, *values) == ["2024-02-01", "2024-02-01T10:30:00", "09:05:00"]


def test_a_cell_is_one_line_without_a_border(tmp_path: Path) -> None:
    assert cells(tmp_path, "first line\nsecond line", "a | b", " x\r\n", "#N/A") == ["first line second line", r"a \| b", "x", ""]


def test_empty_rows_columns_and_sheets_make_no_table(tmp_path: Path) -> None:
    rows: list[list[object]] = [[None], ["a", "a", None, " "], [], ["b"], [" "]]
    assert load(tmp_path, "a.xlsx", xlsx(*rows, Empty=[], Last=[["c"]])).text == (
        "## Years\n| a | a |\n| --- | --- |\n| b |  |\n\n## Empty\n\n## Last\n| c |\n| --- |"
    )


def with_sheet(workbook: bytes, change: Callable[[bytes], bytes]) -> bytes:
    """A workbook whose first sheet's XML is another."""
    with zipfile.ZipFile(io.BytesIO(workbook)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in parts.items():
            archive.writestr(name, change(content) if name == "xl/worksheets/sheet1.xml" else content)
    return buffer.getvalue()


def test_a_damaged_workbook_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"a\.xlsx is a XLSX file that cannot be read"):
        load(tmp_path, "a.xlsx", with_sheet(xlsx(["a"]), lambda sheet: sheet[:50]))


def test_a_workbook_with_a_misspelt_attribute_is_read(tmp_path: Path) -> None:
    misspelt = with_sheet(xlsx(["a", "showZeroes = 1"]), lambda sheet: sheet.replace(b"<sheetView ", b'<sheetView showZeroes="0" '))
    assert load(tmp_path, "a.xlsx", misspelt).text == "## Years\n| a | showZeroes = 1 |\n| --- | --- |"
