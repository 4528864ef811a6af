"""`boxcam.Model`: what it tells of itself, and what may be given to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import PIL.Image
import pytest

import boxcam
from boxcam.errors import (
    ArgumentError,
    BoxcamWarning,
    InputError,
)
from tests.cams import CAMS


def test_a_model_shows_what_is_public(signs_model: boxcam.Model) -> None:
    shown = {name for name in dir(signs_model) if not name.startswith("_")}
    methods = {"candidates", "detect", "explain", "methods", "prepare"}
    assert shown == methods | {"path", "manifest", "layers", "names", "targets", "device", "providers", "runtime"}
    assert all(hasattr(signs_model, name) for name in dir(signs_model))


def test_a_model_tells_of_itself_and_explains(signs_bundle: Path, signs_model: boxcam.Model, cat: Path) -> None:
    assert signs_model.names == ("stop", "give way", "speed limit", "no entry", "pedestrian crossing")
    assert (signs_model.layers, signs_model.targets) == (("neck", "backbone"), ("logit",))
    assert signs_model.methods() == (  # it has no layer of pixels
        *(*CAMS, "finer-cam", "finer-hirescam", "integrated-gradients", "regional-gradients"),
        *("score-cam", "ablation-cam", "recipro-cam", "patch-search", "d-rise"),
    )
    assert signs_model.device == "cpu"
    assert repr(signs_model) == "<Model signs.boxcam: 5 classes, layers neck, backbone, on cpu>"
    first = boxcam.explain(signs_model, cat, top=2, method="hirescam", layer="backbone")
    for same in (
        signs_model.explain(cat, top=2, method="hirescam", layer="backbone"),
        boxcam.explain(signs_bundle, cat, top=2, method="hirescam", layer="backbone"),
        boxcam.explain(str(signs_bundle), cat, top=2, method="hirescam", layer="backbone"),
    ):
        assert np.array_equal(same.detections.origin, first.detections.origin)
        assert np.allclose(same.maps, first.maps, rtol=1e-4, atol=1e-6)
    assert signs_model.detect(cat).names == signs_model.detect(cv2.imread(str(cat))).names


def test_pictures_of_pillow(signs_model: boxcam.Model, cat: Path) -> None:
    picture = PIL.Image.open(cat)
    pixels = np.asarray(picture)[..., ::-1]
    assert np.array_equal(signs_model.explain(picture, top=1).image, pixels)
    for mode in ("RGBA", "P", "L", "CMYK"):
        other = picture.convert(mode)
        assert np.array_equal(signs_model.explain(other, top=1).image, np.asarray(other.convert("RGB"))[..., ::-1])
    as_given, as_told = (signs_model.explain(picture, top=1, color=color).overlay() for color in ("BGR", "RGB"))
    assert np.array_equal(as_given, as_told)  # Pillow's own order, whatever arrays have
    assert np.array_equal(as_given[..., ::-1], signs_model.explain(pixels, top=1).overlay())
    for mode, other in (("RGBa", "RGBA"), ("La", "LA")):
        message = rf"mode '{mode}' cannot be used: its colours are multiplied by its alpha\. .*convert\('{other}'\)\.$"
        with pytest.raises(InputError, match=message):
            signs_model.explain(picture.convert("RGBA" if other == "RGBA" else "LA").convert(mode))
    with pytest.raises(InputError, match="Pillow's mode 'I;16' cannot be used: its pixels do not have 8 bits"):
        signs_model.explain(PIL.Image.new("I;16", (8, 8)))
    turned = picture.copy()
    turned.getexif()[0x0112] = 6
    with pytest.warns(BoxcamWarning, match="lies on its side or is mirrored"):
        assert signs_model.explain(turned, top=1).image.shape == pixels.shape


def test_files_and_arrays_give_the_same(signs_model: boxcam.Model, cat: Path, tmp_path: Path) -> None:
    image = cv2.imread(str(cat))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    cv2.imwrite(str(tmp_path / "grey.png"), grey)
    groups: list[list[Any]] = [
        [cat, str(cat), image, np.asfortranarray(image), image[::-1][::-1]],
        [tmp_path / "grey.png", grey],
    ]
    for group in groups:
        first, *others = [boxcam.explain(signs_model, given, top=2) for given in group]
        for other in others:
            assert np.array_equal(first.image, other.image)
            assert np.array_equal(first.detections.boxes, other.detections.boxes)
            assert np.array_equal(first.maps, other.maps)


def test_what_is_given_can_be_read_once(signs_model: boxcam.Model, cat: Path) -> None:
    def asked(**options: Any) -> tuple[Any, ...]:
        found = boxcam.explain(signs_model, cat, score=0, **options)
        facts = found.facts()
        return len(found), found.detections.labels.tolist(), facts["rank"], facts["classes"], facts["layer"]

    for name, values in (("rank", [2, 1]), ("classes", ["stop", 1]), ("layer", ["neck", "backbone"])):
        expected = asked(**{name: values})
        for given in (iter(values), (one for one in values), tuple(values), dict.fromkeys(values).keys()):
            assert asked(**{name: given}) == expected
    for name, wrong in (("rank", [1, 0]), ("classes", [1.5])):
        with pytest.raises(ArgumentError, match=rf"^{name}=\({wrong[0]}"):
            asked(**{name: iter(wrong)})
    assert asked(rank=np.array([2, 1])) == asked(rank=[1, 2])
    assert asked(rank=np.array(1)) == asked(rank=1)
    assert asked(classes=np.array(1)) == asked(classes=1)
    providers = (one for one in ["CPUExecutionProvider"])
    assert boxcam.load(signs_model.path, providers=providers).providers == ("CPUExecutionProvider",)  # type: ignore[arg-type]


def test_an_explanation_has_an_image_of_its_own(signs_model: boxcam.Model, cat: Path, tmp_path: Path) -> None:
    for pixels in (cv2.imread(str(cat)), cv2.imread(str(cat), cv2.IMREAD_GRAYSCALE)):
        for color in ("BGR", "RGB"):
            given = np.ascontiguousarray(pixels)
            found = boxcam.explain(signs_model, given, score=0, top=1, color=color)  # type: ignore[arg-type]
            before = found.overlay()
            given[:] = 0  # as the next frame of a camera
            assert np.array_equal(found.overlay(), before)
            assert not np.shares_memory(found.image, given)
            found.overlay([])[:] = 7
            assert np.array_equal(found.overlay(), before)
    pixels = cv2.imread(str(cat))
    assert pixels is not None
    np.save(tmp_path / "cat.npy", pixels)
    found = boxcam.explain(signs_model, tmp_path / "cat.npy", top=1)
    np.lib.format.open_memmap(tmp_path / "cat.npy", "r+")[:] = 0
    assert np.array_equal(found.image, pixels)


def test_the_number_of_threads_is_kept_and_changes_nothing(
    signs_bundle: Path, signs_model: boxcam.Model, cat: Path, tmp_path: Path
) -> None:
    code = """
import sys, numpy, torch, boxcam
bundle, image, out = sys.argv[1:]
torch.set_num_threads(1)
set_threads, asked = torch.set_num_threads, []
torch.set_num_threads = lambda count: (asked.append(count), set_threads(count))
explanation = boxcam.explain(boxcam.load(bundle, threads=2), image, top=2, engine="torchscript")
assert asked[0] == 2, asked
assert torch.get_num_threads() == 1, torch.get_num_threads()  # as it was
numpy.save(out, explanation.maps)
"""
    subprocess.run([sys.executable, "-c", code, signs_bundle, cat, tmp_path / "two.npy"], check=True)
    one, two = boxcam.explain(signs_model, cat, top=2).maps, np.load(tmp_path / "two.npy")
    assert np.allclose(one, two, rtol=1e-4, atol=1e-5 * one.max())
