"""Long runs tell how far they are, in a file and on a pipe too; short ones say nothing there."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from click.testing import Result

import boxcam
from boxcam.commands import explain as command
from boxcam.commands import progress
from boxcam.commands.progress import INTERVAL, StepLines, WholeRun, progress_line
from tests.clock import Clock

Cli = Callable[..., Result]


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    made = Clock()
    monkeypatch.setattr(progress, "time", made)
    return made


def test_a_line_now_and_then_with_the_time_that_is_left(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    with progress_line("[1/2] cat.jpg", "box", quiet=False) as line:
        count = line.counter()
        for done in range(101):
            count(done, 100)
            clock.now += 1
        writing = line.counter("writing")
        for done in range(1, 3):
            clock.now += 200
            writing(done, 3)
    assert capsys.readouterr().err.splitlines() == [
        "[1/2] cat.jpg: box 30 of 100, about 70 s left",
        "[1/2] cat.jpg: box 60 of 100, about 40 s left",
        "[1/2] cat.jpg: box 90 of 100, about 10 s left",
        "[1/2] cat.jpg: writing box 1 of 3, about 7 min left",
        "[1/2] cat.jpg: writing box 2 of 3, about 3 min left",
    ]


def test_the_time_that_is_left_is_that_of_all_images(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    whole = WholeRun(4)
    for number in range(4):
        with progress_line(f"[{number + 1}/4]", "map", quiet=False, whole=whole) as line:
            count = line.counter("measuring")
            for done in range(3):
                count(done, 2)
                clock.now += 8
    assert capsys.readouterr().err.splitlines() == [
        "[2/4]: measuring map 1 of 2, about 53 s left",  # 32 s for three eighths
        "[3/4]: measuring map 2 of 2, about 21 s left",  # 64 s for three quarters
    ]
    assert whole.done == 4


def test_a_short_run_and_a_quiet_one_say_nothing(clock: Clock, capsys: pytest.CaptureFixture[str]) -> None:
    for quiet, seconds in ((False, INTERVAL / 20), (True, 10 * INTERVAL)):
        with progress_line("cat.jpg", "box", quiet) as line:
            if quiet:
                line.announce("much")
            count = line.counter()
            for done in range(11):
                count(done, 10)
                clock.now += seconds
        lines = StepLines(quiet)
        lines.begin("first")
        clock.now += seconds
        lines.remind()
        lines.begin("second")
    assert capsys.readouterr().err == ""


def test_many_maps_are_announced_with_their_size(
    signs_bundle: Path, signs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    image = signs / "images" / "cat.jpg"
    given = ["explain", signs_bundle, image, "-o", tmp_path, "--threads", "1", "--score", "0", "--top", "100"]
    assert cli(*given).stderr == ""  # few and small
    monkeypatch.setattr(command, "_LARGE", 1_000_000)
    (_, facts, _, _) = sorted(tmp_path.iterdir())
    count, (height, width) = len(np.load(facts)["scores"]), np.load(facts)["maps"].shape[1:]
    said = cli(*given).stderr
    size = f"{4 * count * height * width / 1e9:.1f} GB"
    assert said == (
        f"[1/1] cat.jpg: {count} maps of {height}x{width} pixels, {size} before compression. --top, --score or --class"
        " make them fewer.\n"
    )
    assert cli(*given, "-q").stderr == ""
    assert cli(*given[:-1], "3").stderr == ""


@pytest.mark.parametrize("name", ["tile.npy", "tile.tif", "tile.png"])
def test_many_maps_of_every_kind_of_file_that_is_explained(
    name: str, signs_bundle: Path, signs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli
) -> None:
    pixels = cv2.imread(str(signs / "images" / "cat.jpg"))
    if name.endswith(".npy"):
        np.save(tmp_path / name, pixels)
    else:
        cv2.imwrite(str(tmp_path / name), pixels)
    monkeypatch.setattr(command, "_LARGE", 1)
    given = ["explain", signs_bundle, tmp_path / name, "-o", tmp_path / "out", "--threads", "1"]
    done = cli(*given, "--score", "0", "--top", "11")
    assert done.exit_code == 0
    height, width = pixels.shape[:2]
    assert f"[1/1] {name}: 11 maps of {height}x{width} pixels" in done.stderr


def test_saving_counts_maps(signs_model: boxcam.Model, signs: Path, tmp_path: Path) -> None:
    seen: list[tuple[int, int]] = []
    found = signs_model.explain(signs / "images" / "cat.jpg", top=3)
    found.save(tmp_path, progress=lambda done, total: seen.append((done, total)))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def test_nothing_of_it_moves_where_no_terminal_is(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with progress_line("cat.jpg", "class", quiet=False) as line:
        line.counter()(1, 2)
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    with progress_line("cat.jpg", "class", quiet=False) as line:
        line.counter()(1, 2)
    assert re.sub(r"\r\x1b\[K", "|", capsys.readouterr().err) == "|cat.jpg|cat.jpg: class 1 of 2|"
