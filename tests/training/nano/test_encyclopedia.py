from __future__ import annotations

import bz2
import importlib.util
from pathlib import Path

import pytest

from qwen3_rag.errors import SourceUnavailableError
from qwen3_rag.training.nano.encyclopedia import SOURCE, articles, articles_file, encyclopedia_pairs, sections

LIGHT = (
    "The lighthouse stands on a rock in the bay, and its keeper counts all of the ships that pass by night. It was built of granite in the "
    "year of the great storm. The lamp is lit at dusk and burns oil that is brought by boat."
)
WIKITEXT = f"""{{{{Infobox|height=20}}}}
'''{LIGHT}'''<ref>A book</ref>

== Keeper ==
[[File:keeper.png|thumb|a [[keeper]] at work]]
The [[lighthouse keeper|keeper]] lives there. {LIGHT}
{{| class="wikitable"
| a table that says nothing of it
|}}

== References ==
{LIGHT}
"""


def page(title: str, text: str) -> str:
    text = text.replace("&", "&amp;").replace("<", "&lt;")
    return f"<page><title>{title}</title><revision><text>{text}</text></revision></page>"


@pytest.fixture
def export(tmp_path: Path) -> Path:
    """Breaks off within a page, as the one in the package does."""
    pages = [
        page("Lighthouse", WIKITEXT),
        page("Light house", "#REDIRECT [[Lighthouse]]"),
        page("Wikipedia:About", LIGHT),
        page("Last", ""),
    ]
    text = '<mediawiki xmlns="http://www.mediawiki.org/xml/export-0.10/"><siteinfo/>' + "".join(pages) + "<page><title>Broken</ti"
    (tmp_path / "export.xml.bz2").write_bytes(bz2.compress(text.encode()))
    return tmp_path / "export.xml.bz2"


def test_articles_are_pages_that_are_whole_and_no_redirects(export: Path):
    assert dict(articles(export)) == {"Lighthouse": WIKITEXT, "Last": ""}


def test_passages_have_their_heading_and_a_sentence_of_their_own(export: Path):
    pytest.importorskip("mwparserfromhell", reason="mwparserfromhell reads wikitext: pip install mwparserfromhell")
    pairs = list(encyclopedia_pairs(export, seed=0))
    assert {pair.source for pair in pairs} == {SOURCE}
    headed = {pair.query: pair.positive for pair in pairs if pair.query not in pair.positive}
    assert headed == {"Lighthouse": LIGHT, "Lighthouse Keeper": f"The keeper lives there. {LIGHT}"}
    asked = [pair for pair in pairs if pair.query in pair.positive and pair.query != "Lighthouse"]
    assert len(asked) == 2
    assert pairs == list(encyclopedia_pairs(export, seed=0))


def test_markup_is_gone(export: Path):
    pytest.importorskip("mwparserfromhell", reason="mwparserfromhell reads wikitext: pip install mwparserfromhell")
    found = dict(sections(WIKITEXT))
    assert list(found) == ["", "Keeper"]
    assert found["Keeper"].split() == f"The keeper lives there. {LIGHT}".split()


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(SourceUnavailableError, match=r"pip install --no-deps gensim==4\.4\.0 mwparserfromhell==0\.7\.2"):
        articles_file()
