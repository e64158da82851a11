"""Files are found in a fixed order, git's ignore rules hold, and whatever is left out or out of reach is said."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from qwen3_rag.errors import ConfigurationError, SourceUnavailableError
from qwen3_rag.settings import SourceSettings
from qwen3_rag.sources import Skipped, SourceFile, discover

SETTINGS = SourceSettings()


def write(folder: Path, *names: str, text: str = "text") -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def names(*paths: Path, settings: SourceSettings = SETTINGS) -> list[str]:
    return [item.relative for item in discover(paths, settings) if isinstance(item, SourceFile)]


def skipped(*paths: Path, settings: SourceSettings = SETTINGS) -> dict[str, str]:
    return {item.path.name: item.reason for item in discover(paths, settings) if isinstance(item, Skipped)}


def test_a_folder_is_listed_sorted_with_absolute_ids(tmp_path: Path) -> None:
    write(tmp_path, "b.md", "a/z.txt", "a/b/c.py", "c.md")
    found = list(discover(tmp_path, SETTINGS))
    assert [item.document_id for item in found] == [(tmp_path / name).as_posix() for name in ("a/b/c.py", "a/z.txt", "b.md", "c.md")]
    assert found[0] == SourceFile(tmp_path / "a/b/c.py", tmp_path, 4)


def test_relative_paths_and_links_to_the_folder_give_the_same_ids(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "docs/a.md")
    (tmp_path / "link").symlink_to("docs")
    monkeypatch.chdir(tmp_path)
    ids = {tuple(item.document_id for item in discover(path, SETTINGS)) for path in ("docs", "./docs/../docs", "link", tmp_path / "docs")}
    assert ids == {((tmp_path / "docs/a.md").as_posix(),)}


def test_a_path_given_twice_is_found_once(tmp_path: Path) -> None:
    write(tmp_path, "a.md", "sub/b.md")
    assert [item.document_id for item in discover([tmp_path / "sub", tmp_path, tmp_path / "a.md"], SETTINGS)] == [
        (tmp_path / name).as_posix() for name in ("sub/b.md", "a.md")
    ]


def test_hidden_and_generated_folders_are_left_out(tmp_path: Path) -> None:
    write(tmp_path, ".git/config", ".env", "node_modules/x/readme.md", "a/__pycache__/x.txt", "a/b.md")
    assert names(tmp_path) == ["a/b.md"]
    assert skipped(tmp_path) == {}


class TestGitignore:
    def test_nested_files_override_outer_ones(self, tmp_path: Path) -> None:
        write(tmp_path, "a.log", "keep.log", "sub/b.log", "sub/c.txt", "sub/y.txt", "sub/deep/d.txt", "build/x.md", "sub/build.md")
        (tmp_path / ".gitignore").write_text("*.log\n!keep.log\nbuild/\n")
        (tmp_path / "sub/.gitignore").write_text("*.txt\n!y.txt\n!b.log\n")
        assert names(tmp_path) == ["keep.log", "sub/b.log", "sub/build.md", "sub/y.txt"]

    def test_anchored_patterns_hold_only_in_their_folder(self, tmp_path: Path) -> None:
        write(tmp_path, "out/a.md", "sub/out/b.md")
        (tmp_path / ".gitignore").write_text("/out\n")
        assert names(tmp_path) == ["sub/out/b.md"]

    def test_what_is_in_an_ignored_folder_cannot_be_kept(self, tmp_path: Path) -> None:
        write(tmp_path, "out/a.md")
        (tmp_path / ".gitignore").write_text("out/\n!out/a.md\n")
        assert names(tmp_path) == []

    def test_rules_above_hold_up_to_the_root_of_the_repository(self, tmp_path: Path) -> None:
        write(tmp_path, "repo/.git/HEAD", "repo/docs/a.md", "repo/docs/b.tmp", "repo/docs/c.txt")
        (tmp_path / ".gitignore").write_text("*.txt\n")
        (tmp_path / "repo/.gitignore").write_text("*.tmp\n")
        assert names(tmp_path / "repo/docs") == ["a.md", "c.txt"]

    def test_rules_above_do_not_hold_without_a_repository(self, tmp_path: Path) -> None:
        write(tmp_path, "docs/a.md")
        (tmp_path / ".gitignore").write_text("*.md\n")
        assert names(tmp_path / "docs") == ["a.md"]

    def test_an_ignored_folder_given_by_name_is_taken(self, tmp_path: Path) -> None:
        write(tmp_path, "repo/.git/HEAD", "repo/build/docs/a.md")
        (tmp_path / "repo/.gitignore").write_text("build/\n")
        assert names(tmp_path / "repo/build/docs") == ["a.md"]
        assert names(tmp_path / "repo/build") == ["docs/a.md"]
        assert names(tmp_path / "repo") == []

    def test_a_byte_order_mark_is_no_part_of_the_first_pattern(self, tmp_path: Path) -> None:
        write(tmp_path, "a.md", "b.md")
        (tmp_path / ".gitignore").write_text("a.md\n", encoding="utf-8-sig")
        assert names(tmp_path) == ["b.md"]

    def test_lines_that_are_no_patterns_are_passed_over(self, tmp_path: Path) -> None:
        write(tmp_path, "a.md", "b.log")
        (tmp_path / ".gitignore").write_bytes(b"!\n\\\n\xff\xfe\n*.log\n")
        assert names(tmp_path) == ["a.md"]

    def test_a_file_given_by_itself_is_taken(self, tmp_path: Path) -> None:
        write(tmp_path, "a.log", ".hidden.md")
        (tmp_path / ".gitignore").write_text("*.log\n")
        assert names(tmp_path / "a.log", tmp_path / ".hidden.md", settings=SourceSettings(include=("*.txt",))) == ["a.log", ".hidden.md"]


class TestGlobs:
    def test_include_and_exclude_are_relative_to_the_folder(self, tmp_path: Path) -> None:
        write(tmp_path, "a.md", "b.txt", "docs/c.md", "docs/old/d.md", "docs/old/e.txt")
        assert names(tmp_path, settings=SourceSettings(include=("*.md",))) == ["a.md", "docs/c.md", "docs/old/d.md"]
        assert names(tmp_path, settings=SourceSettings(exclude=("old/",))) == ["a.md", "b.txt", "docs/c.md"]
        assert names(tmp_path, settings=SourceSettings(include=("docs/**",), exclude=("*.txt",))) == ["docs/c.md", "docs/old/d.md"]
        assert names(tmp_path, settings=SourceSettings(include=("/*.md",))) == ["a.md"]

    def test_a_glob_that_is_none_is_refused(self, tmp_path: Path) -> None:
        with pytest.raises(ConfigurationError, match="exclude: not a valid glob"):
            discover(tmp_path, SourceSettings(exclude=("!",)))


class TestLinks:
    def test_files_linked_from_outside_are_found_under_their_own_name(self, tmp_path: Path) -> None:
        write(tmp_path, "elsewhere/real.md", "docs/a.md")
        (tmp_path / "docs/link.md").symlink_to("../elsewhere/real.md")
        assert [item.document_id for item in discover(tmp_path / "docs", SETTINGS)] == [
            (tmp_path / "docs" / name).as_posix() for name in ("a.md", "link.md")
        ]

    def test_a_link_to_what_is_listed_anyway_is_not_listed_again(self, tmp_path: Path) -> None:
        write(tmp_path, "sub/real.md")
        (tmp_path / "a_link.md").symlink_to("sub/real.md")
        (tmp_path / "a_folder").symlink_to("sub")
        assert names(tmp_path) == ["sub/real.md"]

    def test_a_link_to_what_is_hidden_is_followed(self, tmp_path: Path) -> None:
        write(tmp_path, ".store/x/a.md")
        (tmp_path / "a.md").symlink_to(".store/x/a.md")
        assert names(tmp_path) == ["a.md"]

    def test_linked_folders_are_followed_once_and_loops_end(self, tmp_path: Path) -> None:
        write(tmp_path, "elsewhere/b.md", "docs/a.md")
        (tmp_path / "elsewhere/back").symlink_to("../docs")
        (tmp_path / "docs/self").symlink_to(".")
        (tmp_path / "docs/up").symlink_to("..")
        (tmp_path / "docs/x").symlink_to("../elsewhere")
        (tmp_path / "docs/y").symlink_to("../elsewhere")
        assert names(tmp_path / "docs") == ["a.md", "x/b.md"]

    def test_broken_links_are_skipped(self, tmp_path: Path) -> None:
        (tmp_path / "broken.md").symlink_to("nowhere")
        (tmp_path / "loop.md").symlink_to("loop.md")
        assert names(tmp_path) == []
        assert set(skipped(tmp_path)) == {"broken.md", "loop.md"}


class TestLeftOut:
    def test_empty_large_and_binary_files_are_skipped_with_a_reason(self, tmp_path: Path) -> None:
        write(tmp_path, "big.txt", text="x" * 11)
        (tmp_path / "empty.md").touch()
        (tmp_path / "picture.png").write_bytes(b"\x89PNG\r\n\x1a\n\x00\x00")
        (tmp_path / "data.bin").write_bytes(bytes(range(256)))
        (tmp_path / "program").write_bytes(b"\x7fELF\x02\x01\x01\x00\x00")
        reasons = skipped(tmp_path, settings=SourceSettings(max_bytes=10))
        assert reasons["empty.md"] == "is empty"
        assert "larger than the limit of 10 bytes; raise it with max_bytes=11" in reasons["big.txt"]
        reasons = skipped(tmp_path)
        assert "PNG image" in reasons["picture.png"]
        assert "binary data" in reasons["data.bin"]
        assert "a program" in reasons["program"]
        assert names(tmp_path) == ["big.txt"]

    def test_text_of_any_ending_is_found(self, tmp_path: Path) -> None:
        write(tmp_path, "LICENSE", "notes.xyz", "BMW.abc", text="BM is how this text begins")
        assert names(tmp_path) == ["BMW.abc", "LICENSE", "notes.xyz"]

    @pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no named pipes here")
    def test_a_pipe_is_not_opened(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "pipe.txt")
        assert skipped(tmp_path) == {"pipe.txt": "is not a regular file"}

    def test_a_name_that_is_no_utf8_is_skipped_with_a_printable_id(self, tmp_path: Path) -> None:
        try:
            (tmp_path / os.fsdecode(b"caf\xe9.md")).write_text("x")
        except OSError:
            pytest.skip("this file system takes only UTF-8 names")
        (item,) = discover(tmp_path, SETTINGS)
        assert isinstance(item, Skipped)
        assert "not valid UTF-8" in item.reason
        assert item.document_id.endswith("caf\\xe9.md")


class TestOutOfReach:
    @pytest.mark.parametrize("name", ["nowhere", "nowhere/a.md", "file.md/x"])
    def test_a_path_that_is_not_there_is_an_error_at_once(self, tmp_path: Path, name: str) -> None:
        write(tmp_path, "file.md")
        with pytest.raises(SourceUnavailableError, match=f"{name} cannot be reached"):
            discover([tmp_path, tmp_path / name], SETTINGS)

    def test_a_folder_that_cannot_be_listed_is_an_error(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        forbid(monkeypatch, tmp_path)
        with pytest.raises(SourceUnavailableError, match="Permission denied"):
            discover(tmp_path, SETTINGS)

    def test_a_folder_inside_that_cannot_be_listed_is_reported_as_a_folder(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        write(tmp_path, "a.md", "closed/b.md", "z.md")
        forbid(monkeypatch, tmp_path / "closed")
        found = list(discover(tmp_path, SETTINGS))
        assert [item.path.name for item in found] == ["a.md", "closed", "z.md"]
        assert isinstance(found[1], Skipped)
        assert found[1].is_folder
        assert "Permission denied" in found[1].reason


def forbid(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    """Root may list every folder, so permissions alone would not show it."""
    scandir = os.scandir

    def refuse(path: object = ".") -> object:
        if Path(str(path)) == folder:
            raise PermissionError(13, "Permission denied", str(path))
        return scandir(path)  # type: ignore[call-overload]

    monkeypatch.setattr(os, "scandir", refuse)
