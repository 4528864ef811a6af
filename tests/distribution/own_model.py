"""``boxcam[cpu,onnx]`` takes an ONNX file from `inspect` to heatmaps, without PyTorch:  ``python own_model.py``."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import numpy as np
import onnx.utils

BOXCAM = Path(sys.executable).parent / "boxcam"


def run(*command: str) -> str:
    done = subprocess.run([str(BOXCAM), *command], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stderr == "", done.stderr
    return done.stdout


if __name__ == "__main__":
    for name in ("torch", "torchvision"):
        assert importlib.util.find_spec(name) is None, name
    run("demo", "-q", "-o", "demo")
    # The demo's detector as others deploy it: a file of standard operators, with boxes and labels.
    onnx.utils.extract_model("demo/signs.boxcam/forward.onnx", "model.onnx", ["image"], ["dets", "labels"])
    picture = "demo/images/street.jpg"
    assert "boxcam export model.onnx" in run("inspect", "model.onnx", "--sample", picture)
    given = ("export", "model.onnx", "--preprocess", "imagenet", "--sample", picture)
    assert "wrote mine.boxcam" in run(*given, "-o", "mine.boxcam")
    assert "wrote alone.boxcam" in run(*given, "-o", "alone.boxcam", "--engine", "onnx")
    assert "layer" in run("inspect", "mine.boxcam")
    assert "wrote the results of 1 of 1 picture to out\n" in run("explain", "mine.boxcam", picture, "-o", "out")
    with np.load("out/street.npz") as arrays:
        assert len(arrays["maps"]) >= 4
        assert (arrays["maps"].max(axis=(1, 2)) > 0).all()
    sys.stdout.write("inspect, export and explain, with onnxruntime alone\n")
