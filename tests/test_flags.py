"""Parameter names become flags: all the forms, and every name that a message of the library uses."""

from __future__ import annotations

import ast
import inspect
import json
import re
import warnings
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

import boxcam
from boxcam.cli import main
from boxcam.commands.flags import flags_of, with_flags
from boxcam.errors import BoxcamError
from boxcam.explain.comparison.compare import compare
from boxcam.explain.evaluation.evaluator import Evaluator
from boxcam.explain.evaluation.measurements import Protocol
from boxcam.explain.metrics.arithmetic import check_mask, evidence
from boxcam.export.inspect.survey import survey
from boxcam.export.source import Options, Request
from tests.export.sources.onnx import deployed
from tests.source_text import strings

FLAGS = flags_of(main)
ROOT = Path(boxcam.__file__).parent
LIBRARY = [file for file in sorted(ROOT.rglob("*.py")) if file != ROOT / "cli.py" and "commands" not in file.parts]
FORMS = {
    "Pass an image in which it finds something with sample=.": (
        "Pass an image in which it finds something with --sample."
    ),
    'Use engine="onnx".': "Use --engine onnx.",
    "Use engine='onnx', or not.": "Use --engine onnx, or not.",
    "Use engine=onnx.": "Use --engine onnx.",
    "Fix it with shape=, such as shape=(640, 640).": "Fix it with --shape, such as --shape 640x640.",
    "such as shape=640x640.": "such as --shape 640x640.",
    "such as at=(10, 20, 50, 80).": "such as --at 10,20,50,80.",
    'pad to preprocess="multiple=64", or': "pad to --preprocess multiple=64, or",
    "with preprocess=['yolo', 'size=640x640'], into": "with --preprocess yolo --preprocess size=640x640, into",
    'Pass preprocess="layout=NCHW" or preprocess="layout=NHWC".': (
        "Pass --preprocess layout=NCHW or --preprocess layout=NHWC."
    ),
    "Pass layers=… with a name.": "Pass --layer with a name.",
    'Pass layer="my neck".': "Pass --layer 'my neck'.",
    "Choose one with layers=, or none.": "Choose one with --layer, or none.",
    'Use targets="score".': "Use --target score.",
    "again with targets=['logit', 'x1'], in addition": "again with --target logit --target x1, in addition",
    'Pass classes="give way".': "Pass --class 'give way'.",
    "Lower nms_threshold=, or score_threshold=0.": "Lower --nms-threshold, or --score-threshold 0.",
    "One for each with class_names=.": "One for each with --class-names.",
    "Replace it with overwrite=True, or choose output=.": "Replace it with --overwrite, or choose --output.",
    "Name (scores= and boxes=) too.": "Name (--scores and --boxes) too.",
    "preprocess=: layout NHWC contradicts": "--preprocess: layout NHWC contradicts",
    'Write decode="FILE.py:FUNCTION".': "Write --decode FILE.py:FUNCTION.",
    "rank=[1, 2] and tokens=(14, 14)": "--rank 1 --rank 2 and --tokens 14x14",
    # what is not a parameter of the command line, or is part of something else
    "scale=0-255, mean=0 and std=1": "scale=0-255, mean=0 and std=1",
    "config shapes/my-shape=3.py does not exist": "config shapes/my-shape=3.py does not exist",
    "score == 1, score=='a'": "score == 1, score=='a'",
    "model=net.pt format=onnx": "model=net.pt format=onnx",
    "torch.onnx.export(model, shape)": "torch.onnx.export(model, shape)",
}


@pytest.mark.parametrize("message", FORMS)
def test_a_message_with_flags(message: str) -> None:
    assert with_flags(message, FLAGS) == FORMS[message]


def test_every_flag_is_found_by_the_name_of_its_parameter() -> None:
    for command in main.commands.values():
        for option in command.params:
            if option.param_type_name == "option":
                assert FLAGS[str(option.name)] in option.opts
    assert FLAGS["layers"] == FLAGS["layer"] == "--layer"
    assert FLAGS["output"] == "--output"  # the long one of two
    for name in ("layers", "classes", "class_names", "targets"):
        assert flags_of(main.commands["export"]).get(name, FLAGS[name]) == FLAGS[name]


def test_errors_and_warnings_are_printed_with_flags(cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def fail(path: str) -> None:
        warnings.warn('works, but not with engine="both"', boxcam.BoxcamWarning, stacklevel=2)
        raise BoxcamError("no box. Pass one with sample=\nor shape=(640, 640).")

    monkeypatch.setattr("boxcam.inspection.check_bundle", fail)
    done = cli("inspect", tmp_path)
    assert done.stderr.splitlines() == [
        "boxcam: warning: works, but not with --engine both",
        "boxcam: no box. Pass one with --sample or --shape 640x640.",
    ]


# The whole source


COMMAND_LINES = (
    "export/heads/conventions/page.py",
    "export/inspect/command.py",
    "export/preprocessing/page.py",
    "export/sources/table.py",
)
"""Files that write lines for a shell: the one that `boxcam inspect` proposes, those of a page of docs."""
MARKUP = ("explain/browse/page.py",)
"""Files that write HTML, whose attributes are no parameters."""
PYTHON = {
    "fmod", "training_mode", "mean", "std", "scale", "key", "resize", "color", "pad", "pad_value", "model", "format",
    "transform_input", "allow_scale_up", "crop_pct", "fit", "size", "name", "type",
}  # fmt: skip
"""Names in messages that are no parameters: attributes of operators, keys of the preprocessing, of other programs."""


def places(pattern: str, exempt: tuple[str, ...] = ()) -> list[tuple[str, str]]:
    """Each find of a pattern in the strings of the library, and where it is."""
    found = []
    for file in LIBRARY:
        name = file.relative_to(ROOT).as_posix()
        if name in exempt:
            continue
        for line, text in strings(ast.parse(file.read_text(encoding="utf-8"))):
            found += [(match[1], f"{name}:{line}") for match in re.finditer(pattern, text)]
    return found


def test_the_library_knows_no_flags() -> None:
    assert places(r"(?:^|[\s'\"(`])(--[a-z][a-z-]*|-[a-z]\b)", COMMAND_LINES) == []


def test_files_that_write_command_lines_or_html_are_still_there() -> None:
    for name in COMMAND_LINES:
        texts = [text for _, text in strings(ast.parse((ROOT / name).read_text(encoding="utf-8")))]
        assert any("--" in text for text in texts), f"{name} needs no exemption any more"
    for name in MARKUP:
        texts = [text for _, text in strings(ast.parse((ROOT / name).read_text(encoding="utf-8")))]
        assert any("<" in text for text in texts), f"{name} needs no exemption any more"


def test_every_name_in_a_message_is_a_parameter() -> None:
    known = {field.name for field in fields(Request)} | set(Options.__annotations__) - {"arguments"}
    evaluating = (Evaluator, Protocol, evidence, check_mask)
    for function in (
        boxcam.load,
        boxcam.explain,
        boxcam.evaluate,
        boxcam.export,
        boxcam.limits,
        compare,
        survey,
        *evaluating,
    ):
        known |= set(inspect.signature(function).parameters)
    said = places(r"(?<![\w.\"'/=-])([a-z_]+)=(?=[\"'\s.,:;)\[(…]|$)", MARKUP)
    assert len(said) > 50  # the messages are found at all
    assert [place for place in said if place[0] not in known | PYTHON] == []
    assert {"sample", "layers", "shape", "preprocess", "targets", "engine"} <= {name for name, _ in said}


@pytest.mark.parametrize(
    ("message", "given"),
    [
        ("class=car/1.jpg is not an image but text. Pass sample=.", "class=car/1.jpg"),
        ("class=car/1.jpg is not an image but text. Pass sample=.", "class=car"),
        ("preprocess: layout=NCHW contradicts the model. Pass sample=.", "layout=NCHW"),
    ],
)
def test_what_the_user_typed_stays_as_it_is(message: str, given: str) -> None:
    flags = {"class": "--class", "layout": "--layout", "sample": "--sample"}
    assert with_flags(message, flags, ["inspect", given]) == message.replace("sample=", "--sample")
    assert given not in with_flags(message, flags)


def test_the_line_to_run_is_printed_as_it_is(cli: Callable[..., Result], tmp_path: Path) -> None:
    deployed.export(deployed.CASES["torchvision"], tmp_path / "model.onnx")
    given = ("inspect", tmp_path / "model.onnx", "--preprocess", "torchvision", "--preprocess", "layout=NCHW")
    found = json.loads(cli(*given, "--json").stdout)
    assert "layout=NCHW" in found["command"]
    assert found["command"] in cli(*given).stdout
