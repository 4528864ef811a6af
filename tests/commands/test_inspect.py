"""`boxcam inspect` of a bundle."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

from boxcam.bundle import read
from tests.commands.written import Cli


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
