"""What a person types in Python."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import boxcam
from boxcam.errors import InputError, UnknownLayerError, UnknownNameError
from tests.cams import CAMS

TEN_LINES = """
model = boxcam.load(bundle)
explanation = boxcam.explain(model, image, method="gradcam", layer="neck")
boxes, maps = explanation.detections.boxes, explanation.maps
assert boxes.shape == (len(explanation), 4) and len(explanation) >= 3, boxes
assert maps.shape == (len(explanation), *explanation.image.shape[:2]), maps.shape
assert str(boxes.dtype) == str(maps.dtype) == "float32"
assert callable(boxcam.export)
"""


@pytest.fixture(scope="module")
def cat(signs: Path) -> Path:
    return signs / "images" / "cat.jpg"


@pytest.mark.parametrize(
    "first",
    [
        "import boxcam.explain.explainer, boxcam.export",
        "from boxcam.explain import methods; import boxcam.cli; from boxcam.explain.explainer import explain",
    ],
)
def test_the_lines_of_the_readme_work_whatever_was_imported_first(first: str, signs_bundle: Path, cat: Path) -> None:
    code = f"{first}\nimport boxcam\nimport sys\nbundle, image = sys.argv[1:]\n{TEN_LINES}"
    command = [sys.executable, "-W", "error", "-c", code, str(signs_bundle), str(cat)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_explain_and_export_are_one_whatever_they_are_called() -> None:
    import boxcam.explain as package
    from boxcam import explain, export
    from boxcam.explain.methods import METHODS

    assert package is explain is boxcam.explain
    assert callable(explain)
    assert callable(export)
    assert boxcam.methods() == METHODS.names()


def test_public_names_are_there() -> None:
    for name in boxcam.__all__:
        assert getattr(boxcam, name) is not None
        assert name in dir(boxcam)
    with pytest.raises(AttributeError, match="module 'boxcam' has no attribute 'explian'"):
        boxcam.explian  # noqa: B018


def test_an_explanation_is_in_pixels_of_the_image_given(signs_model: boxcam.Model, cat: Path) -> None:
    image = cv2.imread(str(cat))
    explanation = boxcam.explain(signs_model, cat, method="gradcam", layer="neck", score=0.3)
    detections, maps = explanation.detections, explanation.maps
    count, (height, width) = len(explanation), image.shape[:2]
    assert np.array_equal(explanation.image, image)
    assert (maps.shape, maps.dtype) == ((count, height, width), np.float32)
    assert (detections.boxes.shape, detections.boxes.dtype) == ((count, 4), np.float32)
    assert (np.diff(detections.scores) <= 0).all()
    assert detections.scores.min() >= 0.3
    assert (detections.boxes >= 0).all()
    assert (detections.boxes <= [width, height, width, height]).all()
    assert detections.boxes[:, 2].max() > 320  # so they are not on the canvas of 320 x 320
    for k in range(count):
        assert np.array_equal(explanation.map(k), maps[k])
        assert explanation.has_evidence(k) == bool((maps[k] > 0).any())
    # Raw: not scaled to a common peak.
    assert len({float(m.max()) for m in maps if m.any()}) == sum(bool(m.any()) for m in maps)


@pytest.mark.parametrize("layer", ["neck", "backbone"])
@pytest.mark.parametrize("method", CAMS)
def test_every_method_at_every_layer(method: str, layer: str, signs_model: boxcam.Model, cat: Path) -> None:
    explanation = boxcam.explain(signs_model, cat, method=method, layer=layer, top=3)
    assert (explanation.method, explanation.layer, explanation.engine) == (method, layer, "onnx")
    assert np.isfinite(explanation.maps).all()
    assert explanation.maps.any()


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


def test_the_first_layer_is_the_default(signs_model: boxcam.Model, cat: Path) -> None:
    assert boxcam.explain(signs_model, cat, top=1).layer == signs_model.layers[0] == "neck"


def test_score_top_and_classes_select(signs_model: boxcam.Model, cat: Path) -> None:
    everything = boxcam.explain(signs_model, cat, score=0)
    found = everything.detections
    assert everything.other_boxes == 0
    assert len(found) == len(signs_model.detect(cv2.imread(str(cat))))
    assert len(found) >= 5

    middle = float(found.scores[2])
    best = boxcam.explain(signs_model, cat, score=middle)
    assert best.detections.scores.tolist() == found.scores[found.scores >= middle].tolist()
    assert best.other_boxes == len(found) - len(best)

    two = boxcam.explain(signs_model, cat, score=0, top=2)
    assert np.array_equal(two.detections.boxes, found.boxes[:2])
    assert np.allclose(two.maps, everything.maps[:2], rtol=1e-4, atol=1e-6 * everything.maps.max())
    assert len(boxcam.explain(signs_model, cat, top=0)) == 0
    assert len(boxcam.explain(signs_model, cat, top=10_000, score=0)) == len(found)

    stop = [index for index, name in enumerate(found.names) if name == "stop"]
    assert stop
    asked: list[Any] = ["stop", "STOP", 0, ["stop"], ("0",), [0, 0], [np.int64(0)]]
    for classes in asked:
        some = boxcam.explain(signs_model, cat, score=0, classes=classes)
        assert np.array_equal(some.detections.boxes, found.boxes[stop])
        assert set(some.detections.names) == {"stop"}
    both = boxcam.explain(signs_model, cat, score=0, classes=["stop", "no entry"]).detections
    assert set(both.names) == {"stop", "no entry"}
    assert len(boxcam.explain(signs_model, cat, score=0, classes=[])) == 0


def test_no_box_gives_an_empty_explanation(signs_model: boxcam.Model) -> None:
    nothing = boxcam.explain(signs_model, np.full((40, 30, 3), 128, np.uint8), score=1)
    assert len(nothing) == 0
    assert (nothing.maps.shape, nothing.maps.dtype) == ((0, 40, 30), np.float32)
    assert nothing.detections.boxes.shape == (0, 4)
    assert nothing.parts == ()


def test_progress_counts_boxes(signs_model: boxcam.Model, cat: Path) -> None:
    seen: list[tuple[int, int]] = []
    boxcam.explain(signs_model, cat, top=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


WRONG: list[tuple[dict[str, Any], type[Exception], str]] = [
    ({"method": "gradcan"}, UnknownNameError, r"no method 'gradcan'\. Did you mean 'gradcam'.*\? There are: gradcam, "),
    ({"layer": "nekc"}, UnknownLayerError, r"no layer 'nekc'\. Did you mean 'neck'\? There are: neck, backbone\."),
    ({"engine": "torchscrip"}, UnknownNameError, r"no engine 'torchscrip'\. Did you mean 'torchscript'\?"),
    ({"classes": ["give wy"]}, UnknownNameError, r"no class 'give wy'\. Did you mean 'give way'\? There are: stop, "),
    ({"classes": ["NO ENTREE"]}, UnknownNameError, r"Did you mean 'no entry'\?"),
    ({"classes": [5]}, UnknownNameError, "no class '5'"),
    ({"classes": -1}, UnknownNameError, "no class '-1'"),
    ({"classes": "²"}, UnknownNameError, "no class '²'"),
    ({"image": "nowhere.jpg"}, InputError, "nowhere.jpg does not exist"),
    ({"image": [[1, 2]]}, InputError, "must be a numpy array, not list"),
    ({"image": None}, InputError, "must be a numpy array, not NoneType"),
    ({"image": np.zeros((3, 40, 40), np.uint8)}, InputError, "channels come first"),
    ({"image": np.zeros((40, 40, 3))}, InputError, "must be uint8"),
    ({"top": -1}, ValueError, "top: -1"),
]


@pytest.mark.parametrize(("options", "kind", "message"), WRONG)
def test_errors_say_what_there_is(
    options: dict[str, Any], kind: type[Exception], message: str, signs_model: boxcam.Model, cat: Path
) -> None:
    with pytest.raises(kind, match=message) as caught:
        boxcam.explain(signs_model, **{"image": cat, **options})
    assert "\n" not in str(caught.value)


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


def test_the_same_call_gives_the_same_again(signs_model: boxcam.Model, cat: Path) -> None:
    ask: Callable[[], boxcam.Explanation] = lambda: boxcam.explain(signs_model, cat, layer="backbone", top=2)  # noqa: E731
    assert np.array_equal(ask().maps, ask().maps)
