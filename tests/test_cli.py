"""The command line as a whole: help, names, usage, progress, and how an error becomes a line."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest

import boxcam
from boxcam.cli import main
from tests.commands.written import Cli, results


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
