"""What is said of the preprocessing in parts, by the user and by the file; and what is refused before it."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx.parser
import pytest
from click.testing import Result
from onnx import numpy_helper

import boxcam
from boxcam.errors import SourceError
from tests.export.sources.onnx.written import BODY, DENSE, MAPS, NOISE, ULTRALYTICS, WEIGHTS, save

Cli = Callable[..., Result]


def dense(path: Path, metadata: dict[str, str] | None = None) -> Path:
    """A YOLO of strides 16 and 32, whose sides have to be multiples of 32: ⌈side/16⌉ must be even."""
    return save(path, DENSE, WEIGHTS, metadata)


@pytest.fixture
def told(tmp_path: Path) -> Path:
    return dense(tmp_path / "told.onnx", ULTRALYTICS)


@pytest.fixture
def untold(tmp_path: Path) -> Path:
    return dense(tmp_path / "untold.onnx")


def export(path: Path, **options: object) -> boxcam.Manifest:
    options = {"engine": "onnx", "score_threshold": 0.0, "overwrite": True, "accept": NOISE, **options}
    return boxcam.export(path, output=path.with_suffix(".boxcam"), **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("said", ["size=96x128", ["size=96x128", "pad_value=0"], ["multiple=64", "size=96x128"]])
def test_a_part_is_put_over_what_the_file_says(said: str | list[str], told: Path) -> None:
    spec = export(told, preprocess=said).preprocess
    assert (spec.fit_height, spec.fit_width) == (96, 128)
    assert (spec.resize, spec.color, spec.std, spec.pad_to) == ("fit", "RGB", (255.0,) * 3, "center")
    assert spec.pad_value == ((0.0,) * 3 if "pad_value=0" in said else (114.0,) * 3)
    assert spec.multiple == (64 if "multiple=64" in said else 32)


def test_what_is_said_in_full_stands_for_itself(told: Path) -> None:
    spec = export(told, preprocess=["resize=stretch", "scale=0-255", "color=BGR"], shape=(64, 64)).preprocess
    assert (spec.resize, spec.color, spec.std, spec.mean) == ("stretch", "BGR", (1.0,) * 3, (0.0,) * 3)


def test_a_resize_of_the_users_own_is_kept_where_the_files_convention_has_another(told: Path) -> None:
    spec = export(told, preprocess="resize=stretch", shape=(64, 64)).preprocess
    assert (spec.resize, spec.std) == ("stretch", (255.0,) * 3)


@pytest.mark.parametrize("said", [[], ["size=96x128"], ["pad_value=0", "size=96x128"], ["color=BGR"]])
def test_a_part_that_does_not_suffice_is_refused_with_a_line_that_works(
    said: list[str], untold: Path, cli: Cli
) -> None:
    given = [word for spec in said for word in ("--preprocess", spec)]
    common = ["--engine", "onnx", "--score-threshold", "0", "-o", untold.with_suffix(".boxcam"), "--overwrite"]
    done = cli("export", untold, *given, *common)
    assert (done.exit_code, done.stdout) == (1, "")
    line = re.search(r"Probably ((?:--preprocess \S+ )+)is right, as its outputs are boxes and class", done.stderr)
    assert line is not None, done.stderr
    words = shlex.split(line[1])
    assert words[:2] == ["--preprocess", "yolo"]
    assert all(spec in words for spec in said)
    again = cli("export", untold, *words, *common)
    assert again.exit_code == 0, again.stderr


def test_inspect_completes_what_is_said(untold: Path, cli: Cli) -> None:
    said = cli("inspect", untold, "--preprocess", "size=96x128").stdout
    assert f"boxcam export {untold} --preprocess yolo --preprocess size=96x128 -o untold.boxcam" in said


@pytest.mark.parametrize(
    ("options", "side", "mended"),
    [
        ({"shape": (100, 100)}, "100x100", "shape=(128, 128)"),
        ({"shape": (101, 97)}, "101x97", "shape=(128, 128)"),
        ({"shape": (72, 40)}, "72x40", "shape=(96, 64)"),
        ({"preprocess": ["resize=stretch", "size=200x100"]}, "200x100", 'preprocess="size=224x128"'),
    ],
)
def test_a_size_at_which_it_cannot_run(options: dict[str, object], side: str, mended: str, told: Path) -> None:
    with pytest.raises(SourceError) as caught:
        export(told, **options)
    said = f"the model cannot run on an input of {side}: both sides have to be multiples of 32. Pass {mended}."
    assert str(caught.value) == said


def test_a_multiple_that_is_too_small(told: Path) -> None:
    with pytest.raises(
        SourceError, match=r"padded to multiples of 16: both .* of 32\. Pass preprocess=\"multiple=32\""
    ):
        export(told, preprocess=["multiple=16", "size=80x112"])
    assert export(told, preprocess=["multiple=32", "size=80x112"]).preprocess.multiple == 32


def test_inspect_says_the_same_and_no_library_says_more(
    told: Path, cli: Cli, capfd: pytest.CaptureFixture[str]
) -> None:
    for command in ("inspect", "export"):
        done = cli(command, told, "--shape", "100x100")
        assert done.stderr.endswith("have to be multiples of 32. Pass --shape 128x128.\n")
        assert done.stderr.count("\n") == 1
    assert tuple(capfd.readouterr()) == ("", "")


def test_a_model_that_runs_at_no_size_is_not_advised_another(tmp_path: Path) -> None:
    text = DENSE.replace("fine_active = Relu (fine)", "odd = Reshape (fine, wrong)\n    fine_active = Relu (odd)")
    path = save(tmp_path / "m.onnx", text, {**WEIGHTS, "wrong": (4,)}, ULTRALYTICS)
    model = onnx.load(path)
    wrong = numpy_helper.from_array(np.int64([1, 8, 7, 7]), "wrong")
    next(one for one in model.graph.initializer if one.name == "wrong").CopyFrom(wrong)
    onnx.save(model, path)
    with pytest.raises(SourceError, match="onnxruntime cannot run the model"):
        export(path, shape=(128, 128))


RAW = """
    c8 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (fine, class)
    c16 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (coarse, class)
    b8 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (fine, box)
    b16 = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (coarse, box)
"""
DECODE = '''
import numpy as np

def decode(op, outputs):
    """Centres of the cells, and half sizes of eᵗ strides."""
    boxes, scores = [], []
    for stride in (8, 16):
        side = 64 // stride
        y, x = np.mgrid[:side, :side].reshape(2, 1, -1, 1).astype(np.float32)
        centre = np.concatenate([x + 0.5, y + 0.5], 2) * stride
        rows = [op.Transpose(op.Reshape(outputs[f"{kind}{stride}"], [1, 4, -1]), perm=[0, 2, 1]) for kind in "cb"]
        scores.append(op.Sigmoid(rows[0]))
        half = op.Mul(op.Exp(op.Slice(rows[1], [0], [2], [2])), np.float32(stride))
        boxes.append(op.Concat(op.Sub(centre, half), op.Add(centre, half), axis=2))
    return op.Concat(*boxes, axis=1), op.Concat(*scores, axis=1)
'''


def raw(path: Path) -> Path:
    """A dense head's maps, as PicoDet's are without its postprocessing."""
    outputs = "float[1, 4, 8, 8] c8, float[1, 4, 4, 4] c16, float[1, 4, 8, 8] b8, float[1, 4, 4, 4] b16"
    weights = {**BODY, "class": (4, 8, 3, 3), "box": (4, 8, 3, 3)}
    return save(path, MAPS.format(outputs=outputs, nodes=RAW), weights)


def raw_rows(path: Path) -> Path:
    """The same as rows of each level."""
    nodes, names = RAW, []
    for kind in "cb":
        for level in ("8", "16"):
            nodes += f"    f{kind}{level} = Flatten <axis = 2> ({kind}{level})\n"
            nodes += f"    s{kind}{level} = Unsqueeze (f{kind}{level}, zero)\n"
            nodes += f"    r{kind}{level} = Transpose <perm = [0, 2, 1]> (s{kind}{level})\n"
            names.append(f"r{kind}{level}")
    text = MAPS.format(outputs=", ".join(f"float[1, n{name}, 8] {name}" for name in names), nodes=nodes)
    text = text.replace("Flatten <axis = 2>", "Identity").replace("Unsqueeze", "Reshape").replace("zero)", "rows)")
    return save(path, text, {**BODY, "class": (7, 8, 3, 3), "box": (7, 8, 3, 3)})


def segmentation(path: Path) -> Path:
    """One map of classes, as large as the image, and another one of half the size, as of deep supervision."""
    nodes = """
    c = Conv <kernel_shape = [1, 1]> (fine, class)
    mask = Resize <mode = "nearest"> (c, , eight)
    aux = Resize <mode = "nearest"> (c, , four)
    """
    text = MAPS.format(outputs="float[1, 4, 64, 64] mask, float[1, 4, 32, 32] aux", nodes=nodes)
    saved = save(path, text, {**BODY, "class": (4, 8, 1, 1)})
    model = onnx.load(saved)
    for name, factor in (("eight", 8), ("four", 4)):
        model.graph.initializer.append(numpy_helper.from_array(np.float32([1, 1, factor, factor]), name))
    onnx.save(model, saved)
    return saved


@pytest.mark.parametrize("make", [raw, raw_rows])
@pytest.mark.parametrize("options", [{}, {"preprocess": "yolo"}])
def test_raw_levels_are_for_a_function(
    make: Callable[[Path], Path], options: dict[str, object], tmp_path: Path
) -> None:
    with pytest.raises(SourceError, match=r'at each of its levels, .* Pass .* with decode="FILE\.py:FUNCTION"'):
        export(make(tmp_path / "m.onnx"), **options)


def test_names_do_not_help_raw_levels_either(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="at each of its levels"):
        export(raw(tmp_path / "m.onnx"), preprocess="yolo", scores="c8", boxes="b8")


def test_the_advice_for_raw_levels_works(tmp_path: Path, cli: Cli) -> None:
    path = raw(tmp_path / "m.onnx")
    said = cli("inspect", path).stdout
    assert "with --decode FILE.py:FUNCTION" in said
    (tmp_path / "head.py").write_text(DECODE, encoding="utf-8")
    line = cli("inspect", path, "--decode", f"{tmp_path}/head.py:decode", "--preprocess", "yolo").stdout
    command = re.search(r"^  boxcam (export .*)$", line, re.MULTILINE)
    assert command is not None
    done = cli(*shlex.split(command[1]), "-o", tmp_path / "b", "--engine", "onnx")
    assert done.exit_code == 0, done.stderr
    assert "layers: neck" in done.stdout
    assert {tensor.name for tensor in boxcam.load(tmp_path / "b").manifest.layers[0].tensors} == {"fine", "coarse"}


def test_a_segmentation_is_refused_before_anything_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match=r"as for segmentation.*Outputs of the model: mask"):
        export(segmentation(tmp_path / "m.onnx"))


def test_a_segmentation_of_dynamic_size_too(tmp_path: Path) -> None:
    path = segmentation(tmp_path / "m.onnx")
    model = onnx.load(path)
    for value in (*model.graph.input, *model.graph.output):
        for axis in (2, 3):
            value.type.tensor_type.shape.dim[axis].dim_param = f"{value.name}{axis}"
    onnx.save(model, path)
    with pytest.raises(SourceError, match="as for segmentation"):
        export(path)


@pytest.mark.parametrize(
    ("what", "said"),
    [("float[1, 64]", "has no image input"), ("float[1, 3]", "has no image input")],
)
def test_an_input_that_is_no_image_is_refused_before_anything_is_asked_for(
    what: str, said: str, tmp_path: Path
) -> None:
    text = MAPS.format(outputs="float[1, 8, 4, 4] coarse", nodes="").replace("float[1, 3, 64, 64]", what)
    with pytest.raises(SourceError, match=said):
        export(save(tmp_path / "m.onnx", text, BODY))


@pytest.mark.parametrize("layer", ["roi", "backbone", "features"])
def test_a_layer_that_other_models_have(layer: str, told: Path) -> None:
    with pytest.raises(boxcam.BoxcamError) as caught:
        export(told, shape=(64, 64), layers=[layer])
    assert str(caught.value).startswith(f"{told} has no layer {layer!r}.")
    assert " There are: neck, " in str(caught.value)
    assert f"'boxcam inspect {told}' describes them." in str(caught.value)
