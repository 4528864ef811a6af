"""What the command line says of itself, and of what is typed wrongly."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from boxcam.cli import main

Cli = Callable[..., Result]
COMMANDS = "compare, demo, evaluate, explain, export, inspect, methods"


@pytest.mark.parametrize("width", [80, 100])
def test_the_summary_of_a_command_is_a_whole_sentence(width: int) -> None:
    said = CliRunner().invoke(main, ["--help"], terminal_width=width).output
    rows = said.partition("Commands:\n")[2].splitlines()
    assert [row.split()[0] for row in rows] == COMMANDS.split(", ")
    for row in rows:
        assert re.fullmatch(r"  \w+ +[A-Z][^.…]*\.", row), row
        assert len(row) <= width
    assert "…" not in said
    assert "..." not in said.partition("Options:")[2]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["explain", "b", "i", "--score", "2"], "'--score': 2 is not between 0 and 1."),
        (["explain", "b", "i", "--score", "-0.1"], "'--score': -0.1 is not between 0 and 1."),
        (["explain", "b", "i", "--score", "nan"], "'--score': nan is not between 0 and 1."),
        (["explain", "b", "i", "--score", "high"], "'--score': 'high' is not a number from 0 to 1."),
        (["explain", "b", "i", "--top", "0"], "'--top': 0 is too low: it must be at least 1."),
        (["explain", "b", "i", "--rank", "1.5"], "'--rank': '1.5' is not a whole number."),
        (["explain", "b", "i", "--threads", "-1"], "'--threads': -1 is too low: it must be at least 0."),
        (["export", "m.onnx", "--nms", "7"], "7 is not between 0 and 1."),
        (["export", "m.onnx", "--score-threshold", "7"], "'--score-threshold': 7 is not between 0 and 1."),
    ],
)
def test_a_number_out_of_its_range(arguments: list[str], said: str, cli: Cli) -> None:
    done = cli(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.rstrip().endswith(said)
    assert "<=" not in done.stderr


def test_no_help_text_has_a_formula(cli: Cli) -> None:
    for command in main.commands:
        said = cli(command, "--help").stdout
        assert "<=" not in said
        assert ">=" not in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["export", "m.onnx", "--treshold", "0.1"], "there is no option --treshold. Did you mean --score-threshold?"),
        (["explain", "b", "i", "--treshold", "0.1"], "there is no option --treshold. Did you mean --score?"),
        (["explain", "b", "i", "--scroe", "0.1"], "there is no option --scroe. Did you mean --score or --scale?"),
        (["explain", "b", "i", "--conf", "0.1"], "there is no option --conf. Did you mean --score?"),
        (["export", "m.onnx", "--nms-treshold", "1"], "is no option --nms-treshold. Did you mean --nms-threshold?"),
        (["export", "m.onnx", "--imgsz", "640"], "there is no option --imgsz. Did you mean --shape?"),
        (["inspect", "b", "--jsn"], "there is no option --jsn. Did you mean --json?"),
        (["explain", "b", "i", "--wqx"], "there is no option --wqx. 'boxcam explain --help' lists what there is."),
        (["--versoin"], "there is no option --versoin. Did you mean --version?"),
        (["inspct"], f"is no command 'inspct'. Did you mean 'inspect'? There are: {COMMANDS}."),
        (["qqq"], f"there is no command 'qqq'. There are: {COMMANDS}."),
    ],
)  # fmt: skip
def test_what_does_not_exist_is_answered_by_what_is_close(arguments: list[str], said: str, cli: Cli) -> None:
    done = cli(*arguments)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.startswith("Usage: boxcam")
    assert done.stderr.splitlines()[-1].endswith(said)


def test_a_bundle_that_is_there_is_seen_before_anything_is_loaded(
    cli: Cli, signs_bundle: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loads(*given: object, **options: object) -> None:
        raise AssertionError("it was loaded")

    monkeypatch.setattr("boxcam.export.pipeline.export", loads)
    (tmp_path / "m.onnx").touch()
    done = cli("export", tmp_path / "m.onnx", "-o", signs_bundle)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"boxcam: bundle {signs_bundle} exists. Replace it with --overwrite, or choose")


@pytest.mark.parametrize("options", [[], ["-o", "new.boxcam"], ["--overwrite"]])
def test_a_bundle_needs_no_export(options: list[str], cli: Cli, signs_bundle: Path, tmp_path: Path) -> None:
    done = cli("export", signs_bundle, *options)
    assert (done.exit_code, done.stdout) == (1, "")
    assert done.stderr.startswith(f"boxcam: {signs_bundle} is a bundle already")
    assert f"'boxcam explain {signs_bundle} IMAGE'" in done.stderr


@pytest.mark.parametrize("package", ["onnx_ir", "mmdet"])
def test_a_file_that_is_missing_is_said_before_a_package(
    package: str, cli: Cli, signs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object, **options: object) -> None:
        raise ModuleNotFoundError(f"No module named '{package}'", name=package)

    monkeypatch.setattr("boxcam.export.pipeline.export", fails)
    done = cli("export", signs / "config.py", tmp_path / "none.pth", "-o", tmp_path / "b")
    assert done.stderr == f"boxcam: {tmp_path / 'none.pth'} does not exist. Check the path.\n"
    (tmp_path / "none.pth").touch()
    done = cli("export", signs / "config.py", tmp_path / "none.pth", "-o", tmp_path / "b")
    assert (
        f"exporting needs {package}, which is not installed here. Install boxcam's 'mmdet' extra: in a" in done.stderr
    )
    assert "docs/install.md" in done.stderr


def test_inspecting_says_that_it_is_inspecting(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*given: object, **options: object) -> None:
        raise ModuleNotFoundError("No module named 'onnx_ir'", name="onnx_ir")

    monkeypatch.setattr("boxcam.export.inspect.survey", fails)
    (tmp_path / "m.onnx").touch()
    done = cli("inspect", tmp_path / "m.onnx")
    assert done.stderr.startswith("boxcam: inspecting an ONNX file needs onnx_ir, which is not installed here.")
    assert "pip install 'boxcam[onnx]'" in done.stderr
