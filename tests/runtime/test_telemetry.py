"""ONNX Runtime is imported in one place, and leaves nothing in the home folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

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


RECORDS = """
import os
import pathlib
pathlib.Path(__file__).with_name("seen").write_text(os.environ.get("ORT_DISABLE_TELEMETRY", "unset"))
"""
KEPT = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "OMP_NUM_THREADS")
"""All that a command gets of our environment: ONNX Runtime turns its telemetry off by itself where CI is said."""


def run_in(home: Path, code: str, *arguments: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run code in an interpreter of a user whose home this is, whatever ours has turned off."""
    kept = {name: os.environ[name] for name in KEPT if name in os.environ}
    command = [sys.executable, "-c", code, *map(str, arguments)]
    environment = {**kept, "HOME": str(home), **more}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


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


def test_it_is_switched_off_before_the_import(tmp_path: Path) -> None:
    """What the switch does is ONNX Runtime's own, and differs where CI is; that it is set in time is ours."""
    (tmp_path / "onnxruntime.py").write_text(RECORDS)
    code = "import boxcam.runtime.telemetry as telemetry; telemetry.import_onnxruntime()"
    path = os.pathsep.join([str(tmp_path), *filter(None, [os.environ.get("PYTHONPATH")])])
    run_in(tmp_path, code, PYTHONPATH=path)
    assert (tmp_path / "seen").read_text() == "1"


def test_no_other_file_imports_it() -> None:
    own = re.compile(r"^\s*(import onnxruntime|from onnxruntime)|import_module\(\W*onnxruntime", re.MULTILINE)
    found = [str(f.relative_to(PACKAGE)) for f in sorted(PACKAGE.rglob("*.py")) if own.search(f.read_text("utf-8"))]
    assert found == ["runtime/telemetry.py"]
