"""Weak training pairs in English from Debian packages: `python -m qwen3_rag.training.nano.weak_pairs --output FOLDER`.

| source | query | positive |
|---|---|---|
| `debian` | synopsis of a package | its long description |
| `wordnet` | words of a synset, or a question about one of them | definition and examples |
| `foldoc`, `jargon`, `elements`, `gcide` | word, or a question about it | definition |
| `sections` | heading, with the one above where it says little alone | text of the section |
| `terms` | term of a list, option, setting, function | what the manual says of it |
| `cloze` | a sentence of a section or a description | the text without it |

`pairs.jsonl` is the result, with `package` beside the usual fields; `sources.json` has version, hash, licence and pairs of each package.
The same packages and the same seed give the same file. It needs apt on Debian or a relative, not root; the texts serve for training and are
not part of the project.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from qwen3_rag.models.nano.corpus import definitions, wordnet_data
from qwen3_rag.models.nano.debian import RELEASE, DebianArchive
from qwen3_rag.training.nano.descriptions import package_summaries
from qwen3_rag.training.nano.dictionaries import READERS, Definition, dictionary_entries, wordnet
from qwen3_rag.training.nano.documentation import page_parts, pages
from qwen3_rag.training.nano.manuals import DESCRIPTIONS_LICENCE, DICTIONARY_LICENCES, MANUALS, WORDNET_LICENCE, Manual
from qwen3_rag.training.nano.prose import cloze, is_clean, is_english, passages
from qwen3_rag.training.nano.wording import definition_pair, section_query, term_query
from qwen3_rag.training.pairs import Pair, deduplicated, fingerprint, write_pairs

SEED = 0
MOST = {"debian": 12_000, "wordnet": 12_000, "gcide": 8_000, "sections": 20_000, "terms": 10_000, "cloze": 15_000}
"""Pairs of a source; one that is not named here gives all it has."""
SHORTEST = {"debian": 120, "sections": 120, "terms": 100, "cloze": 120}
"""Characters of a positive; 40 for definitions."""
_DESCRIPTIONS = "Translation-en"


def weak_pairs(archive: DebianArchive, seed: int = SEED) -> list[Pair]:
    """The pairs, source after source.

    Raises:
        SourceUnavailableError: apt is not there or the archive cannot be reached.
    """
    found = dictionary_pairs(archive, seed)
    debian, sections, terms, texts = description_pairs(archive.descriptions()), [], [], dict[str, str]()
    generator = random.Random(seed)
    for manual in MANUALS:
        of_sections, of_terms, of_texts = manual_pairs(archive.unpacked(manual.package), manual, generator)
        sections += of_sections
        terms += of_terms
        texts = of_texts | texts
    texts |= {pair.positive: _DESCRIPTIONS for pair in debian}
    return [pair for pairs in (debian, *found, sections, terms, cloze_pairs(texts, seed)) for pair in selected(pairs, seed)]


def selected(pairs: Iterable[Pair], seed: int) -> list[Pair]:
    """Good pairs of one source, each positive once, at most `MOST` of them, in English."""
    good = [pair for pair in one_each(pairs) if is_good(pair)]
    most = MOST.get(good[0].source or "", len(good)) if good else 0
    drawn = random.Random(seed).sample(good, most) if len(good) > most else good
    return [replace(pair, language="en") for pair in drawn]


def is_good(pair: Pair) -> bool:
    """Whether both texts are clean, the positive is English and long enough, and it is not the query again."""
    shortest = SHORTEST.get(pair.source or "", 40)
    texts = 2 <= len(pair.query) <= 400 and len(pair.positive) >= shortest and is_clean(pair.query + " " + pair.positive)
    return texts and is_english(pair.positive) and fingerprint(pair.query) != pair.document


def one_each(pairs: Iterable[Pair]) -> Iterator[Pair]:
    """The first pair of each positive: a passage that stands on many pages answers none of their headings."""
    seen: set[str] = set()
    for pair in deduplicated(pairs):
        if pair.document not in seen:
            seen.add(pair.document)
            yield pair


def description_pairs(index: str) -> list[Pair]:
    """Pairs of an index of package descriptions."""
    found = ((synopsis, passages(text)) for synopsis, text in package_summaries(index))
    return [Pair(synopsis, text[0], source="debian", extra={"package": _DESCRIPTIONS}) for synopsis, text in found if text]


def dictionary_pairs(archive: DebianArchive, seed: int) -> list[list[Pair]]:
    """A list for WordNet, then one for each other dictionary."""
    found = [defined("wordnet", "wordnet-base", map(wordnet, definitions(wordnet_data(archive))), seed)]
    for name, reader in READERS.items():
        folder = archive.unpacked(f"dict-{name}") / "usr/share/dictd"
        found.append(defined(name, f"dict-{name}", map(reader, dictionary_entries(folder, name)), seed))
    return found


def defined(source: str, package: str, found: Iterable[Definition | None], seed: int) -> list[Pair]:
    """Pairs of a dictionary's definitions; the first of two that define one word in the same words."""
    generator = random.Random(seed)
    queries = (definition_pair(*item, generator) for item in dict.fromkeys(found) if item)
    return [Pair(*query, source=source, extra={"package": package}) for query in queries]


def manual_pairs(root: Path, manual: Manual, generator: random.Random) -> tuple[list[Pair], list[Pair], dict[str, str]]:
    """Pairs of a manual's sections, pairs of its terms, and all passages of the sections with the name of the package."""
    extra = {"package": manual.package}
    sections: list[Pair] = []
    terms: list[Pair] = []
    texts: dict[str, str] = {}
    for page in pages(root / manual.folder, manual.patterns, generator):
        found, described = page_parts(page.read_text(encoding="utf-8", errors="replace"))
        for part in found:
            pieces = passages(part.text)
            texts |= dict.fromkeys(pieces, manual.package)
            if (query := section_query(part.path, generator)) and pieces:
                sections.append(Pair(query, pieces[0], source="sections", extra=extra))
        asked = ((term_query(part.path), passages(part.text)) for part in described)
        terms += [Pair(query, pieces[0], source="terms", extra=extra) for query, pieces in asked if query and pieces]
    return sections, terms, texts


def cloze_pairs(texts: Mapping[str, str], seed: int) -> list[Pair]:
    """A sentence and the rest, of each text that has enough of them; `texts` gives the package of each."""
    generator = random.Random(seed)
    found = ((cloze(text, generator), package) for text, package in texts.items() if is_english(text))
    return [Pair(*item, source="cloze", extra={"package": package}) for item, package in found if item]


def provenance(archive: DebianArchive, pairs: Sequence[Pair], written: Path, seed: int) -> dict[str, Any]:
    """What went in: for `sources.json`."""
    licences = {"wordnet-base": WORDNET_LICENCE}
    licences |= {f"dict-{name}": licence for name, licence in DICTIONARY_LICENCES.items()}
    licences |= {manual.package: manual.licence for manual in MANUALS}
    counts = Counter(pair.extra["package"] for pair in pairs)
    index = {"licence": DESCRIPTIONS_LICENCE, "pairs": counts[_DESCRIPTIONS], "sha256": _sha256(archive.descriptions().encode())}
    packages = {
        name: {
            "version": archive.version(name),
            "licence": licence,
            "pairs": counts[name],
            "sha256": _sha256(archive.file(name).read_bytes()),
        }
        for name, licence in sorted(licences.items())
    }
    return {
        "release": RELEASE,
        "seed": seed,
        "pairs": len(pairs),
        "pairs_sha256": _sha256(written.read_bytes()),
        "by_source": dict(Counter(pair.source for pair in pairs)),
        "packages": {_DESCRIPTIONS: index, **packages},
    }


def _sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def main(arguments: Sequence[str] | None = None) -> None:
    """Parse the command line, write the pairs and say how many there are of each source."""
    parser = argparse.ArgumentParser(prog="python -m qwen3_rag.training.nano.weak_pairs", description="Weak pairs from Debian packages.")
    parser.add_argument("--output", type=Path, required=True, help="folder for pairs.jsonl and sources.json")
    parser.add_argument("--downloads", type=Path, help="folder that keeps the packages for the next time (default: a temporary one)")
    parser.add_argument("--seed", type=int, default=SEED)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="nano-weak-") as scratch:
        archive = DebianArchive(options.downloads or Path(scratch))
        pairs = list(deduplicated(weak_pairs(archive, options.seed)))
        write_pairs(options.output / "pairs.jsonl", pairs)
        record = provenance(archive, pairs, options.output / "pairs.jsonl", options.seed)
    (options.output / "sources.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    for source, count in record["by_source"].items():
        print(f"{source:10} {count:7,}")
    print(f"{'all':10} {len(pairs):7,}  in {options.output / 'pairs.jsonl'}")


if __name__ == "__main__":
    main()
