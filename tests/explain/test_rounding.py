"""A map that is nothing but rounding is no evidence, and has no colours."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from boxcam.explain import legend
from boxcam.explain import sheet as pages
from boxcam.explain.evidence import DETECTION, NO_ENGINE
from boxcam.explain.rounding import floor
from tests.explain.made import EVEN, LEFT, explanation
from tests.explain.small import with_values

STEP = 2.0**-23


@pytest.mark.parametrize(
    ("method", "share"),
    [
        ("hirescam", 1.0),
        ("layercam", 1.0),
        ("gradcam", 1 / 8),  # it averages over 2 x 4 cells
        ("saliency", 1 / 255),
        ("eigencam", 0.0),  # it reads no gradient
        ("d-rise", 0.0),
        ("score-cam", 0.0),
    ],
)
def test_the_floor_is_a_step_of_the_number_that_is_explained(method: str, share: float) -> None:
    assert floor(with_values(1, -5, method=method), 0) == pytest.approx(5 * STEP * share)


@pytest.mark.parametrize(("own", "other"), [(5.0, 4.999), (-4.999, -5.0), (3.0, 3.0), (-2.0, 6.0), (6.0, -2.0)])
def test_of_a_contrast_it_is_a_step_of_the_larger_logit_and_not_of_their_difference(own: float, other: float) -> None:
    found = with_values(1, own - other)
    logits = np.array([own], np.float32)
    found = replace(found, detections=replace(found.detections, logits=logits), others=("second",))
    assert floor(found, 0) == pytest.approx(max(abs(own), abs(other)) * STEP)
    noise = replace(found, parts=with_values(0.9 * floor(found, 0), 1).parts)
    assert (noise.overlay(outlines=False) == 90).all()


def test_there_is_none_where_nothing_is_known() -> None:
    found = with_values(1, 5)
    assert floor(replace(found, target=DETECTION), 0) == 0
    assert floor(replace(found, engine=NO_ENGINE), 0) == 0
    assert floor(replace(found, parts=((),)), 0) == 0
    assert floor(replace(found, fused=(found.parts,)), 0) == 0


@pytest.mark.parametrize(("peak", "lit"), [(0.9 * 5 * STEP, False), (1.1 * 5 * STEP, True), (0.0, False)])
def test_below_it_nothing_is_drawn(peak: float, lit: bool) -> None:
    found = with_values(peak, 5)
    assert (found.overlay(outlines=False) != 90).any() == lit
    assert (found.overlay(outlines=False, style="contours", scale="common") != 90).any() == lit


def test_the_sheet_says_it_and_has_no_colour_bar(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    texts: list[str] = []
    write = pages.write
    monkeypatch.setattr(pages, "write", lambda page, text, *rest: (texts.append(text), write(page, text, *rest))[1])
    found = with_values(1e-7, 5)
    page = found.sheet()
    assert "no evidence: 1e-07 is rounding" in texts
    assert not any("heat inside" in text for text in texts)
    assert page.shape[0] == with_values(1, 5).sheet().shape[0] - legend.HEIGHT
    found.save(tmp_path)
    with np.load(tmp_path / "a.npz") as arrays:  # the raw map is what it was
        assert arrays["maps"].max() == np.float32(1e-7)


def test_on_a_common_scale_it_does_not_count() -> None:
    both = explanation((np.array(LEFT) * 1e-9).tolist(), EVEN)
    both = replace(both, method="hirescam", values=np.array([5, 5], np.float32))
    assert np.array_equal(both.overlay(1, scale="common"), both.overlay(1))
    assert (both.overlay(0, outlines=False, scale="common") == 90).all()
