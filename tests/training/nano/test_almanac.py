from __future__ import annotations

import hashlib
import io
import json
import random
import tarfile
from pathlib import Path

import httpx
import pytest

from qwen3_rag.errors import SourceUnavailableError
from qwen3_rag.training.nano import almanac, npm
from qwen3_rag.training.nano.almanac import LONGEST, SHORTEST, almanac_pairs, country_pairs, speech_pairs
from qwen3_rag.training.nano.npm import NpmPackage, archive, members

LAND = (
    "Rocky shores rise from the sea in the north, and low meadows that are wet in the spring lie between them and the hills of the south."
)
PROFILE = {
    "Government": {
        "Country name": {"conventional long form": {"text": "Isle of Light"}, "conventional short form": {"text": "Lightland"}},
        "Capital": {"name": {"text": "Lampton"}, "note": {"text": "the seat of the keepers, who have met there in every year"}},
    },
    "Geography": {"Terrain": {"text": LAND}, "Climate": {"text": "mild; with fog that is thickest in the mornings of the autumn"}},
    "Energy": {"Electricity - production": {"text": LAND * 3}},
}
SPEECH = " ".join(f"In the year {year} we have built a road that leads to the harbour of the north." for year in range(1901, 1931))


def tarball(files: dict[str, str]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as opened:
        for name, text in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(text.encode())
            opened.addfile(entry, io.BytesIO(text.encode()))
    return buffer.getvalue()


def package(content: bytes) -> NpmPackage:
    return NpmPackage("@scope/thing", "1.2.3", hashlib.sha256(content).hexdigest(), "MIT")


def test_a_passage_is_some_entries_of_a_section_and_is_asked_for_by_one_of_them():
    pairs = list(country_pairs(PROFILE, random.Random(0)))
    (geography,) = (pair for pair in pairs if "Geography" in pair.positive)
    assert (
        geography.positive
        == f"Lightland: Geography. Terrain: {LAND} Climate: mild; with fog that is thickest in the mornings of the autumn."
    )
    assert "Lightland" in geography.query
    assert "terrain" in geography.query or "climate" in geography.query
    assert not any("Electricity" in pair.positive for pair in pairs)
    assert any("Capital: name: Lampton; note: the seat" in pair.positive for pair in pairs)
    assert all(len(pair.positive) >= SHORTEST for pair in pairs)


def test_a_long_section_gives_several_passages():
    entries = {f"Entry {letter}": {"text": LAND * 2} for letter in "abcdefghij"}
    pairs = list(country_pairs({**PROFILE, "Geography": entries}, random.Random(0)))
    found = [pair.positive for pair in pairs if "Geography" in pair.positive]
    assert len(found) > 2
    assert all(len(passage) < LONGEST + 100 for passage in found)
    assert sum(passage.count("Entry ") for passage in found) == 10


def test_what_is_no_country_gives_nothing():
    assert not list(country_pairs({"Introduction": {"Background": {"text": LAND * 3}}}, random.Random(0)))


def test_a_passage_of_a_speech_lacks_the_sentence_that_asks_for_it():
    pairs = list(speech_pairs(SPEECH, random.Random(0)))
    assert len(pairs) > 1
    for pair in pairs:
        assert pair.query in SPEECH
        assert pair.query not in pair.positive
        assert pair.source == "speeches"


def test_both_packages_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    contents = {
        "FACTBOOK": tarball({"package/europe/ll.json": json.dumps(PROFILE), "package/meta/categories.json": "[]"}),
        "SPEECHES": tarball({"package/data/1930_a_b.txt": SPEECH, "package/data/1930_a_b.json": "{}"}),
    }
    for name, content in contents.items():
        source = NpmPackage(name.lower(), "1.0.0", hashlib.sha256(content).hexdigest(), "public domain")
        monkeypatch.setattr(almanac, name, source)
        (tmp_path / f"{name.lower()}-1.0.0.tgz").write_bytes(content)
    first, again = (list(almanac_pairs(tmp_path, 0)) for _ in range(2))
    assert {pair.source for pair in first} == {"factbook", "speeches"}
    assert first == again


def test_an_archive_is_fetched_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    content = tarball({"package/b.txt": "two", "package/a.txt": "one", "package/c.md": "three"})
    asked: list[str] = []

    def get(address: str, **_: object) -> httpx.Response:
        asked.append(address)
        return httpx.Response(200, content=content, request=httpx.Request("GET", address))

    monkeypatch.setattr(npm.httpx, "get", get)
    assert archive(package(content), tmp_path) == archive(package(content), tmp_path) == content
    assert asked == ["https://registry.npmjs.org/@scope/thing/-/thing-1.2.3.tgz"]
    assert list(members(content, ".txt")) == [("package/a.txt", "one"), ("package/b.txt", "two")]


def test_an_archive_that_is_another_is_refused(tmp_path: Path):
    (tmp_path / "@scope-thing-1.2.3.tgz").write_bytes(b"something else")
    with pytest.raises(SourceUnavailableError, match=r"is not @scope/thing 1\.2\.3.*Delete it and try again"):
        archive(package(b"the right one"), tmp_path)


def test_a_registry_that_does_not_answer_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def get(address: str, **_: object) -> httpx.Response:
        return httpx.Response(503, request=httpx.Request("GET", address))

    monkeypatch.setattr(npm.httpx, "get", get)
    with pytest.raises(SourceUnavailableError, match=r"cannot be fetched: .*503.*needs the npm registry"):
        archive(package(b""), tmp_path)
    assert not list(tmp_path.iterdir())
