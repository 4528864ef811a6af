"""The commands as a person runs them: what they print, what they write, how they end."""

from __future__ import annotations

import dataclasses
import json
import os
import pty
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
import cv2
import numpy as np
import pytest
from click.testing import Result

import boxcam
from boxcam.bundle import read
from boxcam.cli import main
from boxcam.commands.summary import summary
from boxcam.errors import RunError
from boxcam.explain.evidence import LeftOut
from boxcam.export import sources as _sources  # noqa: F401  (each registers itself)
from boxcam.export.source import SOURCES
from boxcam.runtime.images import read_image
from tests.explain.made import explanation

Cli = Callable[..., Result]
NECK = "/neck/fpn_convs.0/conv/Conv_output_0"


def results(folder: Path) -> list[str]:
    return sorted(os.listdir(folder))


def facts(folder: Path, name: str) -> Any:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads((folder / f"{name}.json").read_text(encoding="utf-8"), parse_constant=refuse)


def arrays(folder: Path, name: str) -> dict[str, Any]:
    with np.load(folder / f"{name}.npz", allow_pickle=False) as file:
        return dict(file)


def test_export_says_what_it_found_checked_and_wrote(signs_export: Any) -> None:
    found, checked, wrote = signs_export.stdout.splitlines()
    assert re.match(r"found \d+ boxes on cat\.jpg: [a-z ]+ 0\.\d\d at \[\d+, \d+, \d+, \d+\]", found)
    assert re.fullmatch(
        r"checked: the bundle computes what the model computes \(\d+ checks\); nothing speaks against how it was read;"
        r" 'boxcam inspect' has the figures",
        checked,
    )
    assert re.fullmatch(r"wrote .+ in \d+ s \(layers: neck, backbone\)", wrote)
    assert str(signs_export.path) in signs_export.stdout
    assert re.sub(r"^\[ *\d+\.\d s\] .*\n", "", signs_export.stderr, flags=re.M) == ""  # but for lines of a slow one
    assert results(signs_export.path.parent) == ["signs.boxcam"]
    assert results(signs_export.path) == [
        "forward.onnx",
        *("gradient.backbone.means.onnx", "gradient.backbone.onnx", "gradient.backbone.pt"),
        *("gradient.neck.means.onnx", "gradient.neck.onnx", "gradient.neck.pt"),
        *("manifest.json", "sample.png", "weights.bin"),
    ]


def test_export_takes_every_option(
    signs: Path, signs_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.chdir(tmp_path)
    shutil.copytree(signs_bundle, "config.boxcam")
    done = cli(
        *("export", signs / "config.py", signs / "signs.pth", "--source", "mmdet", "--overwrite", "-q"),
        *("--layer", "backbone.2", "--layer", NECK, "--shape", "256x320"),
        *("--score-threshold", "0.5", "--nms-threshold", "0.4", "--sample", signs / "images" / "street.jpg"),
        *("--engine", "onnx"),
    )
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert results(tmp_path) == ["config.boxcam"]
    assert {Path(name).suffix for name in results(tmp_path / "config.boxcam")} == {".onnx", ".json", ".bin", ".png"}
    model = boxcam.load("config.boxcam", threads=1)
    assert model.layers == ("backbone.2", NECK)
    assert (model.manifest.preprocess.height, model.manifest.preprocess.width) == (256, 320)
    found = model.detect(read_image(signs / "images" / "street.jpg"))
    assert len(found) >= 3
    assert found.scores.min() >= 0.5
    explanation = boxcam.explain(model, signs / "images" / "street.jpg", layer=NECK)
    assert explanation.layer == NECK
    assert explanation.maps.max() > 0


def test_explain_writes_a_sheet_maps_and_facts_for_each_image(
    signs: Path, signs_bundle: Path, signs_model: boxcam.Model, tmp_path: Path, cli: Cli
) -> None:
    done = cli("explain", signs_bundle, signs / "images", "-o", tmp_path / "new" / "out", "--threads", "1")
    assert (done.exit_code, done.stderr) == (0, "")
    images = sorted((signs / "images").glob("*.jpg"))
    *lines, last = done.stdout.splitlines()
    assert last == f"wrote the results of 6 of 6 pictures to {tmp_path / 'new' / 'out'}"
    assert [line.split(":")[0] for line in lines] == [image.name for image in images]
    folder = tmp_path / "new" / "out"
    assert results(folder) == sorted(image.stem + end for image in images for end in (".json", ".npz", ".png"))
    for image, line in zip(images, lines, strict=True):
        height, width = cv2.imread(str(image)).shape[:2]
        said, raw = facts(folder, image.stem), arrays(folder, image.stem)
        count = len(said["detections"])
        assert re.match(rf"{image.name}: {count} boxes", line)
        assert count >= 3
        assert (said["height"], said["width"], said["image"]) == (height, width, str(image))
        assert (said["method"], said["layer"], said["engine"]) == ("hirescam", "neck", "onnx")
        assert (said["boxcam"], said["bundle"], said["score_threshold"]) == (boxcam.__version__, "signs.boxcam", 0.3)

        assert raw["maps"].dtype == np.float32
        assert raw["maps"].shape == (count, height, width)
        assert np.isfinite(raw["maps"]).all()
        for key in ("boxes", "scores", "labels", "logits", "origin", "names"):
            assert len(raw[key]) == count
        for k, entry in enumerate(said["detections"]):
            assert entry["box"] == pytest.approx(raw["boxes"][k], abs=1e-3)
            assert (entry["label"], entry["name"]) == (raw["labels"][k], raw["names"][k])
            assert entry["name"] == signs_model.manifest.labels[entry["label"]]
            assert (entry["score"], entry["logit"]) == pytest.approx((raw["scores"][k], raw["logits"][k]))
            assert entry["score"] == pytest.approx(1 / (1 + np.exp(-entry["logit"])), abs=1e-6)
            assert entry["origin"] == raw["origin"][k].tolist()
            assert entry["peak"] == raw["maps"][k].max()
            assert entry["positive_evidence"] == bool((raw["maps"][k] > 0).any())
            x1, y1, x2, y2 = (int(v) for v in (*np.floor(raw["boxes"][k][:2]), *np.ceil(raw["boxes"][k][2:])))
            positive = np.maximum(raw["maps"][k], 0).astype(np.float64)
            share = positive[y1:y2, x1:x2].sum() / positive.sum() if positive.any() else None
            assert entry["share_inside_box"] == (None if share is None else pytest.approx(share, abs=1e-5))

        sheet = cv2.imread(str(folder / said["overlay"]))
        assert sheet.shape[0] > 2 * 250  # several panels, not one picture
        assert sheet.shape[1] > 2 * 250
        assert (sheet[:5] == 255).all()
        assert (folder / said["maps"]).is_file()

    same = boxcam.explain(signs_model, images[0], top=10)
    assert np.array_equal(arrays(folder, images[0].stem)["boxes"], same.detections.boxes)
    assert np.allclose(arrays(folder, images[0].stem)["maps"], same.maps, rtol=1e-4, atol=1e-6 * same.maps.max())


def test_explain_takes_every_option(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    image = signs / "images" / "cat.jpg"
    done = cli(
        *("explain", signs_bundle, image, "-o", tmp_path, "--method", "hirescam", "--layer", "backbone"),
        *("--engine", "torchscript", "--score", "0.1", "--top", "2", "--class", "Stop", "--class", "3"),
        *("--threads", "1"),
    )
    assert (done.exit_code, done.stderr) == (0, "")
    said = facts(tmp_path, "cat")
    assert (said["method"], said["layer"], said["engine"]) == ("hirescam", "backbone", "torchscript")
    assert said["score_threshold"] == 0.1
    assert len(said["detections"]) == 2
    assert {entry["name"] for entry in said["detections"]} <= {"stop", "no entry"}  # no entry has number 3
    assert arrays(tmp_path, "cat")["maps"].min() < 0  # raw: hirescam speaks against, too
    assert f"cat.jpg: 2 boxes, {said['other_boxes']} others left out (" in done.stdout
    left = re.search(r"left out \((.+)\)\n", done.stdout)
    assert left is not None
    reasons = set(re.split(r", |\d+ ", left[1])) - {""}
    assert reasons <= {"of other classes", "below score 0.1", "beyond --top 2"}
    done = cli("explain", signs_bundle, image, "-o", tmp_path, "--class", "no entry", "--threads", "1")
    assert {entry["name"] for entry in facts(tmp_path, "cat")["detections"]} == {"no entry"}
    done = cli("explain", signs_bundle, image, "-o", tmp_path, "--top", "1", "--threads", "1")
    assert "cat.jpg: 1 box, " in done.stdout


@pytest.mark.parametrize("missing", ["onnx", "onnx_ir", "onnxruntime", "onnxscript", "torch"])
def test_export_says_what_is_not_installed(
    missing: str, signs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    def fails(*given: Any, **options: Any) -> None:
        raise ModuleNotFoundError(f"No module named '{missing}.part'", name=f"{missing}.part")

    monkeypatch.setattr("boxcam.export.pipeline.export", fails)
    monkeypatch.chdir(tmp_path)
    for name in ("Model.ONNX", "w.pth"):
        (tmp_path / name).touch()
    for_onnx = "export" if missing == "torch" else "onnx"
    models: list[tuple[str, list[str | os.PathLike[str]]]] = [
        ("mmdet", [signs / "config.py", signs / "signs.pth"]),
        ("mmyolo", ["CONFIG", "--source", "mmyolo"]),
        ("export", ["torchvision:retinanet_resnet50_fpn", "w.pth"]),
        (for_onnx, ["Model.ONNX"]),
        (for_onnx, ["MODEL", "--source", "onnx"]),
    ]
    for extra, model in models:
        done = cli("export", *model, "-o", tmp_path / "x.boxcam")
        assert (done.exit_code, done.stdout) == (1, "")
        assert done.stderr.startswith(f"boxcam: exporting needs {missing}.part, which is not installed here.")
        assert f"Install boxcam's '{extra}' extra" in done.stderr


def test_the_help_of_export_tells_of_every_kind_of_model(cli: Cli) -> None:
    said = " ".join(cli("export", "--help").stdout.split())
    kinds = re.search(r"Kind of MODEL: ([\w, ]+)\.", said)
    assert kinds is not None
    assert set(re.split(", | or ", kinds[1])) == set(SOURCES.names())
    for arguments in (
        ("yolo.onnx", "--preprocess", "yolo"),
        ("torchvision:fasterrcnn_resnet50_fpn", "weights.pth"),
        ("retinanet.py", "retinanet.pth"),
    ):
        assert f"boxcam export {' '.join(arguments)}" in said


def test_quiet_means_silent(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    done = cli("explain", signs_bundle, signs / "images" / "cat.jpg", "-o", tmp_path, "--top", "1", "--quiet")
    assert (done.exit_code, done.stdout, done.stderr) == (0, "", "")
    assert results(tmp_path) == ["cat.json", "cat.npz", "cat.png"]


@pytest.mark.parametrize("command", ["explain", "demo"])
def test_results_go_to_a_folder(command: str, signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    given = ["explain", signs_bundle, signs / "images" / "cat.jpg"] if command == "explain" else ["demo"]
    done = cli(*given, "-o", tmp_path / "x.png")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"boxcam: {tmp_path / 'x.png'} has the name of a file, and the results are several files in a folder. Pass"
        " another folder with --output.\n"
    )
    (tmp_path / "out").write_text("mine")
    done = cli(*given, "-o", tmp_path / "out")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"boxcam: cannot write into {tmp_path / 'out'}: it is a file, not a folder. Choose another folder.\n"
    )
    assert results(tmp_path) == ["out"]


def test_no_box_is_a_normal_result(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((50, 80, 3), 128, np.uint8))
    done = cli("explain", signs_bundle, tmp_path / "grey.png", signs / "images" / "cat.jpg", "-o", tmp_path / "out",
               "--score", "1", "--threads", "1")  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, "")
    first, second, last = done.stdout.splitlines()
    assert first.startswith("grey.png: no box with a score of at least 1")
    assert re.fullmatch(
        r"cat.jpg: no box with a score of at least 1, \d+ others left out \(below score 1\); --score 0 shows boxes of"
        " any score",
        second,
    )
    assert last == f"wrote the results of 2 of 2 pictures to {tmp_path / 'out'}; no box in 2 of 2 pictures"
    said, raw = facts(tmp_path / "out", "grey"), arrays(tmp_path / "out", "grey")
    assert said["detections"] == []
    assert (raw["maps"].shape, raw["maps"].dtype) == ((0, 50, 80), np.float32)
    assert raw["boxes"].shape == (0, 4)
    assert cv2.imread(str(tmp_path / "out" / "grey.png")) is not None
    assert facts(tmp_path / "out", "cat")["other_boxes"] >= 5


def test_a_summary_tells_boxes_of_other_levels_from_those_without_evidence() -> None:
    nothing = [[0.0] * 4] * 2
    found = explanation(nothing, nothing, score=0.3)
    found = dataclasses.replace(found, parts=(found.parts[0], ()))
    left = "4 others left out"
    assert summary(found) == (
        "2 boxes, 1 with an empty map (gradcam found nothing at neck for it; try --method hirescam),"
        f" 1 not depending on neck, {left}"
    )


ONE = [[1.0] * 4] * 2


def left_out(why: LeftOut, *cells: list[list[float]], **query: Any) -> str:
    """The summary of an image of which boxes were left out for these reasons."""
    found = explanation(*cells, **query)
    return summary(dataclasses.replace(found, left_out=why, other_boxes=sum(dataclasses.astuple(why))))


@pytest.mark.parametrize(
    ("why", "said"),
    [
        (LeftOut(), "1 box"),
        (LeftOut(score=1), "1 box, 1 other left out (below score 0.3)"),
        (LeftOut(top=3), "1 box, 3 others left out (beyond --top 1)"),
        (LeftOut(classes=2), "1 box, 2 others left out (of other classes)"),
        (LeftOut(ranks=2), "1 box, 2 others left out (at other ranks)"),
        (LeftOut(classes=2, score=1), "1 box, 3 others left out (2 of other classes, 1 below score 0.3)"),
    ],
)
def test_a_summary_tells_what_left_boxes_out(why: LeftOut, said: str) -> None:
    assert left_out(why, ONE, score=0.3, top=1) == said


@pytest.mark.parametrize(
    ("why", "query", "said"),
    [
        (
            LeftOut(score=4),
            {"score": 0.3},
            "no box with a score of at least 0.3, 4 others left out (below score 0.3); --score 0 shows boxes of any"
            " score",
        ),
        (
            LeftOut(score=1),
            {"score": 0.3, "classifier": True},
            "no class with a score of at least 0.3, 1 other left out (below score 0.3); --rank 1 shows the best one,"
            " --score 0 classes of any score",
        ),
        (
            LeftOut(classes=3),
            {"score": 0.3, "classes": ("cat",)},
            "no box of those asked for with a score of at least 0.3, 3 others left out (of other classes)",
        ),
        (LeftOut(), {"score": 0.3}, "no box with a score of at least 0.3, nor any other that the bundle reports"),
        (LeftOut(ranks=2), {"score": 0.0, "rank": (99,)}, "no box at rank 99, as there are only 2 boxes"),
        (LeftOut(ranks=1), {"score": 0.0, "rank": (8, 9)}, "no box at rank 8 or 9, as there is only 1 box"),
        (
            LeftOut(classes=5),
            {"score": 0.0, "rank": (1,), "classes": ("cat",)},
            "no box at rank 1, as there is no box of those asked for",
        ),
        (
            LeftOut(ranks=3, score=1),
            {"score": 0.5, "rank": (1,)},
            "no box at rank 1 with a score of at least 0.5, 4 others left out (3 at other ranks, 1 below score 0.5)",
        ),
    ],
)
def test_a_summary_tells_why_there_is_nothing(why: LeftOut, query: dict[str, Any], said: str) -> None:
    assert left_out(why, **query) == said


def test_a_summary_tells_what_is_not_there() -> None:
    left = "4 others left out"
    assert summary(explanation(ONE, score=0.0, rank=(2, 9, 12))) == f"1 box, none at rank 9 or 12, {left}"
    assert (
        summary(explanation(ONE, score=0.5, rank=(1, 2)))
        == f"1 box, none at rank 2 with a score of at least 0.5, {left}"
    )
    assert summary(explanation(ONE, score=0.0, rank=(2,))) == f"1 box, {left}"
    assert summary(explanation(ONE, score=0.0, rank=(1, 2), top=1)) == f"1 box, {left}"  # the other one may be there
    assert summary(explanation(ONE, score=0.3, classifier=True)).startswith("1 class, 4 others")
    assert summary(explanation(ONE, ONE, score=0.3, classifier=True)).startswith("2 classes, 4 others")


def test_what_fails_on_one_image_keeps_none_from_the_others(
    signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    explain = boxcam.Model.explain

    def fails_on_street(model: boxcam.Model, file: Path, **options: Any) -> boxcam.Explanation:
        if file.stem == "street":
            raise RunError("forward.onnx failed in onnxruntime: the model finds nothing there.")
        return explain(model, file, **options)

    monkeypatch.setattr(boxcam.Model, "explain", fails_on_street)
    images = [signs / "images" / name for name in ("street.jpg", "none.jpg", "cat.jpg")]
    pattern = signs / "images" / "*.gif"
    done = cli("explain", signs_bundle, *images, pattern, "-o", tmp_path, "--top", "1", "--threads", "1")
    assert done.exit_code == 1
    assert done.stdout.startswith("cat.jpg: 1 box")
    assert done.stdout.endswith(f"wrote the results of 1 of 4 pictures to {tmp_path}\n")
    assert [line.partition(" ")[2].partition(".")[0] for line in done.stderr.splitlines()] == [
        str(images[1]).partition(".")[0],
        f"pattern {signs / 'images' / '*'}",
        str(images[0]).partition(".")[0],
    ]
    assert "street.jpg: forward.onnx failed in onnxruntime: the model finds nothing there." in done.stderr
    assert results(tmp_path) == ["cat.json", "cat.npz", "cat.png"]


def test_an_error_of_onnxruntime_is_one_line(
    signs: Path, tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    from onnxruntime.capi.onnxruntime_pybind11_state import Fail

    def fails(*given: Any, **options: Any) -> None:
        raise Fail("[ONNXRuntimeError] : 1 : FAIL\nsomething")

    monkeypatch.setattr("boxcam.export.pipeline.export", fails)
    done = cli("export", "model.onnx", "-o", tmp_path / "b")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        "boxcam: onnxruntime failed: [ONNXRuntimeError] : 1 : FAIL something. Please report it with the model.\n"
    )


def test_files_folders_and_patterns_and_names_that_meet(
    signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    for name, image in {"a/x.jpg": "cat", "b/x.jpg": "street", "c/deep/y.jpg": "towers", "c/x-2.jpg": "saucer"}.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(signs / "images" / f"{image}.jpg", tmp_path / name)
    (tmp_path / "b" / "notes.txt").touch()
    done = cli("explain", signs_bundle, tmp_path / "a" / "x.jpg", tmp_path / "b", tmp_path / "c" / "**" / "*.jpg",
               "-o", tmp_path / "out", "--top", "1", "--threads", "1")  # fmt: skip
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout.endswith(f"wrote the results of 4 of 4 pictures to {tmp_path / 'out'}\n")
    written = {name: facts(tmp_path / "out", name)["image"] for name in ("x", "x-2", "x-3", "y")}
    assert {name: os.path.relpath(image, tmp_path) for name, image in written.items()} == {
        "x": "a/x.jpg",
        "x-3": "b/x.jpg",  # x-2 belongs to the image that is called so
        "x-2": "c/x-2.jpg",
        "y": "c/deep/y.jpg",
    }
    assert len(results(tmp_path / "out")) == 12


def test_pictures_without_a_box_are_counted(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    cv2.imwrite(str(tmp_path / "grey.png"), np.full((50, 80, 3), 128, np.uint8))
    (tmp_path / "broken.jpg").touch()
    images = (tmp_path / "grey.png", signs / "images" / "cat.jpg", tmp_path / "broken.jpg")
    done = cli("explain", signs_bundle, *images, "-o", tmp_path / "out", "--top", "1", "--threads", "1")
    assert done.exit_code == 1
    last = done.stdout.splitlines()[-1]
    assert last == f"wrote the results of 2 of 3 pictures to {tmp_path / 'out'}; no box in 1 of 2 pictures"


def test_a_bundle_among_the_images_is_told(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    image = signs / "images" / "cat.jpg"
    done = cli("explain", image, signs_bundle, "-o", tmp_path / "out")
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr == (
        f"boxcam: the bundle and the images are swapped: {image} is not a bundle, and {signs_bundle} is one. Give the"
        " bundle first, then the images.\n"
    )


def test_explain_asks_only_what_everybody_may() -> None:
    """What the command needs of explaining is public; the rest is about files on the command line."""
    text = (Path(boxcam.__file__).parent / "commands" / "explain.py").read_text(encoding="utf-8")
    inner = set(re.findall(r"from (boxcam\.(?:explain|model|_api|runtime)[\w.]*) import", text))
    assert inner == {
        *("boxcam.explain.files", "boxcam.explain.names", "boxcam.runtime.images"),  # folders, names, patterns
        "boxcam.runtime.planes",  # the size of what is there
        *("boxcam.explain.methods", "boxcam.runtime.engines", "boxcam.runtime.sessions"),  # names for --help
    }


def test_explaining_again_replaces_the_results(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    for top in ("1", "2"):
        cli("explain", signs_bundle, signs / "images" / "cat.jpg", "-o", tmp_path, "--top", top, "-q", "--threads", "1")
    assert len(facts(tmp_path, "cat")["detections"]) == len(arrays(tmp_path, "cat")["maps"]) == 2
    assert results(tmp_path) == ["cat.json", "cat.npz", "cat.png"]


def test_results_never_replace_an_image(signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli) -> None:
    cv2.imwrite(str(tmp_path / "a.png"), cv2.imread(str(signs / "images" / "cat.jpg")))
    before = (tmp_path / "a.png").read_bytes()
    done = cli("explain", signs_bundle, tmp_path, "-o", tmp_path)
    assert (done.exit_code, done.stdout) == (1, "")
    assert "would replace the image" in done.stderr
    assert (tmp_path / "a.png").read_bytes() == before


@pytest.mark.parametrize("encoding", ["utf-8", "ascii"])
def test_a_file_name_that_no_terminal_can_show(encoding: str, signs: Path, signs_bundle: Path, tmp_path: Path) -> None:
    image = os.fsencode(tmp_path) + b"/caf\xe9.jpg"
    shutil.copy(signs / "images" / "cat.jpg", image)
    broken = os.fsencode(tmp_path) + b"/\xff.jpg"
    Path(os.fsdecode(broken)).touch()
    command = [sys.executable, "-m", "boxcam.cli", "explain", signs_bundle, image, broken, "-o", tmp_path, "--top", "1"]
    done = subprocess.run(
        command, env={**os.environ, "PYTHONIOENCODING": f"{encoding}:strict"}, capture_output=True, check=False
    )
    assert done.returncode == 1
    assert done.stdout.startswith(b"caf\\udce9.jpg: 1 box")
    assert re.fullmatch(rb"boxcam: .*/\\udcff\.jpg is empty\. Copy it again\.\n", done.stderr)
    assert {b"caf\xe9.json", b"caf\xe9.npz", b"caf\xe9.png"} <= set(os.listdir(os.fsencode(tmp_path)))


def test_results_never_replace_a_file_that_was_not_given(
    signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    shutil.copy(signs / "images" / "cat.jpg", tmp_path / "a.jpg")
    (tmp_path / "a.png").write_text("a drawing")
    done = cli("explain", signs_bundle, tmp_path / "a.jpg", "-o", tmp_path)
    assert (done.exit_code, done.stdout) == (1, "")
    assert f"would replace {tmp_path / 'a.png'}, which boxcam did not write" in done.stderr
    assert (tmp_path / "a.png").read_text() == "a drawing"
    assert results(tmp_path) == ["a.jpg", "a.png"]


def test_a_result_that_cannot_be_written_keeps_none_from_the_others(
    signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    (tmp_path / "in").mkdir()
    for name in ("n" * 251, "o"):  # .jpg fits, .json does not
        shutil.copy(signs / "images" / "cat.jpg", tmp_path / "in" / f"{name}.jpg")
    done = cli("explain", signs_bundle, tmp_path / "in", "-o", tmp_path / "out", "--top", "1", "--threads", "1")
    assert done.exit_code == 1
    shorter = r"Give the image, or the folder, a shorter name\.\n"
    assert re.fullmatch(rf"boxcam: cannot write .*/n+\.\*: File name too long\. {shorter}", done.stderr)
    assert done.stdout.endswith(f"wrote the results of 1 of 2 pictures to {tmp_path / 'out'}\n")
    assert results(tmp_path / "out") == ["o.json", "o.npz", "o.png"]


def test_inspect_shows_what_a_bundle_holds(signs_bundle: Path, cli: Cli) -> None:
    done = cli("inspect", signs_bundle)
    assert (done.exit_code, done.stderr) == (0, "")
    for words in (
        "signs.boxcam  (format 4, written by boxcam 0.1.0)",
        "RetinaNet",
        "config.py",
        "signs.pth",
        "stop, give way, speed limit, no entry, pedestrian crossing",
        "fit the image into 320x320 keeping its ratio (bilinear)",
        "RGB, mean 123.675, 116.28, 103.53, std 58.395, 57.12, 57.375",
        "layer neck\n  onnx          windows: each box depends on a window of cells\n",
        "48 channels, 40x40 cells, stride 8x8, receptive field of a logit {0}x{0} cells".format(
            read(signs_bundle).layers[0].tensors[0].receptive_field
        ),
        "layer backbone\n  onnx          windows",
        "  torchscript   whole map (",
        "128 channels, 10x10 cells, stride 32x32, receptive field of a logit",
        "neck: TorchScript gradient against finite differences",
    ):
        assert words in done.stdout


def test_inspect_gives_the_manifest_to_machines(signs_bundle: Path, cli: Cli) -> None:
    done = cli("inspect", "--json", signs_bundle)
    assert (done.exit_code, done.stderr) == (0, "")
    assert json.loads(done.stdout) == json.loads(json.dumps(dataclasses.asdict(read(signs_bundle))))


@pytest.mark.parametrize("name", sorted(main.commands))
def test_help_shows_examples_that_can_be_run(name: str, cli: Cli) -> None:
    for option in ("--help", "-h"):
        done = cli(name, option)
        assert (done.exit_code, done.stderr) == (0, "")
    examples = [line.strip() for line in done.stdout.splitlines() if line.startswith(f"    boxcam {name} ")]
    assert examples
    for line in examples:
        command = main.commands[name]
        command.make_context(name, shlex.split(line)[2:], parent=click.Context(main))  # UsageError if it is wrong


def test_a_target_that_a_bundle_lacks_is_told_with_what_to_export(
    signs: Path, signs_bundle: Path, tmp_path: Path, cli: Cli
) -> None:
    done = cli("explain", signs_bundle, signs / "images" / "cat.jpg", "-o", tmp_path / "out", "--target", "x1")
    assert (done.exit_code, done.stdout) == (1, "")
    assert "no target 'x1' (it has: logit)" in done.stderr
    assert "Export the model again with --target logit --target x1, in addition to" in done.stderr
    assert not (tmp_path / "out").exists()


def test_help_names_every_method_and_engine(cli: Cli) -> None:
    from boxcam.runtime.engines import ENGINES

    said = cli("explain", "--help").stdout
    assert all(name in said for name in (*boxcam.methods(), *ENGINES, "auto"))


@pytest.mark.parametrize(("name", "common"), [("export", "--sample"), ("explain", "--method"), ("inspect", "--all")])
def test_help_has_its_options_under_headings_the_common_ones_first(name: str, common: str, cli: Cli) -> None:
    said = cli(name, "--help").stdout.partition("\nCommon options:\n")[2]
    sections = re.split(r"\n\n(?=\S)", said)
    assert common in sections[0]
    assert len(sections) > 3
    assert "\nOther options:\n" in said
    written = re.findall(r"^  (?:-\w, )?(--[\w-]+)", said, re.MULTILINE)
    options = [one for one in main.commands[name].params if isinstance(one, click.Option)]
    assert sorted(written) == sorted(
        [*(one.opts[-1] if one.opts[0][1] != "-" else one.opts[0] for one in options), "--help"]
    )


def test_version_and_commands(cli: Cli) -> None:
    assert cli("--version").stdout == f"boxcam, version {boxcam.__version__}\n"
    said = cli("--help").stdout
    assert all(name in said for name in ("demo", "export", "explain", "inspect", "methods"))


def test_methods_are_listed_with_what_each_costs_and_shows(cli: Cli) -> None:
    done = cli("methods")
    assert (done.exit_code, done.stderr) == (0, "")
    heading, *lines = done.stdout.splitlines()
    assert re.split(r" {2,}", heading) == ["method", "layers", "passes", "gradient", "what it shows"]
    rows = {cells[0]: cells[1:] for cells in (re.split(r" {2,}", line) for line in lines)}
    assert tuple(rows) == boxcam.methods()
    assert rows["gradcam"][:3] == ["maps", "1", "means"]
    assert rows["eigencam"][2] == "none"
    assert rows["guided-gradcam"][:3] == ["maps, image", "1", "guided"]
    assert all(len(row) == 4 for row in rows.values())
    assert max(map(len, done.stdout.splitlines())) <= 120
    said = json.loads(cli("methods", "--json").stdout)
    assert [tuple(one.values())[:4] for one in said] == [(name, *row[:3]) for name, row in rows.items()]
    assert said[1]["shows"].startswith("which cells made the score")


@pytest.mark.parametrize(
    ("arguments", "hint"),
    [
        (["explain", "b", "a.jpg", "--method", "grad-cam++"], "no method 'grad-cam++'. Did you mean 'gradcam++'"),
        (["explain", "b", "a.jpg", "--device", "gpu"], "no device 'gpu'. Did you mean 'cuda'? There are: cpu, cuda."),
        (["explain", "b", "a.jpg", "--target", "logits"], "no target 'logits'. Did you mean 'logit'?"),
        (["explain", "b", "a.jpg", "--engine", "ONNX"], "no engine 'ONNX'. Did you mean 'onnx'?"),
        (["export", "a.onnx", "--engine", "torch"], "no engine 'torch'. Did you mean 'torchscript'?"),
        (["export", "a.onnx", "--target", "sc"], "no target 'sc'. Did you mean 'score'?"),
        (["export", "a.onnx", "--box-format", "cxcyhw"], "no box format 'cxcyhw'. Did you mean 'cxcywh'"),
        (["inspect", "a.onnx", "--layout", "NCWH"], "no layout 'NCWH'. Did you mean 'NCHW'"),
    ],
)
def test_a_wrong_name_is_answered_by_close_ones(arguments: list[str], hint: str, cli: Cli) -> None:
    done = cli(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert hint in done.stderr
    assert "There are: " in done.stderr


def test_completion_knows_the_names(monkeypatch: pytest.MonkeyPatch, cli: Cli) -> None:
    monkeypatch.setenv("_BOXCAM_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "boxcam explain --method guided")
    monkeypatch.setenv("COMP_CWORD", "3")
    done = cli()
    assert done.stdout.split() == ["plain,guided-backprop", "plain,guided-gradcam"]


@pytest.mark.parametrize(
    "arguments",
    [
        ["explain"],
        ["explain", "BUNDLE"],
        ["explain", "BUNDLE", "a.jpg", "--method", "gradcan"],
        ["explain", "BUNDLE", "a.jpg", "--engine", "tensorflow"],
        ["explain", "BUNDLE", "a.jpg", "--score", "1.5"],
        ["explain", "BUNDLE", "a.jpg", "--top", "0"],
        ["explain", "BUNDLE", "a.jpg", "--threads", "-1"],
        ["explain", "BUNDLE", "a.jpg", "--nonsense"],
        ["inspect"],
        ["export"],
        ["export", "a.py", "a.pth", "--shape", "320"],
        ["export", "a.py", "a.pth", "--score-threshold", "2"],
        ["export", "a.py", "a.pth", "--engine", "tensorflow"],
        ["exprot"],
        ["--nonsense"],
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], signs_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    monkeypatch.chdir(tmp_path)
    done = cli(*[str(signs_bundle) if a == "BUNDLE" else a for a in arguments])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "Usage: boxcam" in done.stderr
    assert "Error: " in done.stderr
    assert results(tmp_path) == []


def test_progress_is_for_terminals_only(signs: Path, signs_bundle: Path, tmp_path: Path) -> None:
    images = [str(signs / "images" / name) for name in ("cat.jpg", "street.jpg")]
    (tmp_path / "broken.jpg").touch()
    command = [sys.executable, "-m", "boxcam.cli", "explain", str(signs_bundle), *images, str(tmp_path / "broken.jpg")]

    def on_terminal(*options: str) -> tuple[int, str, str]:
        """Exit code, stdout (a pipe), stderr (a terminal)."""
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [*command, "-o", str(tmp_path / "out"), "--top", "2", "--threads", "1", *options],
            stdout=subprocess.PIPE,
            stderr=theirs,
        ) as process:
            os.close(theirs)
            seen = b""
            while True:
                try:
                    data = os.read(ours, 4096)
                except OSError:  # how Linux says that the other end is closed
                    break
                if not data:
                    break
                seen += data
            os.close(ours)
            assert process.stdout is not None
            said = process.stdout.read().decode()
        return process.returncode, said, seen.decode()

    code, said, seen = on_terminal()
    assert code == 1
    assert said.startswith("cat.jpg: 2 boxes")
    assert "\r" not in said
    assert "\x1b" not in said
    *steps, after = seen.split("\r\x1b[K")
    assert "[1/3] cat.jpg" in steps
    assert "[2/3] street.jpg: box 2 of 2" in steps
    assert (
        after == f"boxcam: {tmp_path / 'broken.jpg'} is empty. Copy it again.\r\n"
    )  # the line is gone before anything else is said

    code, said, seen = on_terminal("-q")
    assert (code, said, seen) == (1, "", f"boxcam: {tmp_path / 'broken.jpg'} is empty. Copy it again.\r\n")
