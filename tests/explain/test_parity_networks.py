"""Methods of other classes and of further forward passes give the maps that other packages make of the same network."""

from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pytest

import boxcam
from tests.explain.parity import FILE
from tests.explain.two_classes import PICTURE, TwoClasses

THEIRS: dict[str, Any] = json.loads(FILE.read_text(encoding="utf-8"))["networks"]
GIVEN: dict[str, dict[str, Any]] = {
    "finer-cam": {"layer": "layer"},
    "finer-hirescam": {"layer": "layer"},
    "score-cam": {"layer": "layer"},
    "ablation-cam": {"layer": "layer"},
    "recipro-cam": {"layer": "layer", "target": "score"},
    "smooth-grad": {"samples": 8, "seed": 3},
}
"""How each is called; captum drew the noise of that seed."""


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> boxcam.Model:
    folder = tmp_path_factory.mktemp("networks")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", boxcam.BoxcamWarning)
        boxcam.export(
            TwoClasses().build(folder / "model.onnx"), output=folder / "b", layers=["layer", "image"], engine="onnx",
            class_names=["one", "other"], preprocess=["resize=stretch", "scale=0-1", "color=RGB"],
            targets=["logit", "score"],
        )  # fmt: skip
    return boxcam.load(folder / "b", threads=1)


@pytest.mark.parametrize("method", GIVEN)
def test_the_maps_are_theirs(model: boxcam.Model, method: str) -> None:
    theirs = np.array(THEIRS[method])
    ours = model.explain(PICTURE, method=method, rank=1, **GIVEN[method]).map(0)
    if method not in ("finer-hirescam", "recipro-cam"):  # theirs is rectified after what was kept
        theirs = np.maximum(theirs, 0)
    assert theirs.any()
    assert ours == pytest.approx(theirs, rel=1e-3, abs=1e-4 * float(np.abs(theirs).max()))


def test_every_map_that_was_kept_is_compared() -> None:
    assert set(GIVEN) == set(THEIRS)


def test_another_class_or_another_noise_would_be_noticed(model: boxcam.Model) -> None:
    for method, given in GIVEN.items():
        theirs = np.maximum(np.array(THEIRS[method]), 0)
        other = {**given, "seed": 4} if "seed" in given else {**given, "rank": 2}
        ours = model.explain(PICTURE, method=method, **{"rank": 1, **other}).map(0)
        assert not np.allclose(ours, theirs, rtol=0.1, atol=1e-3 * float(theirs.max()))
