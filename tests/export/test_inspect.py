"""What ``boxcam inspect MODEL.onnx`` tells, and that the line it prints can be run."""

from __future__ import annotations

import json
import shlex
import warnings
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
import torch
from click.testing import Result
from onnx import numpy_helper

from boxcam.bundle import read
from tests.export.sources.onnx.classifier import Classifier, save
from tests.export.sources.onnx.deployed import CASES, export
from tests.export.sources.onnx.small import Small, dense, segmentation, two_classifiers

Cli = Callable[..., Result]
ADVICE = "Run, ideally with --sample of an image in which it finds something"


@pytest.fixture(scope="module")
def yolo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("survey") / "yolo.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(CASES["ultralytics"], path)
    return path


def command_of(said: Result) -> str:
    """The line to run that `boxcam inspect` prints."""
    lines = said.stdout.splitlines()
    (number,) = (number for number, line in enumerate(lines) if line.startswith("Run"))
    return lines[number + 1]


def test_a_detector_is_told_so_that_one_can_choose(yolo: Path, cli: Cli) -> None:
    done = cli("inspect", yolo)
    assert done.exit_code == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0].startswith(f"{yolo}  (opset 17, pytorch")
    size = "64x96 (imgsz in the file's metadata)"
    assert f"input           image [1, 3, ?, ?] float32 NCHW, dynamic: pictures are fitted into {size}" in lines
    assert "preprocessing   yolo" in lines
    assert "  scores        output0[4:7]" in lines
    assert "  boxes         output0[0:4], cxcywh, pixels" in lines
    (fine,) = (line for line in lines if line.startswith("  /body/fine/fine.1/Relu_output_0"))
    assert fine.split()[1:5] == ["12", "8x12", "8", "Relu"]  # channels, cells, stride, operator
    assert fine.endswith(
        "what the heads read     a window of 3x3 cells"
    )  # what goes on into the coarse map is its part
    begin = [line.split("  ")[0] for line in lines if line[:1].isalpha()]
    assert begin == ["model", "found", "input", "preprocessing", "believed", f"{ADVICE}:", "layers", "outputs"]
    assert command_of(done) == f"  boxcam export {yolo} -o yolo.boxcam"


def test_the_line_that_is_printed_can_be_run(yolo: Path, cli: Cli, tmp_path: Path) -> None:
    words = shlex.split(command_of(cli("inspect", yolo)))
    done = cli(*words[1:], "-o", tmp_path / "b", "--engine", "onnx", "--score-threshold", "0.3", "--nms", "0.6")
    assert done.exit_code == 0, done.stderr
    assert "layers: neck" in done.stdout


@pytest.mark.parametrize("layer", ["neck", "/body/fine/fine.1/Relu_output_0"])
def test_windows_are_as_large_as_the_bundle_has_them(layer: str, yolo: Path, cli: Cli, tmp_path: Path) -> None:
    """The fine map by itself is seen by the coarse map's logits, too; as a part of the neck it is not."""
    options = () if layer == "neck" else ("--layer", layer)
    done = cli("export", yolo, *options, "-o", tmp_path / "b", "--engine", "onnx")
    assert done.exit_code == 0, done.stderr
    (exported,) = read(tmp_path / "b").layers
    assert [tensor.receptive_field for tensor in exported.tensors] == ([3, 3] if layer == "neck" else [7])
    found = json.loads(cli("inspect", yolo, "--json").stdout)
    said = {one["name"]: one["receptive_field"] for one in found["layers"]}
    assert [said[name] for name in found["default"][1]] == [3, 3]


def test_a_layer_that_is_not_there_is_told_with_those_that_are_proposed(yolo: Path, cli: Cli, tmp_path: Path) -> None:
    done = cli("export", yolo, "--layer", "coarze", "-o", tmp_path / "b")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"boxcam: {yolo} has no layer 'coarze'. Did you mean 'coarse'")
    proposed = [layer["name"] for layer in json.loads(cli("inspect", yolo, "--json").stdout)["layers"]]
    assert f" There are: {', '.join(['neck', *reversed(proposed), 'image'])}. " in done.stderr


def test_as_json(yolo: Path, cli: Cli) -> None:
    found = json.loads(cli("inspect", yolo, "--json").stdout)
    assert found["default"] == ["neck", ["/body/fine/fine.1/Relu_output_0", "/body/coarse/coarse.1/Relu_output_0"]]
    forms = {layer["name"]: (layer["form"], layer["receptive_field"], layer["stride"]) for layer in found["layers"]}
    assert forms["/body/coarse/coarse.1/Relu_output_0"] == ("windows", 3, [16.0, 16.0])
    assert forms["/body/fine/fine.1/Relu_output_0"] == ("windows", 3, [8.0, 8.0])
    assert found["classes"] == [["car", "cat", "cup"], 3]
    assert found["left_out"] > 0
    everything = json.loads(cli("inspect", yolo, "--json", "--all").stdout)
    assert everything["left_out"] == 0
    assert len(everything["layers"]) == len(found["layers"]) + found["left_out"]


def test_a_line_with_a_guessed_preprocessing_can_be_run(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    path = save(Classifier(), tmp_path / "model.onnx")
    done = cli("inspect", path)
    assert done.exit_code == 0, done.stderr
    assert "not stated in the file; guessed, as it is a classifier: imagenet" in done.stdout
    assert "check it; others are imagenet, torchvision, yolo" in done.stdout
    assert "a score for each class" in done.stdout
    line = command_of(done)
    assert line.endswith("model.onnx --preprocess imagenet -o model.boxcam")
    done = cli(*shlex.split(line)[1:], "--engine", "onnx")
    assert done.exit_code == 0, done.stderr
    assert (tmp_path / "model.boxcam" / "manifest.json").is_file()
    said = cli("inspect", path, "--preprocess", "imagenet", "--score-activation", "sigmoid")
    assert "logits, sigmoid" not in said.stdout
    assert "output, sigmoid" in said.stdout
    assert command_of(said).endswith("--preprocess imagenet --score-activation sigmoid -o model.boxcam")


def test_the_line_names_the_picture_that_was_given(yolo: Path, cli: Cli, tmp_path: Path) -> None:
    picture = tmp_path / "a picture.png"
    cv2.imwrite(str(picture), np.random.default_rng(0).integers(0, 255, (64, 96, 3)).astype(np.uint8))
    shown = cli("inspect", yolo, "--sample", picture)
    line = command_of(shown)
    assert "\nRun:\n" in shown.stdout
    assert shlex.split(line) == ["boxcam", "export", str(yolo), "--sample", str(picture), "-o", "yolo.boxcam"]


class Normalising(torch.nn.Module):
    """A classifier that takes pixels of 0 to 1 and normalises them by itself."""

    def __init__(self, mean: float) -> None:
        super().__init__()
        self.net, self.mean = Classifier(), torch.tensor([mean, 0.456, 0.406]).view(3, 1, 1)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.net((image - self.mean) / 0.225)


@pytest.mark.parametrize(("mean", "guessed"), [(0.485, ["imagenet", "mean=0", "std=1"]), (0.3, None)])
def test_a_model_that_normalises_by_itself_is_seen(
    mean: float, guessed: list[str] | None, cli: Cli, tmp_path: Path
) -> None:
    path = save(Normalising(mean), tmp_path / "model.onnx")
    found = json.loads(cli("inspect", path, "--json").stdout)
    if guessed is not None:
        assert found["guessed"]["specs"] == guessed
        return
    assert found["guessed"] is None
    said = cli("inspect", path)
    assert f"\n{ADVICE.replace('Run', 'Run, with PRESET filled in')}:\n" in said.stdout
    assert shlex.split(command_of(said))[3:5] == ["--preprocess", "PRESET"]


class ColoursLast(torch.nn.Module):
    """A classifier of pictures whose colours are the last axis."""

    def __init__(self) -> None:
        super().__init__()
        self.net = Classifier()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.net(image.permute(0, 3, 1, 2))


def test_open_sizes_are_fixed_or_go_with_a_preset(cli: Cli, tmp_path: Path) -> None:
    path = save(Classifier(), tmp_path / "model.onnx", dynamic_axes={"pixels": {2: "height", 3: "width"}})
    done = cli("inspect", path)
    assert done.exit_code == 1
    assert "Fix them with --shape, such as --shape 640x640; or let each image have its own, with" in done.stderr
    assert "--preprocess PRESET --preprocess size=640x640, into which it is fitted" in done.stderr
    assert cli("inspect", path, "--shape", "48x64").exit_code == 0
    assert cli("inspect", path, "--preprocess", "yolo", "--preprocess", "size=96x96").exit_code == 0


@pytest.mark.parametrize(
    ("producer", "why"),
    [("pytorch", "its input is NHWC"), ("tf2onnx", "it is a model of TensorFlow")],
)
def test_a_guess_tells_what_it_is_made_from(producer: str, why: str, cli: Cli, tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.onnx.export(ColoursLast(), (torch.rand(1, 48, 64, 3),), str(path), dynamo=False)
    model = onnx.load(str(path))
    model.producer_name = producer
    onnx.save(model, str(path))
    guessed = json.loads(cli("inspect", path, "--json").stdout)["guessed"]
    assert guessed == {"specs": ["tf"], "why": why}


@pytest.mark.parametrize(
    ("case", "guessed"),
    [
        ("paddle", ["paddle"]),
        ("tensorflow", ["tf"]),
        ("yolov5", ["yolo"]),
        ("table", ["yolo"]),
        ("mmdeploy", None),
        ("detr", None),
    ],
)
def test_what_the_outputs_tell_of_the_preprocessing(
    case: str, guessed: list[str] | None, cli: Cli, tmp_path: Path
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export(CASES[case], tmp_path / "model.onnx")
    (tmp_path / "names.txt").write_text("car\ncat\ncup\n")
    names = ["--class-names", tmp_path / "names.txt"] if case in ("yolov5", "detr") else []
    found = json.loads(cli("inspect", tmp_path / "model.onnx", "--json", *names).stdout)
    assert (found["guessed"] or {"specs": None})["specs"] == guessed


def test_what_is_not_found_is_said_beside_the_layers(cli: Cli, tmp_path: Path) -> None:
    for make, message in (
        (two_classifiers, "not found: the scores may be colour or kind"),
        (segmentation, "not found: the model outputs maps, and neither boxes"),
        (dense, "not found: out [1, 64, 9] is ambiguous: it can be read in 3 ways"),
    ):
        done = cli("inspect", make(tmp_path / f"{make.__name__}.onnx"))
        assert done.exit_code == 0, done.stderr
        assert message in done.stdout
        assert "boxcam export" not in done.stdout
        if make is segmentation:
            last = "There is nothing to export: boxcam explains boxes and classes, and this model outputs neither."
            assert done.stdout.splitlines()[-1] == last
            continue
        assert any("a window" not in line and "Relu" in line for line in done.stdout.splitlines()), done.stdout


def test_a_file_that_cannot_be_read_fails(cli: Cli, tmp_path: Path) -> None:
    done = cli("inspect", tmp_path / "none.onnx")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == f"boxcam: {tmp_path / 'none.onnx'} does not exist. Check the path.\n"


def test_names_with_blanks_are_quoted(cli: Cli, tmp_path: Path) -> None:
    net = Small()
    net.classes(3, net.map(), "the scores")
    path = net.save(tmp_path / "my model.onnx", **{"the scores": 1})
    line = command_of(cli("inspect", path, "--scores", "the scores"))
    options = ["--preprocess", "imagenet", "--scores", "the scores", "-o", "my model.boxcam"]
    assert shlex.split(line)[2:] == [str(path), *options]


def test_weights_that_are_nodes_are_counted(cli: Cli, tmp_path: Path) -> None:
    """As paddle2onnx writes them; one million numbers, and few others."""
    net = Small()
    tall = net.node("Constant", [], value=numpy_helper.from_array(np.zeros((1000, 1000), np.float32)))[0]
    net.node("Gemm", [net.Flatten(net.GlobalAveragePool(net.map(1000))), tall], name="logits")
    path = net.save(tmp_path / "m.onnx", logits=1)
    assert json.loads(cli("inspect", path, "--json").stdout)["parameters"] == 1_000_000 + 1000 * 3 * 3 * 3
