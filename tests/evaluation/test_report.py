"""The report as its readers get it: files, numbers, markup."""

import csv
import io
import math
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from napari_medsam2.errors import InputError, WriteError
from napari_medsam2.evaluation.records import Record
from napari_medsam2.evaluation.report import write_report
from napari_medsam2.evaluation.report_tables import number
from napari_medsam2.evaluation.statistics import summarise, summarise_datasets
from napari_medsam2.evaluation.svg import shorten, spread_apart, text_width

FACTS = {"Date": "2026-01-02", "Seed": "7", "Device": "a <fast> machine & more"}
VOID = {"meta", "img", "br", "hr", "link", "input"}


class Page(HTMLParser):
    """Checks that tags close in order, and keeps tags, attributes and table cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.tables: list[list[list[str]]] = []
        self.text = ""
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self._open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data
        if {"td", "th"} & set(self._open):
            self.tables[-1][-1][-1] += data


def make(**changed: Any) -> list[Record]:
    """Return two methods on 2 x 7 objects in two data sets, with clicks, frames and a failure."""
    rng = np.random.default_rng(0)
    made = []
    for modality, dataset in (("MR", "brains"), ("CT", "livers")):
        for case in range(7):
            for method in ("litemedsam", "copy"):
                plain: dict[str, Any] = {
                    "case": f"{dataset}/{case}",
                    "dataset": dataset,
                    "modality": modality,
                    "kind": "3d",
                    "split": "val",
                    "object_id": 1,
                    "object_name": "part",
                    "method": method,
                    "protocol": "middle",
                    "prompt": "box",
                }
                if (method, modality, case) == ("copy", "MR", 3):
                    made.append(Record(**plain, status="failed", error="no mask at all"))
                    continue
                dice = float(rng.uniform(0.3, 0.95))
                plain |= {
                    "dice": dice,
                    "nsd": dice + 0.01,
                    "seconds": 1.5,
                    "frame_dice": tuple((f, dice) for f in range(4)),
                    "click_dice": (dice / 2, dice),
                    "click_auc": 0.75 * dice,
                    **changed,
                }
                made.append(Record(**plain))
    return made


def png() -> bytes:
    out = io.BytesIO()
    Image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(out, "png")
    return out.getvalue()


def rows_of(table: list[list[str]]) -> dict[str, list[str]]:
    return {row[0]: row for row in table if len(row) > 3}


def test_three_files_and_nothing_else(tmp_path: Path):
    paths = write_report(make(), FACTS, tmp_path / "new" / "report")
    assert [p.name for p in paths] == ["results.csv", "report.md", "report.html"]
    assert sorted(paths) == sorted((tmp_path / "new" / "report").iterdir())


def test_the_csv_holds_every_record(tmp_path: Path):
    records = make()
    path, _, _ = write_report(records, FACTS, tmp_path)
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == len(records)
    for row, record in zip(rows, records, strict=True):
        assert row["case"] == record.case
        assert row["hd95"] == ""
        assert float(row["dice"] or "nan") == pytest.approx(record.dice, nan_ok=True)
    assert rows[0]["frame_dice"].startswith("[[0,")
    (row,) = (r for r in rows if r["status"] == "failed")
    assert (row["dice"], row["error"], row["frame_dice"]) == ("", "no mask at all", "")


def test_the_tables_show_the_statistics(tmp_path: Path):
    records = make()
    _, markdown, html = write_report(records, FACTS, tmp_path)
    shown = Page(html.read_text(encoding="utf-8")).tables
    groups = (
        (shown[0], records, summarise_datasets),
        (shown[1], [r for r in records if r.modality == "CT"], summarise),
        (shown[2], [r for r in records if r.modality == "MR"], summarise),
    )
    written = markdown.read_text(encoding="utf-8")
    for table, own, summary in groups:
        for method in ("litemedsam", "copy"):
            found = summary([r for r in own if r.method == method])
            row = rows_of(table)[method]
            spread = f"{found.mean:.3f} ± {found.sd:.3f}"
            for cell in (
                spread,
                f"{found.median:.3f}",
                f"[{found.low:.3f}, {found.high:.3f}]".replace("-", "−"),
                f"{found.mean + 0.01:.3f}",
            ):
                assert cell in row
            assert spread in written
    # Seven were tried, six have a value; the failure is shown both ways.
    copied = rows_of(shown[2])["copy"]
    failed_as_zero = summarise([r for r in records if (r.method, r.modality) == ("copy", "MR")])
    assert copied[2:4] == ["6", "1"]
    assert f"{failed_as_zero.mean_with_failures:.3f}" in copied
    # A column without anything to say is left out.
    assert all("failed" not in row for row in shown[1])


def test_the_page_holds_all_that_it_needs(tmp_path: Path):
    records = make()
    _, _, html = write_report(records, FACTS, tmp_path, [(records[0], png())])
    text = html.read_text(encoding="utf-8")
    page = Page(text)
    assert "http://" not in text
    assert "https://" not in text
    assert not {"script", "link", "iframe", "object"} & set(page.tags)
    sources = [value for name, value in page.attributes if name in ("src", "href")]
    assert len(sources) == 1
    assert sources[0].startswith("data:image/png;base64,")
    assert "url(" not in text
    assert "@import" not in text
    # A box plot per modality, one of clicks, one along the axis.
    assert page.tags.count("svg") == 4
    for fact in FACTS.values():
        assert fact in page.text
    assert "no mask at all" in page.text
    assert "middle slice (Ma et al. 2024)" in page.text


@pytest.mark.parametrize("field", ["method", "modality", "prompt", "protocol", "case"])
def test_names_are_text_and_never_markup(tmp_path: Path, field: str):
    evil = '<script>alert("1")</script>|x'
    records = make(**{field: evil}) if field != "case" else make()[:1]
    if field == "case":
        records = [Record.from_json({**records[0].to_json(), "case": evil})]
    else:
        records = [r for r in records[:2] if r.status == "ok"][:1]
    _, markdown, html = write_report(
        records, {evil: evil}, tmp_path, [(records[0], png())], title=evil
    )
    page = Page(html.read_text(encoding="utf-8"))
    assert "script" not in page.tags
    assert page.text.count(evil) >= 4
    assert "<script>" not in markdown.read_text(encoding="utf-8")
    blocks = markdown.read_text(encoding="utf-8").split("\n\n")
    for table in (block.splitlines() for block in blocks if block.startswith("|")):
        assert len({line.replace("\\|", "").count("|") for line in table}) == 1


def test_what_has_no_number_is_a_dash(tmp_path: Path):
    base = make()[0].to_json()
    failed = {**base, "status": "failed", "dice": None, "nsd": None, "click_dice": []}
    records = [
        Record.from_json({**failed, "frame_dice": [], "click_auc": None, "error": "lost"}),
        Record.from_json({**base, "method": "other", "frame_dice": [[0, None], [1, 0.5]]}),
    ]
    _, markdown, html = write_report(records, {}, tmp_path)
    page = Page(html.read_text(encoding="utf-8"))
    row = rows_of(page.tables[0])["litemedsam"]
    assert "–" in row
    assert "0.000" in row
    for text in (page.text, markdown.read_text(encoding="utf-8")):
        assert "nan" not in text.split()
        assert " inf" not in text


def test_comparisons_say_why_they_have_no_p(tmp_path: Path):
    records = [r for r in make() if r.case.endswith(("/0", "/1"))]
    _, _, html = write_report(records, FACTS, tmp_path, reference="copy")
    page = Page(html.read_text(encoding="utf-8"))
    (row,) = (r for t in page.tables for r in t if r[:2] == ["copy", "litemedsam"])
    assert row[2:4] == ["4", "0"]
    assert row[5:] == ["– (only 4 pairs differ; 6 are needed)", "–"]


def test_the_lowest_are_those_of_the_reference(tmp_path: Path):
    records = make()
    pictures = [(r, png()) for r in records if r.method == "copy" and r.status == "ok"][:2]
    _, markdown, html = write_report(records, FACTS, tmp_path, pictures, reference="copy")
    (table,) = (t for t in Page(html.read_text("utf-8")).tables if t[0][-1] == "Dice")
    lowest = min(r.dice for r in records if r.method == "copy" and r.status == "ok")
    assert [row[0] for row in table[1:]] == ["copy"] * 5
    assert table[1][-1] == f"{lowest:.3f}"
    assert "Green: the truth" in html.read_text("utf-8")
    captions = [line for line in markdown.read_text("utf-8").splitlines() if line.startswith("## ")]
    assert captions == [
        "## Table 1. All data sets",
        "## Table 2. CT",
        "## Table 3. MR",
        "## Table 4. Methods on the same objects",
        "## Table 5. Clicks needed",
        "## Table 6. Objects with the lowest Dice by copy",
        "## Table 7. Failed runs: 1 of 28",
    ]


def test_a_fact_may_have_several_lines(tmp_path: Path):
    _, markdown, html = write_report(make(), {"Methods": "a: 1\nb: 2"}, tmp_path)
    assert "<dd>a: 1\nb: 2</dd>" in html.read_text("utf-8")
    assert "- Methods: a: 1; b: 2\n" in markdown.read_text("utf-8")


def test_nothing_to_report_is_an_input_error(tmp_path: Path):
    with pytest.raises(InputError, match="no records"):
        write_report([], FACTS, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_bad_input_is_named_and_leaves_no_file(tmp_path: Path):
    records = make()
    with pytest.raises(InputError, match=r"2 for the same run \(litemedsam.*livers/0"):
        write_report([*records, records[14]], FACTS, tmp_path)
    with pytest.raises(InputError, match=r"reference 'sam9'.*use litemedsam, copy"):
        write_report(records, FACTS, tmp_path, reference="sam9")
    with pytest.raises(InputError, match=r"brains/0.*not a PNG"):
        write_report(records, FACTS, tmp_path, [(records[0], b"GIF89a")])
    assert list(tmp_path.iterdir()) == []


def test_older_files_stay_unless_told_otherwise(tmp_path: Path):
    old = tmp_path / "report.html"
    old.write_text("old")
    with pytest.raises(WriteError, match=r"report\.html.*exists"):
        write_report(make(), FACTS, tmp_path)
    assert [p.name for p in tmp_path.iterdir()] == ["report.html"]
    write_report(make(), FACTS, tmp_path, overwrite=True)
    assert "litemedsam" in old.read_text(encoding="utf-8")
    assert len(list(tmp_path.iterdir())) == 3


def test_the_same_records_give_the_same_files(tmp_path: Path):
    first = write_report(make(), FACTS, tmp_path / "1")
    second = write_report(make(), FACTS, tmp_path / "2")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.12345, "0.123"), (-0.5, "−0.500"), (-0.0001, "0.000"), (math.nan, "–"), (math.inf, "–")],
)
def test_numbers_read_as_in_a_paper(value: float, text: str):
    assert number(value) == text


def test_long_names_keep_both_ends():
    assert shorten("litemedsam", 200, 12) == "litemedsam"
    cut = shorten("a_very_long_method_name_v2", 90, 12)
    head, tail = cut.split("…")
    assert "a_very_long_method_name_v2".startswith(head)
    assert "a_very_long_method_name_v2".endswith(tail)
    assert text_width(cut, 12) <= 90


def test_labels_that_would_touch_move_apart():
    assert spread_apart([50, 51, 10], 10, 0, 100) == [50, 60, 10]
    assert spread_apart([99, 98], 10, 0, 100) == [100, 90]
    assert spread_apart([5, 5, 5], 80, 0, 100) == [0, 50, 100]
    assert spread_apart([], 10, 0, 100) == []
