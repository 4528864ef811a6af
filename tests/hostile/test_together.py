"""Several at work in one folder: what each writes aside stays its own, and what a killed one left is swept."""

from __future__ import annotations

import concurrent.futures
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

import boxcam
from boxcam import leftovers
from boxcam.leftovers import MARK, file_aside, folder_aside, sweep
from tests.hostile.made import BUNDLE, PICTURE


class Sweeping(threading.Thread):
    """Sweeps again and again, as each run does when it begins."""

    def __init__(self, folder: Path, name: str) -> None:
        super().__init__(daemon=True)
        self.folder, self.name_of_it, self.done = folder, name, threading.Event()

    def run(self) -> None:
        while not self.done.is_set():
            sweep(self.folder, self.name_of_it)

    def __enter__(self) -> None:
        self.start()

    def __exit__(self, *why: object) -> None:
        self.done.set()
        self.join(20)


def test_who_sweeps_takes_nothing_from_who_writes(tmp_path: Path) -> None:
    with Sweeping(tmp_path, "result"), Sweeping(tmp_path, "result"):
        for number in range(300):
            with file_aside(tmp_path / f"{number}.txt", "result") as file:
                file.write(b"whole")
            with folder_aside(tmp_path, "result") as folder:
                (folder / "file").write_text("whole")
                assert os.listdir(folder) == ["file"]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(f"{number}.txt" for number in range(300))
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"whole"}


@pytest.mark.parametrize("sweeper", ["has locked it", "has removed it"])
def test_what_was_swept_before_it_was_locked_is_made_again(
    sweeper: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, first = leftovers._lock, []

    def lock(path: Any) -> int | None:
        if not first:
            first.append(path)
            if sweeper == "has removed it":
                path.unlink()
            else:
                raise BlockingIOError
        return real(path)

    monkeypatch.setattr(leftovers, "_lock", lock)
    with file_aside(tmp_path / "a.txt", "result") as file:
        file.write(b"whole")
        assert Path(file.name) != first[0]
    assert (tmp_path / "a.txt").read_bytes() == b"whole"


def test_many_save_into_one_folder(tmp_path: Path) -> None:
    found = boxcam.load(BUNDLE, threads=1).explain(PICTURE, top=1)

    def save(number: int) -> None:
        for turn in range(4):
            found.save(tmp_path, f"{number}-{turn}")

    with concurrent.futures.ThreadPoolExecutor(6) as pool:
        list(pool.map(save, range(6)))  # raises what one of them raised
    assert len(os.listdir(tmp_path)) == 6 * 4 * 3


def test_a_demo_that_was_killed_can_be_run_again(tmp_path: Path) -> None:
    code = """
import os, shutil, sys
real, turns = shutil.copyfileobj, []
def copy(*given):
    turns.append(given)
    if len(turns) == 2:
        os.kill(os.getpid(), 9)
    real(*given)
shutil.copyfileobj = copy
sys.argv = ["boxcam", "demo", "-o", "demo"]
from boxcam.cli import main
main()
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False)
    assert done.returncode == -signal.SIGKILL
    assert any(MARK in path.name for path in (tmp_path / "demo").rglob("*"))
    again = [sys.executable, "-m", "boxcam.cli", "demo", "-q", "-o", "demo"]
    run = subprocess.run(again, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (run.returncode, run.stdout, run.stderr) == (0, "", "")
    assert not any(MARK in path.name for path in (tmp_path / "demo").rglob("*"))
