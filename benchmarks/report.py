"""Reads benchmarks/results/*.json and writes the tables (README.md) and a chart (ratios.svg) beside them.

    python -m benchmarks.report

Files of the common form (`harness.Result`) become a section each; others are listed by name.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from benchmarks.harness import RESULTS, Measured, number, say

CHART = "ratios.svg"
WIDTH, LABELS, ROW = 760, 380, 26

Bar = tuple[str, float, float]
"""A label, a ratio and its target."""


def main() -> None:
    command = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    command.add_argument("--folder", type=Path, default=RESULTS)
    folder = command.parse_args().folder
    found = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))}
    common = {name: one for name, one in found.items() if "checks" in one}
    bars = [bar for one in common.values() for bar in ratios(one)]
    (folder / CHART).write_text(bar_chart(bars), encoding="utf-8")
    (folder / "README.md").write_text(page(common, sorted(set(found) - set(common))), encoding="utf-8")
    say(f"wrote {folder / 'README.md'} and {folder / CHART}: {len(common)} benchmarks, {len(bars)} bars")


def page(common: Mapping[str, Mapping[str, Any]], others: Sequence[str]) -> str:
    """The whole page."""
    intro = (
        "# Results\n\nWritten by `python -m benchmarks.report` from the JSON files beside it; do not edit. "
        'Median (least–most). "short" means that a target was missed on that machine and run.\n\n'
        f"![How many times as fast, and the targets]({CHART})"
    )
    listed = "## Other files\n\n" + "\n".join(f"- [{name}.json]({name}.json), by `python -m benchmarks.{name}`" for name in others)
    return "\n\n".join([intro, *(section(one) for one in common.values()), *([listed] if others else [])]) + "\n"


def section(one: Mapping[str, Any]) -> str:
    """One benchmark: where, with what, what was measured and how it compares."""
    machine, versions, parameters = one["machine"], one["versions"], one["parameters"]
    where = f"{machine['processor']}, {machine['cores']} cores, load {machine['load_before']} before and {machine['load_after']} after"
    parts = [
        f"## {one['name']}: {one['title']}",
        f"{where}; Python {machine['python']}, {_listed(versions)}. Parameters: {_listed(parameters)}.",
        markdown_table(("measured", "median", "least", "most", "n", "unit"), [_measured_row(*item) for item in one["measured"].items()]),
        markdown_table(("figure", "value", "target", "verdict"), [_check_row(check) for check in one["checks"]]),
        "\n".join(one["notes"]),
    ]
    return "\n\n".join(part for part in parts if part)


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; nothing when there are no rows."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines) if rows else ""


def ratios(one: Mapping[str, Any]) -> list[Bar]:
    """The figures that say how many times ours is better and have a target above 1."""
    checks = [check for check in one["checks"] if check["at_least"] is not None and 1 < check["at_least"] < 1000]
    return [(f"{one['name']}: {check['name']}", check["value"], check["at_least"]) for check in checks]


def bar_chart(bars: Sequence[Bar]) -> str:
    """Horizontal bars, a mark at each target; green where it was met."""
    longest = max((max(value, target) for _, value, target in bars), default=1.0)
    scale = (WIDTH - LABELS - 70) / longest
    rows = [_bar(index, bar, scale) for index, bar in enumerate(bars)]
    height = ROW * len(bars) + 34
    head = f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" font-family="sans-serif" font-size="12">'
    background = f'<rect width="{WIDTH}" height="{height}" fill="white"/>'
    key = f'<text x="{LABELS}" y="{height - 10}" fill="#555">how many times as fast; the dark mark is the target</text>'
    return "\n".join([head, background, *rows, key, "</svg>"]) + "\n"


def _bar(index: int, bar: Bar, scale: float) -> str:
    label, value, target = bar
    top, colour = ROW * index + 8, "#3a9d5d" if value >= target else "#d08a2e"
    mark, end = LABELS + target * scale, LABELS + value * scale
    return (
        f'<text x="{LABELS - 8}" y="{top + 14}" text-anchor="end">{escape(label)}</text>'
        f'<rect x="{LABELS}" y="{top}" width="{value * scale:.1f}" height="{ROW - 7}" fill="{colour}"/>'
        f'<line x1="{mark:.1f}" x2="{mark:.1f}" y1="{top - 2}" y2="{top + ROW - 5}" stroke="#222" stroke-width="2"/>'
        f'<text x="{max(mark, end) + 6:.1f}" y="{top + 14}">{number(value)} ×</text>'
    )


def _measured_row(name: str, values: Mapping[str, Any]) -> list[str]:
    one = Measured(**values)
    return [name, number(one.median), number(one.least), number(one.most), str(one.count), one.unit]


def _check_row(check: Mapping[str, Any]) -> list[str]:
    return [check["name"], number(check["value"]), check["target"], check["verdict"]]


def _listed(values: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in values.items() if value is not None)


if __name__ == "__main__":
    main()
