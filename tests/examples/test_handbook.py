"""The demo corpus: every page can be read, and each question has one page whose words answer it."""

from __future__ import annotations

import ast
import csv
import json
import tomllib
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import yaml

from qwen3_rag.settings import SourceSettings
from qwen3_rag.sources import Format, Skipped, SourceFile, discover, read
from qwen3_rag.types import Document

HANDBOOK = Path(__file__).parents[2] / "examples" / "handbook"
QUESTIONS_FILE = "questions.toml"
SETTINGS = SourceSettings(exclude=(QUESTIONS_FILE,))
QUESTIONS: list[dict[str, Any]] = tomllib.loads((HANDBOOK / QUESTIONS_FILE).read_text(encoding="utf-8"))["question"]


def paths(pattern: str) -> list[Path]:
    found = sorted(HANDBOOK.rglob(pattern))
    assert found, f"the handbook has no {pattern}"
    return found


def words(text: str) -> str:
    return " ".join(text.split())


@pytest.fixture(scope="module")
def documents() -> dict[str, Document]:
    found = list(discover(HANDBOOK, SETTINGS))
    assert [item for item in found if isinstance(item, Skipped)] == []
    return {item.relative: read(item, SETTINGS) for item in found if isinstance(item, SourceFile)}


def test_every_file_is_a_document(documents: dict[str, Document]) -> None:
    files = {path.relative_to(HANDBOOK).as_posix() for path in HANDBOOK.rglob("*") if path.is_file() and "__pycache__" not in path.parts}
    assert set(documents) == files - {QUESTIONS_FILE}
    assert len(documents) >= 40


def test_no_document_is_thin_or_endless(documents: dict[str, Document]) -> None:
    counts = {name: len(document.text.split()) for name, document in documents.items()}
    assert {name: count for name, count in counts.items() if not 150 <= count <= 1200} == {}


def test_documents_differ(documents: dict[str, Document]) -> None:
    titles = Counter(document.title for document in documents.values() if document.title)
    assert [title for title, count in titles.items() if count > 1] == []
    assert len({document.content_hash for document in documents.values()}) == len(documents)


def test_formats_are_varied(documents: dict[str, Document]) -> None:
    present = {document.metadata["format"] for document in documents.values()}
    text_formats = set(Format) - {Format.PDF, Format.DOCX, Format.PPTX, Format.XLSX}
    assert present == {str(format_) for format_ in text_formats}


@pytest.mark.parametrize("path", paths("*.md"), ids=lambda path: path.relative_to(HANDBOOK).as_posix())
def test_front_matter_is_yaml_with_an_owner(path: Path) -> None:
    head, marker, body = path.read_text(encoding="utf-8").removeprefix("---\n").partition("\n---\n")
    if path.parent == HANDBOOK:
        assert not marker
        return
    assert yaml.safe_load(head)["owner"]
    assert body.startswith("# ")


def test_structured_files_are_well_formed() -> None:
    for path in paths("*.csv"):
        with path.open(newline="", encoding="utf-8") as stream:
            assert len({len(row) for row in csv.reader(stream)}) == 1, path
    for path in paths("*.jsonl"):
        records = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
        assert len({tuple(record) for record in records}) == 1, path
        assert len({record["id"] for record in records}) == len(records), path
    for path in [*paths("*.json"), *paths("*.ipynb")]:
        assert isinstance(json.loads(path.read_text(encoding="utf-8")), dict), path
    for path in paths("*.py"):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path


def test_rota_names_only_people_it_knows() -> None:
    rota = yaml.safe_load((HANDBOOK / "tools" / "watch-rota.yaml").read_text(encoding="utf-8"))
    known = {person["name"] for person in rota["people"]}
    assert {week[role] for week in rota["weeks"] for role in ("primary", "secondary")} <= known
    assert all(week["primary"] != week["secondary"] for week in rota["weeks"])


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda question: question["query"])
def test_answer_is_in_the_named_document_and_in_no_other(question: dict[str, Any], documents: dict[str, Document]) -> None:
    answer = words(question["answer"])
    assert [name for name, document in documents.items() if answer in words(document.text)] == [question["document"]]


def test_questions_are_complete_and_six_are_shown() -> None:
    assert all(set(question) - {"filters"} == {"query", "document", "answer", "note", "show"} for question in QUESTIONS)
    assert len({question["query"] for question in QUESTIONS}) == len(QUESTIONS)
    assert sum(question["show"] for question in QUESTIONS) == 6
