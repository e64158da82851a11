"""What Debian's packages say of themselves: a line, and a longer text. Packages that say what another one said are passed over."""

from __future__ import annotations

import re
from collections.abc import Iterator

from qwen3_rag.training.nano.prose import flat

_RECORD = re.compile(r"^Package: (\S+)\n(?:[A-Z].*\n)*?Description-en: (.*)\n((?: .*\n?)+)", re.MULTILINE)
_PART = re.compile(
    r"-(?:dev|dbg|dbgsym|doc|docs|data|common|l10n|examples|headers|udeb|all|full)$|^(?:lib(?!reoffice)|librust-|golang-|node-|task-|linux-)"
)
_TRIVIAL = re.compile(
    r"transitional|dummy|metapackage|meta-package|debug symbols|development files|shared librar|empty package", re.IGNORECASE
)
_START = 60
"""Characters: texts that begin alike belong to packages built from one source."""


def package_summaries(index: str) -> Iterator[tuple[str, str]]:
    """Synopsis and long description of packages of a Translation index that have something of their own to say, by name."""
    seen: set[str] = set()
    for name, synopsis, body in sorted(_RECORD.findall(index)):
        text = flat(" ".join(_line(line) for line in body.split("\n")))
        if _PART.search(name) or _TRIVIAL.search(f"{synopsis} {text}") or text[:_START] in seen:
            continue
        seen.add(text[:_START])
        yield flat(synopsis), text


def _line(line: str) -> str:
    """A line of the long description; a lone full stop is an empty one."""
    return "" if line.strip() == "." else line
