"""The report's tables as Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .report_tables import Table

__all__ = ["table_md", "text_md"]


def table_md(table: Table) -> str:
    """Return a table with its notes below a heading."""
    names = [text_md(f"{group} {name}".strip()) for group, name in table.header]
    align = ["---" if i < table.words else "---:" for i in range(len(names))]
    parts = [f"## {text_md(table.caption)}"]
    for heading, rows in table.blocks:
        if heading:
            parts.append(f"### {text_md(heading)}")
        lines = [names, align, *([text_md(cell) for cell in row] for row in rows)]
        parts.append("\n".join("| " + " | ".join(line) + " |" for line in lines))
    if table.notes:
        parts.append(text_md(table.notes))
    return "\n\n".join(parts)


def text_md(text: str) -> str:
    """Escape what Markdown or the HTML inside it would take for markup."""
    plain = " ".join(text.split()).replace("\\", "\\\\")
    for mark in "`*_|[]":
        plain = plain.replace(mark, f"\\{mark}")
    return plain.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
