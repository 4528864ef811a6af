"""`boxcam explain --style --scale`: the sheet is the one that Python draws, and the maps stay as they are."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

import boxcam
from tests.commands.written import Cli


def test_a_sheet_in_another_look(
    signs_bundle: Path, signs_model: boxcam.Model, cat: Path, tmp_path: Path, cli: Cli
) -> None:
    for folder, options in (("a", ()), ("b", ("--style", "contours", "--scale", "common"))):
        assert cli("explain", signs_bundle, cat, "-o", tmp_path / folder, "-q", *options).exit_code == 0
    found = signs_model.explain(cat, score=0.3)
    drawn = [cv2.imread(str(tmp_path / folder / "cat.png")) for folder in "ab"]
    assert np.array_equal(drawn[0], found.sheet())
    assert np.array_equal(drawn[1], found.sheet(style="contours", scale="common"))
    assert drawn[0].shape == drawn[1].shape
    assert not np.array_equal(*drawn)
    said = [json.loads((tmp_path / folder / "cat.json").read_text(encoding="utf-8")) for folder in "ab"]
    assert said[0] == said[1]
    with np.load(tmp_path / "a" / "cat.npz") as one, np.load(tmp_path / "b" / "cat.npz") as other:
        assert np.array_equal(one["maps"], other["maps"])


@pytest.mark.parametrize(("option", "close"), [("--style", "contours"), ("--scale", "common")])
def test_a_word_that_is_none_is_refused(option: str, close: str, signs_bundle: Path, cat: Path, cli: Cli) -> None:
    done = cli("explain", signs_bundle, cat, option, close[:-1])
    assert done.exit_code == 2
    assert f"Did you mean '{close}'?" in done.output
