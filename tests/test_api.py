"""What a person types in Python."""

from __future__ import annotations

import dataclasses
import inspect
import os
import pydoc
import re
import subprocess
import sys
import typing
from collections.abc import Callable
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
    BundleError,
    InputError,
    OutputError,
    UnknownLayerError,
    UnknownNameError,
)
from boxcam.explain.methods import METHODS
from boxcam.explain.options import Options as ExplainOptions
from boxcam.export import pipeline
from boxcam.export.source import Options
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


ORDERS = [
    "import boxcam.explain.methods, boxcam.export.source",
    "import boxcam; boxcam.methods(); import boxcam.explain.explainer as module; assert module.explain",
    "import boxcam.explain as explain; assert explain.__name__ == 'explain'",
    "from boxcam.explain import methods; assert methods.METHODS",
    "from boxcam import explain; import boxcam.explain.methods; assert boxcam.explain is explain",
    "import boxcam.export.pipeline as module; assert module.export",
]


@pytest.mark.parametrize("first", ORDERS)
def test_functions_stay_functions_whatever_is_imported_from_the_folders_of_their_names(first: str) -> None:
    code = f"""
{first}
import inspect, sys, boxcam, boxcam.explain.placement, boxcam.export.source
import boxcam.explain.placement as placement
for name in ("explain", "export"):
    function = getattr(boxcam, name)
    assert inspect.isfunction(function), function
    assert function.__doc__.count(">>> import boxcam") == 1
    assert inspect.ismodule(sys.modules["boxcam." + name])
assert boxcam.explain.placement is placement
assert inspect.signature(boxcam.explain).parameters["method"].default is None
from boxcam import explain, export
assert explain is boxcam.explain and export is boxcam.export
"""
    done = subprocess.run([sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_the_public_functions_show_themselves() -> None:
    for name in ("evaluate", "explain", "export", "load", "methods"):
        function = getattr(boxcam, name)
        parameters = inspect.signature(function).parameters.values()
        assert all(one.kind != one.VAR_KEYWORD and one.annotation is not one.empty for one in parameters)
        assert pydoc.render_doc(function).count("Args:") == (1 if parameters else 0)
        documented = " ".join(line for line in function.__doc__.splitlines() if line.startswith(" " * 8))
        for one in parameters:
            assert re.search(rf"\b{one.name}\b[\w, ]*:", documented), (name, one.name)
    assert boxcam.methods() == METHODS.names()


def test_the_model_explains_with_the_same_arguments_and_defaults() -> None:
    there = dict(inspect.signature(boxcam.explain).parameters)
    here = dict(inspect.signature(boxcam.Model.explain).parameters)
    assert [*there][1:] == [*here][1:]
    assert [one.default for one in there.values()][1:] == [one.default for one in here.values()][1:]


def test_every_default_stands_in_one_place() -> None:
    """The signatures repeat the defaults of `Options`, so that editors show them: they are the same."""
    defaults = {one.name: one.default for one in dataclasses.fields(ExplainOptions)}
    for function in (boxcam.explain, boxcam.Model.explain, boxcam.Model.prepare):
        parameters = inspect.signature(function).parameters
        assert {name: one.default for name, one in parameters.items() if name in defaults} == defaults


def test_annotations_can_be_read_and_name_what_is_public() -> None:
    """As by pydantic, beartype or an editor: nothing of them is missing, and nothing internal shows."""
    for name in boxcam.__all__:
        thing = getattr(boxcam, name)
        members = vars(thing).items() if inspect.isclass(thing) else [(name, thing)]
        for member, value in members:
            own = value.fget if isinstance(value, property) else getattr(value, "func", value)
            if inspect.isfunction(own) and not member.startswith("_"):
                assert "return" in typing.get_type_hints(own), (name, member)
                assert "Runtime" not in str(inspect.signature(own)), (name, member)
    hints = typing.get_type_hints(boxcam.explain)
    assert hints["return"] is boxcam.Explanation
    assert hints["model"] == boxcam.Model | str | os.PathLike[str]
    assert hints["image"] == boxcam.ImageLike
    code = "import typing, boxcam, sys; typing.get_type_hints(boxcam.explain); assert 'PIL' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)  # as the first thing that is done, and without Pillow


def test_a_model_shows_what_is_public(signs_model: boxcam.Model) -> None:
    shown = {name for name in dir(signs_model) if not name.startswith("_")}
    methods = {"detect", "explain", "methods", "prepare"}
    assert shown == methods | {"path", "manifest", "layers", "names", "targets", "device", "providers", "runtime"}
    assert all(hasattr(signs_model, name) for name in dir(signs_model))


def test_export_shows_every_option_that_a_source_can_have() -> None:
    shown = inspect.signature(boxcam.export).parameters
    inner = inspect.signature(pipeline.export).parameters
    given = {name: one for name, one in inner.items() if one.kind != one.VAR_KEYWORD}
    assert set(shown) == {*given, *Options.__annotations__}
    for name in {*given} - {"progress"}:
        assert shown[name].default == given[name].default


def test_public_names_are_there_and_no_others() -> None:
    assert dir(boxcam) == sorted(boxcam.__all__)
    for name in boxcam.__all__:
        assert not name.startswith("_")
        assert getattr(boxcam, name) is not None
    with pytest.raises(AttributeError, match="module 'boxcam' has no attribute 'explian'"):
        boxcam.explian  # noqa: B018


def test_type_checkers_see_the_functions(tmp_path: Path) -> None:
    """As one who uses the installed package: its types are found by ``py.typed``."""
    (tmp_path / "use.py").write_text("""
import boxcam
import boxcam.explain.methods

model = boxcam.load("a.boxcam")
found = boxcam.explain(model, "a.jpg", method="gradcam", rank=[1, 2])
names: list[str] = [box.name for box in found]
shape: tuple[int, ...] = found[0].map.shape + model.explain("a.jpg", color="RGB").overlay().shape
manifest: boxcam.Manifest = boxcam.export("a.onnx", output="b")
reveal_type(boxcam.explain("a.boxcam", "a.jpg"))
boxcam.explain(model, "a.jpg", ranks=1)
boxcam.explain(model, "a.jpg", color="rgb")
boxcam.nonsense
""")
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--follow-imports=silent", "use.py"]
    environment = {**os.environ, "MYPYPATH": str(Path(boxcam.__file__).parents[1])}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    lines = [
        line.partition("use.py:")[2]
        for line in done.stdout.splitlines()
        if "use.py:" in line and "defined in" not in line
    ]
    assert [line.partition(":")[0] for line in lines] == ["10", "11", "12", "13"], done.stdout
    assert 'Revealed type is "boxcam.explain.explanation.Explanation"' in lines[0]
    assert 'Unexpected keyword argument "ranks"' in lines[1]
    assert '"color"' in lines[2]
    assert 'has no attribute "nonsense"' in lines[3]


def test_a_model_tells_of_itself_and_explains(signs_bundle: Path, signs_model: boxcam.Model, cat: Path) -> None:
    assert signs_model.names == ("stop", "give way", "speed limit", "no entry", "pedestrian crossing")
    assert (signs_model.layers, signs_model.targets) == (("neck", "backbone"), ("logit",))
    assert signs_model.methods() == (
        *(*CAMS, "finer-cam", "finer-hirescam", "integrated-gradients"),  # it has no layer of pixels
        *("score-cam", "patch-search", "d-rise"),
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


def test_a_method_of_several_targets_says_which_are_missing(signs_model: boxcam.Model, cat: Path) -> None:
    said = r"'odam-combined' needs the targets x1, y1, x2, y2, which bundle .* lacks\. Export .* targets=\[\"all\"\]"
    with pytest.raises(UnknownNameError, match=said):
        boxcam.explain(signs_model, cat, method="odam-combined")


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


def test_no_box_gives_an_empty_explanation(signs_model: boxcam.Model) -> None:
    nothing = boxcam.explain(signs_model, np.full((40, 30, 3), 128, np.uint8), score=1)
    assert len(nothing) == 0
    assert (nothing.maps.shape, nothing.maps.dtype) == ((0, 40, 30), np.float32)
    assert nothing.detections.boxes.shape == (0, 4)
    assert nothing.parts == ()


def test_progress_counts_boxes(signs_model: boxcam.Model, cat: Path) -> None:
    seen: list[tuple[int, int]] = []
    boxcam.explain(signs_model, cat, top=3, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(0, 3), (1, 3), (2, 3), (3, 3)]


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
