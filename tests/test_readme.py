"""The README does what it says: its Python runs, its commands and their options are there, its figures are measured."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

import boxcam
from boxcam.cli import main
from tests.examples.test_demo_truth import measure

ROOT = Path(__file__).parents[1]
TEXT = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w*)\n(.*?)```", TEXT, re.DOTALL)
CONSOLE = "".join(block for kind, block in BLOCKS if kind == "console")
LINES = [line.removeprefix("$ ").split("  #")[0].strip() for line in CONSOLE.splitlines()]


def test_the_python_runs_as_it_stands(signs_bundle: Path, tmp_path: Path) -> None:
    (code,) = [block for kind, block in BLOCKS if kind == "python"]
    (tmp_path / "demo").mkdir()
    (tmp_path / "demo" / "signs.boxcam").symlink_to(signs_bundle)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = {"PYTHONPATH": str(ROOT), "PATH": ""}
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("('neck', 'backbone')\n")
    assert "(320, 320)" in done.stdout


def test_its_figures_are_measured(signs: Path, signs_model: boxcam.Model) -> None:
    """Means over the demo's signs; `tests/examples/test_demo_truth.py` prints them."""
    found = re.search(
        r"where an even map would have (\d\.\d\d), is (\d\.\d\d) for Grad-CAM and (\d\.\d\d) for HiResCAM at the neck\."
        r" At the backbone,.*? HiResCAM has (\d\.\d\d), and Grad-CAM is no better than an even map",
        " ".join(TEXT.split()),
    )
    assert found is not None
    even, gradcam, hirescam, backbone = map(float, found.groups())
    neck = measure(signs, signs_model, "gradcam", "neck")
    assert (neck.even, neck.inside) == pytest.approx((even, gradcam), abs=0.02)
    assert measure(signs, signs_model, "hirescam", "neck").inside == pytest.approx(hirescam, abs=0.02)
    assert measure(signs, signs_model, "hirescam", "backbone").inside == pytest.approx(backbone, abs=0.02)
    assert measure(signs, signs_model, "gradcam", "backbone").inside == pytest.approx(even, abs=0.02)


def test_every_make_target_is_there() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"\bmake ([a-z]+)", TEXT)
    assert {"demo", "test", "check"} <= set(targets)
    for target in targets:
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("line", [line for line in LINES if line.startswith("boxcam ")])
def test_every_boxcam_command_is_understood(line: str, signs_bundle: Path, tmp_path: Path) -> None:
    """The command line accepts it: what fails is only that the user's own files are not here."""
    arguments = [str(signs_bundle) if a == "mine.boxcam" and "-o" not in line.split() else a for a in shlex.split(line)]
    runner = CliRunner()
    with runner.isolated_filesystem(tmp_path):
        result = runner.invoke(main, arguments[1:])
    if "inspect" in arguments and str(signs_bundle) in arguments:
        assert result.exit_code == 0
    else:
        assert result.exit_code == 1, result.output  # 2 would be misuse
        assert "does not exist" in result.stderr or "matches nothing" in result.stderr


def test_every_option_it_names_exists() -> None:
    helps = "".join(CliRunner().invoke(main, [name, "--help"]).output for name in ("export", "explain", "inspect"))
    for option in set(re.findall(r"`(--[a-z-]+)", TEXT)):
        assert option in helps, option


def test_links_and_pictures_are_there() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (ROOT / target).exists(), target
