"""The benchmark's rows of candidates and contrasts; no time is judged."""

from __future__ import annotations

from benchmarks import report
from benchmarks.measure import Settings
from benchmarks.missed import Missed, missed
from boxcam.commands.demo import DATA


def test_the_demo_is_asked() -> None:
    (found,) = missed([("demo", DATA / "signs")], 1, 1)
    assert (found.title, found.candidates) == ("demo", 4250)  # two anchors in each cell of 40², 20², 10² and 5²
    assert min(found.forward, found.asked, found.found, found.told, found.maps, found.contrast) > 0


def test_the_table_says_what_was_aimed_at_and_whether_it_was_met() -> None:
    rows = [Missed("a", 10, 1.0, 1.01, 0.02, 0.5, 2.0, 2.5), Missed("b", 20, 1.0, 0.9, 0.06, 0.5, 1.0, 2.1)]
    results = report.Results([], [], Settings(), 2, missed=rows)
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in report.missed(results).splitlines()[2:]]
    assert cells == [
        ["a", "10", "1.00 s", "3.0%", "<= 5%", "yes", "500 ms", "1.25 times the maps", "<= 2", "yes"],
        ["b", "20", "1.00 s", "6.0%", "<= 5%", "no", "500 ms", "2.10 times the maps", "<= 2", "no"],
    ]
    assert report.missed(results) in report.page(results)
    assert report.missed(results) in report.text(results)
