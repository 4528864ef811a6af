"""Maps and boxes come to lie on the image that was given, whatever its size and shape: the demo detector end to end.

What an explanation holds and how boxes are chosen: see tests/test_explain.py; what is refused: test_wrong_arguments.py.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest

import boxcam
from boxcam.errors import UnknownNameError
from boxcam.explain.methods import METHODS
from boxcam.explain.selection import class_indices
from tests.cams import CAMS, PLACED

MEAN = (104, 116, 124)
"""The colour that padding has after normalisation, BGR."""


@pytest.fixture(scope="module")
def picture(signs: Path) -> Any:
    """A scene of 320 x 240: as wide as the demo detector's canvas, so that it is not resized."""
    return cv2.resize(cv2.imread(str(signs / "images" / "cat.jpg")), (320, 240))


@pytest.mark.parametrize("layer", ["neck", "backbone"])
@pytest.mark.parametrize("method", PLACED)
@pytest.mark.parametrize("factor", [2, 5, 9])
def test_an_enlarged_image_has_the_same_maps_enlarged(
    factor: int, method: str, layer: str, signs_model: boxcam.Model, picture: Any
) -> None:
    large = picture.repeat(factor, axis=0).repeat(factor, axis=1)
    one = boxcam.explain(signs_model, picture, method=method, layer=layer, top=3)
    other = boxcam.explain(signs_model, large, method=method, layer=layer, top=3)
    assert len(one) == len(other) == 3
    assert np.allclose(other.detections.boxes, one.detections.boxes * factor, atol=0.05 * factor)
    assert np.array_equal(other.detections.origin, one.detections.origin)
    for k in range(3):
        peak = np.abs(one.map(k)).max()
        reduced = cv2.resize(other.map(k), (320, 240), interpolation=cv2.INTER_AREA)
        assert np.abs(reduced - one.map(k)).max() < 0.05 * peak  # where bilinear pieces meet inside a pixel
        assert np.abs(other.map(k)).max() == pytest.approx(peak, rel=0.15)  # raw: only sampled more finely


@pytest.mark.parametrize("layer", ["neck", "backbone"])
@pytest.mark.parametrize("method", PLACED)
@pytest.mark.parametrize("axis", [0, 1])
def test_padding_changes_nothing_and_is_gone(
    axis: int, method: str, layer: str, signs: Path, signs_model: boxcam.Model
) -> None:
    """An image, and the same image with a border of the padding's colour that makes it square."""
    name, height, width = [("cat.jpg", 240, 320), ("towers.jpg", 320, 240)][axis]
    strip = cv2.resize(cv2.imread(str(signs / "images" / name)), (width, height))
    square = cv2.copyMakeBorder(strip, 0, 320 - height, 0, 320 - width, cv2.BORDER_CONSTANT, value=MEAN)
    whole = boxcam.explain(signs_model, square, method=method, layer=layer)
    part = boxcam.explain(signs_model, strip, method=method, layer=layer)
    assert part.maps.shape[1:] == strip.shape[:2]
    same = [(whole.detections.origin == origin).all(axis=1) for origin in part.detections.origin]
    pairs = [(k, int(np.flatnonzero(match)[0])) for k, match in enumerate(same) if match.any()]
    assert len(pairs) >= 2
    for k, j in pairs:
        inside = np.clip(whole.detections.boxes[j], 0, [width, height, width, height])
        assert np.allclose(part.detections.boxes[k], inside, atol=0.1)
        # Cells of 32 pixels at the strip's edge are blended with their neighbours beyond it in one and not the other.
        seen = (slice(0, height - 32 * (1 - axis)), slice(0, width - 32 * axis))
        peak = np.abs(whole.map(j)).max()
        assert (
            np.abs(part.map(k)[seen] - whole.map(j)[seen]).max() < 0.1 * peak
        )  # the colour is not quite the padding's


@pytest.mark.parametrize(
    ("height", "width", "side"),
    [(320, 320, 60), (250, 1000, 60), (900, 200, 60), (700, 100, 30), (3000, 4000, 60), (64, 96, 110)],
)
@pytest.mark.parametrize("place", [(0, 0), (1, 1), (0.5, 0.5), (0, 1)])
def test_a_sign_is_boxed_and_lit_where_it_was_put(
    height: int, width: int, side: int, place: tuple[float, float], signs: Path, signs_model: boxcam.Model
) -> None:
    """A stop sign, ``side`` pixels large on the canvas, on a plain image of any shape."""
    scene = cv2.imread(str(signs / "images" / "cat.jpg"))
    sign = scene[175:312, 20:147]  # the truth has it at x 32 to 135, y 187 to 300
    scale = side / 113 * max(height, width) / 320
    sign = cv2.resize(sign, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    y, x = (
        round(share * (size - extent)) for share, size, extent in zip(place, (height, width), sign.shape, strict=False)
    )
    image = np.full((height, width, 3), MEAN, np.uint8)
    image[y : y + sign.shape[0], x : x + sign.shape[1]] = sign
    truth = np.array([x, y, x, y]) + scale * np.array([12, 12, 115, 125])

    explanation = boxcam.explain(signs_model, image, method="hirescam", layer="neck", score=0.2)
    overlaps = [overlap(truth, box) for box in explanation.detections.boxes]
    assert max(overlaps, default=0) > 0.7
    best = int(np.argmax(overlaps))
    assert "stop" in explanation.detections.names or side > 100  # a sign of 22 pixels is blurred, but is found
    heat = np.maximum(explanation.map(best), 0).astype(np.float64)
    down, across = np.mgrid[:height, :width] + 0.5
    centre = (heat * across).sum() / heat.sum(), (heat * down).sum() / heat.sum()
    assert truth[0] < centre[0] < truth[2]
    assert truth[1] < centre[1] < truth[3]
    x1, y1, x2, y2 = np.clip(np.rint(truth).astype(int), 0, [width, height, width, height])
    share, even = heat[y1:y2, x1:x2].sum() / heat.sum(), (y2 - y1) * (x2 - x1) / (height * width)
    assert share > min(5 * even, 0.4)


def overlap(first: Any, second: Any) -> float:
    """Intersection over union of two boxes."""
    low, high = np.maximum(first[:2], second[:2]), np.minimum(first[2:], second[2:])
    shared = float(np.prod(np.clip(high - low, 0, None)))
    areas = [float(np.prod(box[2:] - box[:2])) for box in (first, second)]
    return shared / (sum(areas) - shared)


@pytest.mark.parametrize("size", [(1, 1), (1, 500), (500, 1), (3, 2)])
def test_images_of_almost_no_pixels(size: tuple[int, int], signs_model: boxcam.Model) -> None:
    image = np.random.default_rng(0).integers(0, 255, (*size, 3), dtype=np.uint8)
    for layer in signs_model.layers:
        explanation = boxcam.explain(signs_model, image, layer=layer, score=0)
        assert explanation.maps.shape == (len(explanation), *size)
        assert np.isfinite(explanation.maps).all()


def named(*labels: str) -> Any:
    return SimpleNamespace(manifest=SimpleNamespace(labels=labels))


@pytest.mark.parametrize(
    ("labels", "asked", "expected"),
    [
        (("a", "B"), None, None),
        (("a", "B"), ["b", "A", 1], [1, 0, 1]),
        (("Cat", "cat"), ["cat"], [1]),  # its own letters first
        (("Cat", "cat"), ["CAT"], [0, 1]),
        (("crane", "dog", "crane"), ["crane"], [0, 2]),
        (("crane", "dog", "crane"), ["Crane"], [0, 2]),
        (("a", "b"), (one for one in "ab"), [0, 1]),
        (("a", "b"), np.array(1), [1]),
        (("2", "1", "0"), ["0"], [2]),  # a name that is a number is a name
        (("2", "1", "0"), [0], [0]),
        (("a", "b"), "b", [1]),
        (("a", "b"), 1, [1]),
        (("a", "b"), ["1"], [1]),
        (("a", "b"), np.int64(1), [1]),
        (("a", "b"), np.array([1, 0], np.uint8), [1, 0]),
        ((), ["7", 90, "class 3", "Class 4"], [7, 90, 3, 4]),  # a bundle without names
    ],
)
def test_classes_by_name_and_number(labels: Sequence[str], asked: Any, expected: Any) -> None:
    assert class_indices(named(*labels), asked) == expected


def test_a_class_that_is_not_there() -> None:
    with pytest.raises(UnknownNameError, match=r"no class 'x'\. There are: class 0, .*, class 19, …\.$"):
        class_indices(named(*(f"class {k}" for k in range(40))), ["x"])
    with pytest.raises(UnknownNameError, match=r"Did you mean 'Zebra'\?"):
        class_indices(named("Ape", "Zebra"), ["zebar"])
    for wanted in ("car", "class", -1):
        with pytest.raises(UnknownNameError, match=rf"no class '{wanted}': it has no class names\. Pass .* number"):
            class_indices(named(), [wanted])


@pytest.mark.parametrize("method", CAMS)
def test_a_box_of_another_level_does_not_depend_on_this_one(
    method: str, signs: Path, signs_model: boxcam.Model
) -> None:
    """As in a bundle of one level of the pyramid, the gradient of the other levels' boxes has no cell."""
    runtime = type(signs_model.runtime)
    patches = runtime.patches

    class Half(runtime):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            self.__dict__.update(signs_model.runtime.__dict__)

        def patches(self, *given: Any, **more: Any) -> Any:
            for k, of in enumerate(patches(self, *given, **more)):
                yield () if k % 2 else of

    found = boxcam.explain(Half(), signs / "images" / "cat.jpg", method=method, top=4)
    assert [found.depends(k) for k in range(4)] == [True, False, True, False]
    assert [found.has_evidence(k) for k in range(4)] == [True, False, True, False]


@pytest.mark.parametrize("method", CAMS)
def test_maps_are_the_same_however_many_gradients_wait_for_each_other(
    method: str, signs: Path, signs_model: boxcam.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, sizes = METHODS[method], []

    def counting(activation: Any, patches: Any) -> Any:
        assert len({(patch.tensor, patch.row) for patch in patches}) == 1
        sizes.append(len(patches))
        return real.compute(activation, patches)

    monkeypatch.setitem(METHODS._things, method, dataclasses.replace(real, compute=counting))
    found = {}
    for waiting in (1 << 26, 0):
        sizes.clear()
        monkeypatch.setattr("boxcam.explain.explainer._WAITING", waiting)
        found[waiting] = boxcam.explain(signs_model, signs / "images" / "cat.jpg", method=method, score=0)
        assert sum(sizes) == len(found[waiting]) > 4
        assert (max(sizes) == 1) == (waiting == 0)
    together, alone = found.values()
    tensors = [[[part.tensor for part in parts] for parts in one.parts] for one in (together, alone)]
    assert tensors[0] == tensors[1]
    assert len({name for (name,) in tensors[0]}) > 1  # boxes of several levels come back in their own order
    for mine, theirs in zip(together.parts, alone.parts, strict=True):
        for one, other in zip(mine, theirs, strict=True):
            assert (one.grid, one.cells.corner) == (other.grid, other.cells.corner)
            peak = float(np.abs(other.cells.values).max(initial=0))
            assert one.cells.values == pytest.approx(other.cells.values, rel=1e-4, abs=1e-6 * peak)
