"""`boxcam export` as a person runs it: what it prints and writes."""

from __future__ import annotations

import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

import boxcam
from boxcam.export import sources as _sources  # noqa: F401  (each registers itself)
from boxcam.export.source import SOURCES
from boxcam.runtime.images import read_image
from tests.commands.written import Cli, results

NECK = "/neck/fpn_convs.0/conv/Conv_output_0"


def test_export_says_what_it_found_checked_and_wrote(signs_export: Any) -> None:
    found, checked, wrote = signs_export.stdout.splitlines()
    assert re.match(r"found \d+ boxes on cat\.jpg: [a-z ]+ [01]\.\d\d at \[\d+, \d+, \d+, \d+\]", found)
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
        *("candidates.onnx", "forward.onnx"),
        *("gradient.backbone.means.onnx", "gradient.backbone.onnx", "gradient.backbone.pt"),
        *("gradient.neck.means.onnx", "gradient.neck.onnx", "gradient.neck.pt"),
        *(f"head-{place}.{layer}.onnx" for place in (1, 2, 3) for layer in ("backbone", "neck")),
        *("head.backbone.onnx", "head.neck.onnx"),
        *("manifest.json", "sample.png", "selection.onnx", "weights.bin"),
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
