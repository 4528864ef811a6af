"""The benchmark's rows of sheets, of a small picture; no time is judged."""

from __future__ import annotations

from benchmarks import report
from benchmarks.measure import Settings
from benchmarks.sheets import METHODS, Sheet, sheets
from boxcam.commands.demo import DATA


def test_the_demo_is_drawn_by_each_method() -> None:
    found = sheets(DATA / "signs", 1, 1, (300, 400))
    assert [of.method for of in found] == list(METHODS)
    assert {(of.boxes, of.height, of.width) for of in found} == {(10, 300, 400)}
    assert all(of.seconds > 0 and of.maps > 0 for of in found)


def test_the_table_says_what_was_aimed_at_and_whether_it_was_met() -> None:
    rows = [Sheet("a", 10, 3000, 4000, 0.2, 0.1), Sheet("b", 10, 3000, 4000, 0.31, 0.4)]
    results = report.Results([], [], Settings(), 2, sheets=rows)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.sheets(results).splitlines()[2:]]
    assert cells == [
        ["a", "10", "4000x3000", "200 ms", "<= 300 ms", "yes", "100 ms"],
        ["b", "10", "4000x3000", "310 ms", "<= 300 ms", "no", "400 ms"],
    ]
    assert report.sheets(results) in report.page(results)
    assert report.sheets(results) in report.text(results)
