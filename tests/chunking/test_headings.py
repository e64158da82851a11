"""Markdown headings, by CommonMark's rules, at exact offsets."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it.ruler import Ruler

from qwen3_rag.chunking import headings, markdown_headings


def found(text: str) -> list[tuple[str, int, str]]:
    return [(heading.text, heading.level, text[heading.start :].splitlines()[0]) for heading in markdown_headings(text)]


def test_atx_and_setext() -> None:
    assert found("# One #\n\ntext\n\nTwo\n===\n\n### Three ###   \nSub\nlines\n---\n####\n") == [
        ("One", 1, "# One #"),
        ("Two", 1, "Two"),
        ("Three", 3, "### Three ###   "),
        ("Sub lines", 2, "Sub"),
        ("", 4, "####"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "```\n# no\n```",
        "~~~sh\n# no\n~~~\n",
        "````\n```\n# no\n````",
        "    # no\n",
        "<!--\n# no\n-->",
        "- # no\n",
        "> # no\n",
        "#no",
        "####### no",
        "text\n\n---\n\ntext",
        "\\# no",
    ],
)
def test_what_is_no_heading(text: str) -> None:
    assert found(text) == []


def test_the_text_is_without_markup() -> None:
    assert [text for text, *_ in found("# A **b** `c # d` [e](http://f) ![g](h) <br> &amp; {#anchor}\n")] == ["A b c # d e g &"]


@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_offsets_hold_for_every_line_end(newline: str) -> None:
    lines = ["😀 intro", "", "# One", "", "text", "", "Two", "---", "", "## Three"]
    text = newline.join(lines)
    assert found(text) == [("One", 1, "# One"), ("Two", 2, "Two"), ("Three", 2, "## Three")]


@given(st.lists(st.sampled_from(["# a", "\n", "\r\n", "\r", "\u2028", "\x0b", "b\n===", "```", "- ", "\t", "\x00"])).map("".join))
def test_starts_are_starts_of_lines(text: str) -> None:
    for heading in markdown_headings(text):
        assert heading.start == 0 or text[heading.start - 1] in "\r\n"


def test_parsers_are_ready_before_threads_share_them(monkeypatch: pytest.MonkeyPatch) -> None:
    for build in (headings._blocks, headings._inlines):
        build.cache_clear()
        build()
    monkeypatch.setattr(Ruler, "__compile__", lambda _: pytest.fail("a ruler is empty while it compiles its rules"))
    assert found("# A *b*\n") == [("A b", 1, "# A *b*")]
