"""Arguments that are wrong, in Python: an error says what there is."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import boxcam
from boxcam.errors import (
    ArgumentError,
    BundleError,
    InputError,
    OutputError,
    UnknownLayerError,
    UnknownNameError,
)

WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"method": "gradcan"}, UnknownNameError, r"no method 'gradcan'\. Did you mean 'gradcam'.*\? There are: gradcam, "),
    ({"layer": "nekc"}, UnknownLayerError, r"no layer 'nekc'\. Did you mean 'neck'\? There are: neck, backbone\."),
    ({"engine": "torchscrip"}, UnknownNameError, r"no engine 'torchscrip'\. Did you mean 'torchscript'\?"),
    ({"classes": ["give wy"]}, UnknownNameError, r"no class 'give wy'\. Did you mean 'give way'\? There are: stop, "),
    ({"classes": ["NO ENTREE"]}, UnknownNameError, r"Did you mean 'no entry'\?"),
    ({"classes": [5]}, UnknownNameError, "no class '5'"),
    ({"classes": -1}, UnknownNameError, "no class '-1'"),
    ({"classes": "²"}, UnknownNameError, "no class '²'"),
    ({"method": "grad-cam++"}, UnknownNameError, r"no method 'grad-cam\+\+'\. Did you mean 'gradcam\+\+'"),
    ({"image": "https://a.b/c.jpg"}, InputError, r"https://a\.b/c\.jpg is an address on the network"),
    ({"image": "nowhere.jpg"}, InputError, "nowhere.jpg does not exist"),
    ({"image": [[1, 2]]}, InputError, "must be a path, a numpy array or a PIL image, not list"),
    ({"image": None}, InputError, "a PIL image, not NoneType.*cv2.imread gives None"),
    ({"image": np.zeros((3, 40, 40), np.uint8)}, InputError, "channels come first"),
    ({"image": np.zeros((40, 40, 3))}, InputError, "must be uint8"),
    ({"image": ["a.png"]}, InputError, r"one image is explained at a time, not a list of them\. Load the model once"),
    (
        {"image": (np.zeros((9, 9, 3), np.uint8),)},
        InputError,
        r"one image .* not a tuple of them\. .* for each image\.$",
    ),
    ({"top": 0}, ArgumentError, r"top=0 is not a whole number above 0\. Pass the largest number .* explain all\.$"),
    ({"top": -1}, ArgumentError, r"top=-1 is not a whole number above 0\."),
    ({"top": 2.5}, ArgumentError, r"top=2\.5 is not a whole number"),
    ({"top": True}, ArgumentError, "top=True is not a whole number"),
    ({"score": 2}, ArgumentError, r"score=2 is not a number from 0 to 1\. Pass one, such as score=0\.3\.$"),
    ({"score": -0.1}, ArgumentError, r"score=-0\.1 is not a number from 0 to 1"),
    ({"score": float("nan")}, ArgumentError, "score=nan is not a number from 0 to 1"),
    ({"score": "0.5"}, ArgumentError, "score='0.5' is not a number from 0 to 1"),
    ({"rank": 0}, ArgumentError, r"rank=0 is not a whole number above 0, or several\. Pass 1 for the best box"),
    ({"rank": [1, -1]}, ArgumentError, r"rank=\[1, -1\] is not a whole number"),
    ({"rank": "1"}, ArgumentError, "rank='1' is not a whole number"),
    ({"rank": 1.5}, ArgumentError, r"rank=1\.5 is not a whole number"),
    *(
        ({"classes": wrong}, ArgumentError, r"classes=.* is not the name or number of a class, or several\. Pass one")
        for wrong in (1.5, True, [1.5], [True], {"stop": 1}, b"stop", [None], np.array(1.5), object())
    ),
    *(
        ({"rank": wrong}, ArgumentError, r"rank=.* is not a whole number above 0, or several\. Pass 1 for the best box")
        for wrong in (1.0, True, [[1]], {1: 1}, np.array(0), np.array([1.0]), b"1")
    ),
    *(
        (
            {"layer": wrong},
            ArgumentError,
            r"layer=.* is not the name of a layer, or several\. Pass one of model\.layers",
        )
        for wrong in (1, "", [["neck"]], b"neck", ["neck", None])
    ),
    *(
        (
            {name: wrong},
            ArgumentError,
            rf"^{name}= names none\. Pass one or several, or leave it out for the default\.$",
        )
        for name in ("classes", "rank", "layer")
        for wrong in ((), [], np.array([]))
    ),
    *(
        ({name: wrong}, UnknownNameError, rf"there is no {name} {re.escape(repr(wrong))}\.")
        for name in ("method", "engine")
        for wrong in (["gradcam"], 3, {}, b"onnx")
    ),
    *(({"target": wrong}, ArgumentError, r"target=.* is not the name of a target\.") for wrong in (["logit"], 3, {})),
    ({"classes": "9" * 5000}, UnknownNameError, "no class '9999"),
    ({"color": "rgb"}, ArgumentError, r"color='rgb' is not an order of channels\. Pass 'BGR', as cv2.imread gives it"),
]


@pytest.mark.parametrize(("options", "kind", "message"), WRONG)
def test_errors_say_what_there_is(
    options: dict[str, Any], kind: type[Exception], message: str, signs_model: boxcam.Model, cat: Path
) -> None:
    with pytest.raises(kind, match=message) as caught:
        boxcam.explain(signs_model, **{"image": cat, **options})
    assert "\n" not in str(caught.value)


def test_arguments_that_are_no_model(signs_bundle: Path, signs_model: boxcam.Model, cat: Path, tmp_path: Path) -> None:
    swapped = "the model and the image are swapped. Pass the model first, then the image."
    for model, image in ((cat, signs_bundle), (cat, signs_model), (cv2.imread(str(cat)), str(signs_bundle))):
        with pytest.raises(ArgumentError, match=swapped) as caught:
            boxcam.explain(model, image)
        assert isinstance(caught.value, ValueError)
    with pytest.raises(ArgumentError, match=r"a model cannot be a value of type dict\. Pass what boxcam.load returns"):
        boxcam.explain({}, cat)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="a bundle is given by its path, not by a value of type NoneType"):
        boxcam.load(None)  # type: ignore[arg-type]
    with pytest.raises(BundleError, match="nowhere does not exist"):
        boxcam.explain(tmp_path / "nowhere", cat)
    (tmp_path / "model.onnx").touch()
    with pytest.raises(BundleError, match=r"model\.onnx is no(t a)? bundle.*'boxcam inspect "):
        boxcam.explain(tmp_path / "model.onnx", cat)
    with pytest.raises(UnknownNameError, match=r"no device 'gpu'\. Did you mean 'cuda'\?"):
        boxcam.load(signs_bundle, device="gpu")
    for threads in (-1, "4", 1.5, None, True, 2**31, 1025, [1]):
        with pytest.raises(ArgumentError, match=r"threads=.* is not a whole number from 0 \(all cores\) to 1024\."):
            boxcam.load(signs_bundle, threads=threads)  # type: ignore[arg-type]
    for device in (None, ["cpu"], 0):
        with pytest.raises(UnknownNameError, match="there is no device"):
            boxcam.load(signs_bundle, device=device)  # type: ignore[arg-type]
    for providers in (5, None, [1], {"CPUExecutionProvider": {}}, ["CPUExecutionProvider", None]):
        with pytest.raises(ArgumentError, match=r"providers=.* is not a name, or several\."):
            boxcam.load(signs_bundle, providers=providers)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"progress=5 cannot be called\. Pass a function, or leave it out\."):
        boxcam.explain(signs_model, cat, progress=5)  # type: ignore[arg-type]


def test_results_lie_in_the_folder(signs_model: boxcam.Model, cat: Path, tmp_path: Path) -> None:
    found = boxcam.explain(signs_model, cat, top=1)
    out = tmp_path / "out"
    for name in ("../evil", str(tmp_path / "evil"), "", ".", "..", "a/b", "a/", "a\0b", 5, b"a", Path("a")):
        with pytest.raises(ArgumentError, match=r" is not the name of a file\. Pass one without folders"):
            found.save(out, name)  # type: ignore[arg-type]
    for folder in (None, 5, b"out", [out]):
        with pytest.raises(ArgumentError, match=r" is not the path of a folder\. Pass one"):
            found.save(folder)  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match="progress=1 cannot be called"):
        found.save(out, progress=1)  # type: ignore[arg-type]
    with pytest.raises(OutputError, match=r"cannot write into .*: embedded null byte\. Choose another folder\."):
        found.save(f"{out}\0")
    assert os.listdir(tmp_path) == []
    assert [path.name for path in found.save(out, "a..b")] == ["a..b.png", "a..b.npz", "a..b.json"]


def test_what_is_missing_is_said_before_the_first_image(signs_model: boxcam.Model) -> None:
    signs_model.prepare(method="hirescam", layer="backbone", classes=["stop", 2], score=0.5, rank=3)
    for options, kind, message in WRONG:
        if "image" not in options and "color" not in options:
            with pytest.raises(kind, match=message):
                signs_model.prepare(**options)
