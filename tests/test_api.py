"""The public names: imports in any order, signatures, annotations, type checkers."""

from __future__ import annotations

import dataclasses
import inspect
import os
import pydoc
import re
import subprocess
import sys
import typing
from pathlib import Path

import pytest

import boxcam
from boxcam.explain.methods import METHODS
from boxcam.explain.options import Options as ExplainOptions
from boxcam.export import pipeline
from boxcam.export.source import Options

TEN_LINES = """
model = boxcam.load(bundle)
explanation = boxcam.explain(model, image, method="gradcam", layer="neck")
boxes, maps = explanation.detections.boxes, explanation.maps
assert boxes.shape == (len(explanation), 4) and len(explanation) >= 3, boxes
assert maps.shape == (len(explanation), *explanation.image.shape[:2]), maps.shape
assert str(boxes.dtype) == str(maps.dtype) == "float32"
assert callable(boxcam.export)
"""


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
