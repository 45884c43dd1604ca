"""The report as one HTML file: images inside, no script, nothing fetched; made to be read and to be printed."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from html import escape
from importlib.resources import files

from gainrl.report.blocks import Block, Bullets, Cell, Document, Figure, Heading, Paragraph, Table
from gainrl.report.style import Look

_MARKS = {
    "supported": "✓",
    "ruled out": "✕",
    "worse": "▼",
    "inconclusive": "?",
    "finished": "✓",
    "running": "▸",
    "failed": "✕",
    "missing": "–",
}


def html(document: Document, looks: Mapping[str, Look]) -> str:
    counts = {"Table": 0, "Figure": 0, "Section": 0}
    css = files("gainrl.report").joinpath("page.css").read_text()
    body = "\n".join(line for block in document.blocks for line in _html(block, looks, counts))
    headings = [block.text for block in document.blocks if isinstance(block, Heading)]
    links = "".join(f'<a href="#section-{i}">{escape(text)}</a>' for i, text in enumerate(headings, 1))
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(document.title)}</title>\n<style>\n{css}</style>\n</head>\n<body>\n<main>\n"
        f'<header>\n<h1>{escape(document.title)}</h1>\n<p class="subtitle">{escape(document.subtitle)}</p>\n'
        f"<nav>{links}</nav>\n</header>\n{body}\n</main>\n</body>\n</html>\n"
    )


def _html(block: Block, looks: Mapping[str, Look], counts: dict[str, int]) -> Iterator[str]:
    match block:
        case Heading(text):
            counts["Section"] += 1
            yield f'<h2 id="section-{counts["Section"]}">{escape(text)}</h2>'
        case Paragraph(text):
            yield f"<p>{escape(text)}</p>"
        case Bullets(title, items, kind, badges):
            yield f'<section class="{kind}"><h3>{escape(title)}</h3><ul>'
            for index, item in enumerate(items):
                badge = _badge(badges[index], badges[index]) + " " if index < len(badges) else ""
                yield f"<li>{badge}<span>{escape(item)}</span></li>"
            yield "</ul></section>"
        case Figure(slug, caption, svg):
            counts["Figure"] += 1
            data = base64.b64encode(svg.read_bytes()).decode()
            yield f'<figure id="{escape(slug)}"><img alt="{escape(caption)}" src="data:image/svg+xml;base64,{data}">'
            yield f"<figcaption><b>Figure {counts['Figure']}.</b> {escape(caption)}</figcaption></figure>"
        case Table():
            counts["Table"] += 1
            yield from _table(block, looks, counts["Table"])


def _table(table: Table, looks: Mapping[str, Look], index: int) -> Iterator[str]:
    yield f'<figure class="table" id="{escape(table.slug)}">'
    yield f"<figcaption><b>Table {index}.</b> {escape(table.caption)}</figcaption>"
    yield '<div class="scroll"><table><thead>'
    if table.groups:
        cells = (
            f'<th colspan="{span}" class="group{"" if text else " empty"}"><span>{escape(text)}</span></th>'
            for text, span in table.groups
        )
        yield f"<tr>{''.join(cells)}</tr>"
    heads = (f"<th{_side(place, table)}>{escape(name)}</th>" for place, name in enumerate(table.columns))
    yield f"<tr>{''.join(heads)}</tr></thead><tbody>"
    for place, row in enumerate(table.rows):
        marked = ' class="reference"' if place == table.marked_row and len(table.rows) > 1 else ""
        cells = (f"<td{_side(column, table)}>{_cell(cell, looks)}</td>" for column, cell in enumerate(row))
        yield f"<tr{marked}>{''.join(cells)}</tr>"
    yield f'</tbody></table></div><p class="files">{table.slug}.csv · {table.slug}.tex</p></figure>'


def _side(column: int, table: Table) -> str:
    return ' class="left"' if column < table.left else ""


def _cell(cell: Cell, looks: Mapping[str, Look]) -> str:
    if cell.badge:
        return _badge(cell.badge, cell.text)
    sample = _sample(looks[cell.arm]) if cell.arm is not None and cell.arm in looks else ""
    return sample + escape(cell.text)


def _badge(kind: str, text: str) -> str:
    mark = f'<span aria-hidden="true">{_MARKS[kind]}</span>'
    return f'<span class="badge {kind.replace(" ", "-")}">{mark} {escape(text)}</span>'


def _sample(look: Look) -> str:
    """The arm's line as it is drawn in the figures."""
    lengths = " ".join(f"{length * look.width:.1f}" for length in look.dashes)
    dashes = f' stroke-dasharray="{lengths}"' if lengths else ""
    return (
        '<svg class="sample" viewBox="0 0 22 8" width="22" height="8" aria-hidden="true"><line x1="0" y1="4" x2="22" '
        f'y2="4" stroke="{look.color}" stroke-width="{look.width + 0.7:.1f}"{dashes}/></svg>'
    )
