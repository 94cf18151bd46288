"""The report as one HTML page: style, tables, drawings and pictures, nothing from elsewhere."""

from __future__ import annotations

from base64 import b64encode
from html import escape
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .report_tables import Table

__all__ = [
    "facts_html",
    "figures_html",
    "notes_html",
    "page",
    "picture_html",
    "section",
    "table_html",
]

STYLE = """
:root { color-scheme: light dark; --paper: #fff; --ink: #1b1e23; --soft: #5c6470; --rule: #d9dde3;
  --strong: #1b1e23; --shade: #f5f6f8;
  --s0: #0072b2; --s1: #c65102; --s2: #00805c; --s3: #b0578d; --s4: #7a6200; --s5: #3a8fc4;
  --s6: #6b6f76; --s7: #a8323e; }
@media (prefers-color-scheme: dark) { :root { --paper: #15171b; --ink: #e4e7eb; --soft: #9aa3af;
  --rule: #343940; --strong: #aab2bd; --shade: #1d2025;
  --s0: #58b4ee; --s1: #f2924a; --s2: #3fc79a; --s3: #e296c3; --s4: #d9bd4e; --s5: #9ad4f5;
  --s6: #b3b8c0; --s7: #f0808a; } }
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0 auto; padding: 2rem 1.25rem 4rem; max-width: 76rem; background: var(--paper);
  color: var(--ink); font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans",
  "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .75rem; text-wrap: balance; }
h2 { font-size: 1.15rem; margin: 2.75rem 0 .25rem; }
p.notes { color: var(--soft); font-size: 13px; margin: .4rem 0 0; max-width: 62rem; }
h1, h2, dd, td.long, figcaption, p, tr.head th { overflow-wrap: anywhere; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .1rem 1.25rem; margin: 0;
  font-size: 13.5px; }
dt { color: var(--soft); }
dd { margin: 0; white-space: pre-line; font-variant-numeric: tabular-nums; }
.scroll { overflow-x: auto; margin-top: 1.25rem; }
table { border-collapse: collapse; width: 100%; font-size: 13px; line-height: 1.35;
  font-variant-numeric: tabular-nums; border-bottom: 1.5px solid var(--strong); }
caption { text-align: left; font-weight: 600; font-size: 14px; padding-bottom: .4rem; }
thead { border-top: 1.5px solid var(--strong); border-bottom: 1px solid var(--strong); }
th, td { padding: .22rem .5rem; text-align: right; vertical-align: baseline; font-weight: 400; }
th { color: var(--soft); }
thead th { vertical-align: bottom; }
thead th[colspan] { text-align: center; border-bottom: 1px solid var(--rule); }
td.number { white-space: nowrap; }
th.word, td.word { text-align: left; }
td.long { min-width: 14rem; }
tr > .word:first-child { padding-left: 0; min-width: 8.5rem; }
tbody tr.head th { text-align: left; font-style: italic; padding: .6rem 0 .2rem; }
tbody + tbody { border-top: 1px solid var(--rule); }
.figures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 30rem), 1fr));
  gap: 2rem 3rem; margin-top: 1.25rem; align-items: start; }
figure { margin: 0; min-width: 0; }
figcaption { font-size: 14px; font-weight: 600; margin-bottom: .4rem; }
figcaption span { display: block; color: var(--soft); font-weight: 400; font-size: 13px; }
figure .scroll { margin: 0; }
figure svg { display: block; width: 100%; min-width: 23.5rem; max-width: 560px; height: auto; }
figure img { display: block; max-width: 100%; height: auto; }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(min(100%, 21rem), 1fr));
  gap: 2rem; margin-top: 1.25rem; }
svg text { font-size: 12.5px; fill: var(--ink); font-variant-numeric: tabular-nums; }
svg .tick { fill: var(--soft); font-size: 12px; }
svg .head { font-weight: 600; }
svg path, svg rect { fill: none; }
svg .grid { stroke: var(--rule); stroke-width: 1; }
svg .ghost { stroke: var(--soft); stroke-width: 1; opacity: .45; }
svg .dots { stroke-width: 4.2; stroke-linecap: round; opacity: .65; }
svg .knots { stroke-width: 5; stroke-linecap: round; }
svg .whisker { stroke-width: 1.3; }
svg .box { stroke-width: 1.3; fill: var(--shade); }
svg .median { stroke-width: 2.8; }
svg .curve { stroke-width: 2; stroke-linejoin: round; }
""" + "".join(
    f"svg path.s{i}, svg rect.s{i} {{ stroke: var(--s{i}); }}\n"
    f"svg path.band.s{i} {{ stroke: none; fill: var(--s{i}); fill-opacity: .16; }}\n"
    f"svg .name.s{i} {{ fill: var(--s{i}); font-weight: 600; }}\n"
    for i in range(8)
)

# On paper: dark on white whatever the screen was, and no table or figure cut in two if it fits.
PRINT = """
@media (max-width: 40rem) { body { padding: 1.25rem .9rem 3rem; }
  dl { grid-template-columns: 1fr; } dt { margin-top: .3rem; }
  .scroll tr > .word:first-child { position: sticky; left: 0; background: var(--paper);
    padding-right: .8rem; min-width: 7rem; max-width: 9rem; overflow-wrap: anywhere; }
  th, td { padding: .22rem .35rem; }
  tbody tr.head th span { position: sticky; left: 0; display: inline-block;
    max-width: calc(100vw - 2rem); } }
@media print { :root { color-scheme: light; --paper: #fff; --ink: #000; --soft: #444;
    --rule: #ccc; --strong: #000;
    --s0: #0072b2; --s1: #c65102; --s2: #00805c; --s3: #b0578d; --s4: #7a6200; --s5: #3a8fc4;
    --s6: #6b6f76; --s7: #a8323e; }
  @page { size: A4 landscape; margin: 14mm; }
  body { padding: 0; max-width: none; font-size: 10pt; } .scroll { overflow: visible; }
  table { font-size: 8pt; } th, td { padding: .12rem .35rem; }
  h2, figcaption, caption, thead { break-after: avoid; }
  figure, tbody { break-inside: avoid; } .figures { grid-template-columns: 1fr 1fr; gap: 1.5rem; } }
"""

# Even if a name should slip through unescaped, the page may load and run nothing.
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:"


def page(title: str, parts: Iterable[str]) -> str:
    """Return the whole page."""
    body = "\n".join(parts)
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}{PRINT}</style>\n</head>\n<body>\n"
        f"<h1>{escape(title)}</h1>\n{body}\n</body>\n</html>\n"
    )


def section(heading: str, *parts: str) -> str:
    """Return a heading with what belongs to it; "" if that is nothing."""
    kept = [part for part in parts if part]
    if not kept:
        return ""
    return f"<section>\n<h2>{escape(heading)}</h2>\n" + "\n".join(kept) + "\n</section>"


def facts_html(facts: Mapping[str, str]) -> str:
    """Return facts as a list of names and values."""
    rows = "".join(f"<dt>{escape(n)}</dt><dd>{escape(v)}</dd>\n" for n, v in facts.items())
    return f"<dl>\n{rows}</dl>" if rows else ""


def table_html(table: Table | None) -> str:
    """Return a table with its notes; "" for None."""
    if table is None:
        return ""
    parts = [f"<caption>{escape(table.caption)}</caption>", _header(table)]
    for heading, rows in table.blocks:
        head = ""
        if heading:
            span = len(table.header)
            head = (
                f'<tr class="head"><th colspan="{span}" scope="rowgroup">'
                f"<span>{escape(heading)}</span></th></tr>\n"
            )
        lines = "".join(_row(cells, table) for cells in rows)
        parts.append(f"<tbody>\n{head}{lines}</tbody>")
    notes = notes_html(table.notes) if table.notes else ""
    return '<div class="scroll"><table>\n' + "\n".join(parts) + "\n</table></div>\n" + notes


def notes_html(text: str) -> str:
    """Return what explains a table or figures."""
    return f'<p class="notes">{escape(text)}</p>'


def figures_html(figures: Iterable[tuple[str, str]]) -> str:
    """Return drawings side by side: (caption, SVG) each; "" if there is none."""
    shown = "".join(
        f"<figure><figcaption>{escape(caption)}</figcaption>"
        f'<div class="scroll">{svg}</div></figure>\n'
        for caption, svg in figures
        if svg
    )
    return f'<div class="figures">\n{shown}</div>' if shown else ""


def picture_html(caption: str, text: str, png: bytes) -> str:
    """Return a PNG with its caption, held by the page itself."""
    data = b64encode(png).decode("ascii")
    return (
        f"<figure><figcaption>{escape(caption)}<span>{escape(text)}</span></figcaption>"
        f'<img alt="{escape(caption)}" src="data:image/png;base64,{data}"></figure>'
    )


def _header(table: Table) -> str:
    two_rows = any(group for group, _ in table.header)
    above, below = [], []
    columns = enumerate(table.header)
    for group, members in groupby(columns, key=lambda column: column[1][0]):
        names = [(_kind(i, table), escape(name)) for i, (_, name) in members]
        if group:
            above.append(f'<th colspan="{len(names)}" scope="colgroup">{escape(group)}</th>')
            below += [f'<th class="{kind}" scope="col">{name}</th>' for kind, name in names]
        else:
            span = ' rowspan="2"' if two_rows else ""
            above += [f'<th class="{kind}"{span} scope="col">{name}</th>' for kind, name in names]
    second = f"<tr>{''.join(below)}</tr>\n" if two_rows else ""
    return f"<thead>\n<tr>{''.join(above)}</tr>\n{second}</thead>"


def _row(cells: tuple[str, ...], table: Table) -> str:
    shown = "".join(
        f'<td class="{_kind(i, table)}">{escape(cell)}</td>' for i, cell in enumerate(cells)
    )
    return f"<tr>{shown}</tr>\n"


def _kind(column: int, table: Table) -> str:
    if column >= table.words:
        return "number"
    # The last column of a table without numbers holds sentences or paths.
    return "word long" if column + 1 == len(table.header) else "word"
