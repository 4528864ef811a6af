"""The same features and gradients give the maps that pytorch-grad-cam, captum and ODAM's authors make of them.

Their numbers are in parity.json, which ``python -m tests.explain.parity`` writes. What differs on purpose stands here.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest

from boxcam.explain.methods import METHODS
from boxcam.types import Patch
from tests.explain.parity import FILE, PYTORCH_GRAD_CAM, tensors

THEIRS = json.loads(FILE.read_text(encoding="utf-8"))["maps"]
CASES = [(package, name) for package, maps in THEIRS.items() for name in maps]
BY_PAPERS_WITHOUT_THEIRS = {
    "finer-cam",  # this and the next five are compared in test_parity_networks.py
    "finer-hirescam",
    "score-cam",
    "ablation-cam",
    "recipro-cam",
    "smooth-grad",
    "patch-search",
    "d-rise",  # its masks are compared with published ones in test_drise.py
    "ssgradcam",
    "ssgradcam++",
    "guided-backprop",
    "guided-gradcam",
    "integrated-gradients",
    "regional-gradients",
    "odam-combined",
}
"""Methods that none of the packages has, or that are of another gradient."""


def ours(name: str) -> Any:
    features, gradient = tensors()
    (cells,) = METHODS[name](features, [Patch(0, 0, (0, 0), gradient)])
    return cells.values


@pytest.mark.parametrize(("package", "name"), CASES)
def test_the_maps_are_theirs(package: str, name: str) -> None:
    theirs = np.array(THEIRS[package][name])
    if name.startswith("eigen"):  # the sign of a singular vector is arbitrary in theirs
        theirs = theirs * np.sign((theirs * ours(name)).sum())
    if name != "hirescam":  # theirs is rectified after what was kept, if not before
        theirs = np.maximum(theirs, 0)
    assert theirs.any()
    # Theirs has 1e-6 or 1e-7 in a denominator of Grad-CAM++'s or XGrad-CAM's weights.
    assert ours(name) == pytest.approx(theirs, rel=1e-5, abs=1e-5 * float(np.abs(theirs).max()))


def test_every_method_that_a_package_has_is_compared() -> None:
    assert set(PYTORCH_GRAD_CAM) == set(THEIRS["grad-cam"])
    compared = {name for _, name in CASES}
    assert compared | BY_PAPERS_WITHOUT_THEIRS == set(METHODS._things)
    assert not compared & BY_PAPERS_WITHOUT_THEIRS


def test_another_gradient_would_be_noticed() -> None:
    features, gradient = tensors()
    for _, name in CASES:
        (cells,) = METHODS[name](features, [Patch(0, 0, (0, 0), gradient[::-1, :, ::-1].copy())])
        assert METHODS[name].gradient != np.allclose(cells.values, ours(name), rtol=1e-3)
