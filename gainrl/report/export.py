"""Every table as CSV with plain numbers and as LaTeX for a paper, and the whole report as Markdown."""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from pathlib import Path

from gainrl.report.blocks import Block, Bullets, Document, Figure, Heading, Paragraph, Table

_LATEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "−": "$-$",
    "–": "--",
    "∞": r"$\infty$",
    "<": "$<$",
    ">": "$>$",
    "≥": r"$\geq$",
    "“": "``",
    "”": "''",
    "τ": r"$\tau$",
    "…": r"\ldots{}",
}


def write_tables(document: Document, folder: Path) -> None:
    for table in document.tables():
        with open(folder / f"{table.slug}.csv", "w", newline="") as file:
            if table.data:
                writer = csv.DictWriter(file, list(table.data[0]))
                writer.writeheader()
                writer.writerows(table.data)
        (folder / f"{table.slug}.tex").write_text(latex(table))


def latex(table: Table) -> str:
    """A ``table`` environment with booktabs rules; the reference's row ends in a thin rule."""
    left = table.left
    spec = "l" * left + "r" * (len(table.columns) - left)
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_escaped(table.caption)}}}",
        rf"\label{{tab:{table.slug}}}",
        rf"\begin{{tabular}}{{{spec}}}",
        r"\toprule",
    ]
    if table.groups:
        lines.append(
            " & ".join(rf"\multicolumn{{{span}}}{{c}}{{{_escaped(text)}}}" for text, span in table.groups) + r" \\"
        )
    lines += [" & ".join(map(_escaped, table.columns)) + r" \\", r"\midrule"]
    for index, row in enumerate(table.rows):
        lines.append(" & ".join(_escaped(cell.text) for cell in row) + r" \\")
        if index == table.marked_row and len(table.rows) > 1:
            lines.append(r"\midrule")
    lines += [r"\bottomrule", r"\end{tabular}", r"\end{table}", ""]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)


def markdown(document: Document, folder: Path) -> str:
    lines = [f"# {document.title}", "", document.subtitle, ""]
    counts = {"Table": 0, "Figure": 0}
    for block in document.blocks:
        lines += [*_markdown(block, folder, counts), ""]
    return "\n".join(lines)


def _markdown(block: Block, folder: Path, counts: dict[str, int]) -> Iterator[str]:
    match block:
        case Heading(text):
            yield f"## {text}"
        case Paragraph(text):
            yield text
        case Bullets(title, items, kind):
            yield "> [!WARNING]" if kind == "warning" else f"**{title}**"
            if kind == "warning":
                yield from (f"> - {item}" for item in items)
            else:
                yield ""
                yield from (f"- {item}" for item in items)
        case Figure(_, caption, svg):
            counts["Figure"] += 1
            yield f"![Figure {counts['Figure']}]({os.path.relpath(svg, folder)})"
            yield ""
            yield f"**Figure {counts['Figure']}.** {caption}"
        case Table():
            counts["Table"] += 1
            yield f"**Table {counts['Table']}.** {block.caption}"
            yield ""
            yield "| " + " | ".join(_headed(block)) + " |"
            yield "|" + "|".join([":--"] * block.left + ["--:"] * (len(block.columns) - block.left)) + "|"
            for row in block.rows:
                texts = [cell.text.replace("|", "\\|") for cell in row]
                yield "| " + " | ".join(f"**{t}**" if c.badge else t for c, t in zip(row, texts, strict=True)) + " |"


def _headed(table: Table) -> list[str]:
    """Column names, with the heading over them where there is one, since Markdown has a single header row."""
    if not table.groups:
        return list(table.columns)
    over = [text for text, span in table.groups for _ in range(span)]
    return [f"{group}: {name}" if group else name for group, name in zip(over, table.columns, strict=True)]
