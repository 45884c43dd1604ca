"""The report as one HTML file: images inside, no script, nothing fetched; made to be read and to be printed."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Mapping
from pathlib import Path

import jinja2

from gainrl.report.blocks import Document, Heading
from gainrl.report.style import Look

_MARKS = {
    "better": "✓",
    "not better": "✕",
    "worse": "▼",
    "inconclusive": "?",
    "finished": "✓",
    "running": "▸",
    "failed": "✕",
    "missing": "–",
}


def html(document: Document, looks: Mapping[str, Look]) -> str:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("gainrl.report", ""),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
    )
    environment.filters["base64"] = _base64
    counts: Counter[str] = Counter()
    blocks = []
    for block in document.blocks:
        kind = type(block).__name__
        counts[kind] += 1
        blocks.append((kind, counts[kind], block))
    return environment.get_template("page.html.j2").render(
        document=document,
        blocks=blocks,
        headings=[block.text for block in document.blocks if isinstance(block, Heading)],
        looks=looks,
        marks=_MARKS,
        css=Path(__file__).with_name("page.css").read_text(),
    )


def _base64(path: Path) -> str:
    return base64.b64encode(path.read_bytes()).decode()
