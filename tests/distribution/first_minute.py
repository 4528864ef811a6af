"""The first minute of somebody who has installed ``boxcam[cpu]``: in an empty folder,

    python first_minute.py README.md 3.13

The last argument is the version of Python that this should be. First `boxcam demo`, then the README's Python, on files
of the names that stand there.
"""

from __future__ import annotations

import importlib.util
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

import boxcam

BOXCAM = Path(sys.executable).parent / "boxcam"


def run(*command: str | Path) -> str:
    """Run a command, which has to end well and without a word on stderr; what it printed."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), f"{command}: {done.returncode}, {done.stderr}"
    return done.stdout


def check_installation(version: str) -> None:
    """This is the Python that was meant, the installed wheel is what is imported, and no framework is there."""
    assert sys.version.startswith(f"{version}."), sys.version
    assert Path(boxcam.__file__).is_relative_to(sys.prefix), boxcam.__file__
    for framework in ("torch", "torchvision", "mmdet", "onnx", "onnxscript"):
        assert importlib.util.find_spec(framework) is None, framework
    assert run(BOXCAM, "--version") == f"boxcam, version {boxcam.__version__}\n"


def check_demo() -> None:
    """Heatmaps, in one command."""
    assert "wrote the results of 3 of 3 pictures to out\n" in run(BOXCAM, "demo", "-o", "out")
    for name in ("cat", "houses", "street"):
        assert Path("out", f"{name}.png").stat().st_size > 50_000
        facts = json.loads(Path("out", f"{name}.json").read_text(encoding="utf-8"))
        with np.load(Path("out", f"{name}.npz")) as arrays:
            assert len(arrays["maps"]) == len(facts["detections"]) >= 4
            assert np.isfinite(arrays["maps"]).all()
            assert (arrays["maps"].max(axis=(1, 2)) > 0).all()


def check_readme(readme: Path) -> None:
    """Its Python runs as it stands: bundles are the demo's, and pictures the street."""
    snippets = re.findall(r"```python\n(.*?)```", readme.read_text(encoding="utf-8"), re.DOTALL)
    assert snippets, "no Python in the README"
    for snippet in snippets:
        bundles = re.findall(r"[\w./-]+\.boxcam", snippet)
        assert bundles, snippet
        for bundle in bundles:
            shutil.copytree("out/signs.boxcam", bundle, dirs_exist_ok=True)
        for picture in re.findall(r"[\w./-]+\.jpg", snippet):
            Path(picture).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy("out/images/street.jpg", picture)
        Path("snippet.py").write_text(snippet, encoding="utf-8")
        printed = run(sys.executable, "snippet.py")
        assert re.search(r"\d", printed), printed  # boxes and scores


if __name__ == "__main__":
    check_installation(sys.argv[2])
    check_demo()
    check_readme(Path(sys.argv[1]))
    sys.stdout.write(f"boxcam {boxcam.__version__} on Python {sys.version.split()[0]}: the demo, and README's Python\n")
