"""ONNX Runtime is imported in one place, and leaves nothing in the home folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import onnxruntime
import pytest

import boxcam

PACKAGE = Path(boxcam.__file__).parent
EXPLAINS = """
import sys
import boxcam
boxcam.explain(boxcam.load(sys.argv[1], threads=1), sys.argv[2]).save(sys.argv[3])
"""
EXPORTS = """
import boxcam.export.graphs.fold
import boxcam.export.pipeline
import boxcam.export.sources
"""
TENSORS = """
import numpy as np
from boxcam.runtime.tensors import Tensors
Tensors({"x": np.ones(1, np.float32)}).ort("x")
"""


def run_in(home: Path, code: str, *arguments: Path) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of a user whose home this is, whatever ours has turned off."""
    own = {name: value for name, value in os.environ.items() if name not in ("ORT_DISABLE_TELEMETRY", "XDG_CACHE_HOME")}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, env={**own, "HOME": str(home)})


@pytest.mark.parametrize("code", [EXPLAINS, EXPORTS, TENSORS], ids=["explains", "exports", "tensors"])
def test_the_home_folder_stays_empty(code: str, signs: Path, signs_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    done = run_in(tmp_path / "home", code, signs_bundle, signs / "images" / "cat.jpg", tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")
    assert os.listdir(tmp_path / "home") == []


def test_a_home_that_cannot_be_written_is_no_matter(signs: Path, signs_bundle: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    picture = signs / "images" / "cat.jpg"
    done = run_in(tmp_path / "file" / "home", EXPLAINS, signs_bundle, picture, tmp_path / "out")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.skipif(
    sys.platform != "linux" or tuple(map(int, onnxruntime.__version__.split(".")[:2])) < (1, 31),
    reason="ONNX Runtime has had telemetry on Linux since 1.31",
)
def test_without_the_switch_it_does_not_stay_empty(tmp_path: Path) -> None:
    assert run_in(tmp_path, "import onnxruntime").returncode == 0
    assert os.listdir(tmp_path) != []


def test_no_other_file_imports_it() -> None:
    own = re.compile(r"^\s*(import onnxruntime|from onnxruntime)|import_module\(\W*onnxruntime", re.MULTILINE)
    found = [str(f.relative_to(PACKAGE)) for f in sorted(PACKAGE.rglob("*.py")) if own.search(f.read_text("utf-8"))]
    assert found == ["runtime/telemetry.py"]
