"""What is said of a cue at no place: where the evidence is, how concentrated, and whether that tells detectors."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from boxcam.explain.methods import METHODS
from boxcam.explain.metrics.arithmetic import region_of
from examples.truth import tables
from examples.truth.measure import BASELINES, Row, widened
from examples.truth.nowhere import BOXES, FIGURES, WAYS, Comparison, Spread, compare, read, spread_of, write
from examples.truth.scenes import describe
from examples.truth.things import CROSS, SIZE

ROW = Row("hirescam", "neck")
NONE = float("nan")
SCENE = describe((3, 0), "blur", audit=CROSS)


def spread(scene: int, in_box: float, on_symbol: float = 0.5, sparse: float = 0.5) -> Spread:
    return Spread(ROW, scene, in_box, on_symbol, sparse)


def test_a_uniform_map_has_in_the_box_what_the_box_has_of_the_picture() -> None:
    found = spread_of(np.ones((SIZE, SIZE), np.float32), SCENE, 7, ROW)
    box = region_of(np.array(SCENE.body.box), (SIZE, SIZE))
    assert (found.row, found.scene) == (ROW, 7)
    assert found.in_box == pytest.approx(box.mean())
    assert found.on_symbol == pytest.approx(widened(SCENE.symbol.mask()).mean())
    assert found.sparse == pytest.approx(0, abs=1e-9)


def test_a_map_of_the_symbol_is_on_it_in_the_box_and_concentrated() -> None:
    symbol = SCENE.symbol.mask()
    found = spread_of(symbol.astype(np.float32), SCENE, 0, ROW)
    assert found.on_symbol == found.in_box == 1
    assert found.sparse == pytest.approx(1 - symbol.mean())


def test_a_map_without_evidence_has_no_figures() -> None:
    found = spread_of(np.full((SIZE, SIZE), -1, np.float32), SCENE, 0, ROW)
    assert all(map(math.isnan, (found.in_box, found.on_symbol, found.sparse)))


def test_pairs_are_won_by_the_map_that_has_less() -> None:
    first, second = [spread(0, 0.2), spread(1, 0.6)], [spread(0, 0.4), spread(1, 0.6), spread(2, 0.9)]
    found = {one.figure: one for one in compare("planted", first, second)}
    assert tuple(found) == FIGURES
    told = found["in_box"]
    assert (told.first, told.second) == (pytest.approx(0.4), pytest.approx(1.9 / 3))
    assert told.auroc == 4.5 / 6  # one pair is equal, and one is lost
    assert told.boxes == (2, 3)
    assert found["on_symbol"].auroc == found["sparse"].auroc == 0.5  # groups that are alike


def test_a_map_without_evidence_has_nothing_anywhere_and_is_in_no_mean() -> None:
    (told, *_) = compare("planted", [spread(0, NONE), spread(1, 0.5)], [spread(0, 0.3)])
    assert told.first == 0.5
    assert told.auroc == 0.5  # 0 is less than 0.3, and 0.5 more


def test_figures_are_read_as_they_were_written(tmp_path: Path) -> None:
    found = [*compare("planted", [spread(0, 0.25)], [spread(0, 0.75)])]
    found += [Comparison("other", Row("uniform"), "sparse", NONE, 0.0, 1.0, NONE, NONE, (0, 1))]
    write(found, tmp_path / "nowhere.json")
    again = read(tmp_path / "nowhere.json")
    assert again[0].row == ROW
    assert again[0].boxes == (1, 1)
    assert math.isnan(again[-1].first)
    write(again, tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "nowhere.json").read_text()


def test_a_line_has_means_of_both_and_both_controls() -> None:
    first, second = [spread(0, 0.2, 0.1), spread(1, 0.4, 0.1)], [spread(0, 0.8, 0.3), spread(1, 0.8, 0.3)]
    made = [
        *compare("planted", first, second),
        *compare("other", second, first),
        *compare("blurred", first, first),
    ]
    line = tables.nowhere(made).splitlines()[-1]
    assert line.startswith("| `hirescam`, neck | 0.30 / 0.80 | 0.10 / 0.30 | 0.50 / 0.50 | 1.00 (")
    assert [cell[:6] for cell in line.split(" | ")[-3:]] == ["0.00 (", "0.50 (", "0.50 ("]


def test_what_the_page_says_of_a_blur_in_words_holds() -> None:
    found = {(one.question, one.row, one.figure): one for one in read()}
    default = found["planted", ROW, "in_box"], found["planted", ROW, "on_symbol"]
    assert all(one.first > one.second - 0.01 and 0.3 < one.auroc < 0.6 for one in default)
    early = [Row(name, "backbone.0") for name in ("gradcam", "ssgradcam", "layercam", "hirescam")]
    for row in early:
        assert min(found["planted", row, of].auroc for of in ("in_box", "sparse")) > 0.86
        assert max(found[control, row, "sparse"].auroc for control in ("other", "blurred")) < 0.6
    assert max(found["other", row, "on_symbol"].auroc for row in early) > 0.85  # the symbol is not read there either
    assert {one.boxes for one in found.values()} == {(BOXES, BOXES)}


def test_all_ways_can_be_asked() -> None:
    assert {row.method for row in WAYS} - set(BASELINES) <= set(METHODS)
    assert not any(row.slow for row in WAYS)
