"""What makes a map, a gradient or a row of its own is not taken twice in silence."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

import boxcam
from boxcam.errors import ArgumentError

Cli = Callable[..., Result]
BUNDLE = Path(boxcam.__file__).parent / "demo" / "signs"
PICTURE = Path(boxcam.__file__).parent / "demo" / "images" / "street.jpg"


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (["explain", BUNDLE, PICTURE, "--layer", "neck", "--layer", "neck"], "--layer neck"),
        (["evaluate", BUNDLE, PICTURE, "--layer", "neck", "--layer", "neck"], "--layer neck"),
        (["evaluate", BUNDLE, PICTURE, "--method", "layercam", "--method", "layercam"], "--method layercam"),
        (["evaluate", BUNDLE, PICTURE, "--metric", "oa", "--metric", "energy", "--metric", "oa"], "--metric oa"),
        (["evaluate", BUNDLE, PICTURE, "--fill", "mean", "--fill", "mean"], "--fill mean"),
        (["export", "m.onnx", "--layer", "neck", "--layer", "image", "--layer", "neck"], "--layer neck"),
        (["export", "m.onnx", "--target", "x1", "--target", "x1"], "--target x1"),
    ],
)
def test_the_command_line_names_it(given: list[str], name: str, tmp_path: Path, cli: Cli) -> None:
    done = cli(*given, "-o", tmp_path / "out")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"boxcam: {name} is given twice. Pass it once.\n"
    assert not (tmp_path / "out").exists()


def test_python_names_it() -> None:
    model = boxcam.load(BUNDLE, threads=1)
    with pytest.raises(ArgumentError, match=r"^layer='neck' is given twice\. Pass it once\.$"):
        model.explain(PICTURE, layer=["neck", "neck"])
    with pytest.raises(ArgumentError, match=r"^layer='neck' is given twice\."):
        model.prepare(layer=iter(["neck", "neck"]))  # type: ignore[arg-type]  # what can be read once
    with pytest.raises(ArgumentError, match=r"^targets='all' is given twice\. Pass it once\.$"):
        boxcam.export("m.onnx", output="b", targets=["all", "all"])
    with pytest.raises(ArgumentError, match=r"^layers='a' is given twice\. Pass it once\.$"):
        boxcam.export("m.onnx", output="b", layers=["a", "a"])


def test_boxes_that_are_asked_for_twice_are_boxes_once() -> None:
    """Classes and ranks are which boxes there are: naming one again changes nothing."""
    model = boxcam.load(BUNDLE, threads=1)
    assert len(model.explain(PICTURE, rank=[1, 1], method="hirescam")) == 1
    once, again = (model.detect(PICTURE).names.count("no entry"), ["no entry", "no entry"])
    assert len(model.explain(PICTURE, classes=again, method="hirescam")) == once
