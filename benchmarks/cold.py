"""Cold start and peak memory: a process that explains one picture with the demo detector, and the same job in torch."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.cases import PICTURE

_HERE = Path(__file__).resolve().parent


class ColdStartError(Exception):
    """A process that should be timed failed."""


@dataclass(frozen=True)
class ColdStart:
    """One job.

    Attributes:
        first: seconds from the start of the process to the first picture.
        total: seconds to the end of the process.
        peak: MiB of memory, at the most, that were resident.
        with_torch: whether torch is installed where it ran.
    """

    job: str
    first: float
    total: float
    peak: float
    with_torch: bool


def cold_starts(bundle: Path, runtime: Path, threads: int, repeats: int, torch_too: bool) -> list[ColdStart]:
    """Time both jobs.

    Args:
        bundle: the demo detector's.
        runtime: the Python interpreter that explains; boxcam has to be installed there.
        threads: CPU threads.
        repeats: processes that the medians are taken of, after one that is not counted.
        torch_too: also the job in torch, by this interpreter.

    Raises:
        ColdStartError: a process failed.
    """
    explain = [
        "-m",
        "boxcam.cli",
        "explain",
        os.path.abspath(bundle),
        str(PICTURE),
        "--threads",
        str(threads),
        "--quiet",
    ]
    interpreter = os.path.abspath(runtime)  # not resolved: a virtual environment's is a link
    own = interpreter != os.path.abspath(sys.executable)
    found = [_start("boxcam explain", [interpreter, *explain, "-o"], threads, repeats, own)]
    if torch_too:
        script = [sys.executable, str(_HERE / "cold_torch.py"), str(PICTURE)]
        found.append(_start("mmdet and pytorch-grad-cam", script, threads, max(repeats // 2, 1), own=False))
    return found


def _start(job: str, command: Sequence[str], threads: int, repeats: int, own: bool) -> ColdStart:
    """Start a job some times; its last argument is the folder that it writes to.

    ``own``: in an environment of its own, which must not find the packages that PYTHONPATH adds to this one.
    """
    environment = {**os.environ, "OMP_NUM_THREADS": str(threads)}
    path = environment.pop("PYTHONPATH", "")
    if path and not own:  # the process starts in another folder
        environment["PYTHONPATH"] = os.pathsep.join(map(os.path.abspath, path.split(os.pathsep)))
    probe = "import importlib.util as u; print(u.find_spec('torch') is not None)"
    runs = []
    with tempfile.TemporaryDirectory() as place:
        try:
            done = subprocess.run([command[0], "-c", probe], env=environment, cwd=place, capture_output=True, text=True)
        except OSError as error:
            raise ColdStartError(
                f"{command[0]} does not run ({error.strerror}): give --runtime-python the interpreter of an environment"
                " in which boxcam is installed."
            ) from error
        if done.returncode:
            raise ColdStartError(f"{command[0]} does not run: {done.stderr.strip()[-300:]}")
        for number in range(repeats + 1):
            folder = Path(place) / str(number)
            launched = subprocess.run(
                [sys.executable, "-S", "-E", str(_HERE / "launch.py"), str(folder), *command, str(folder)],
                env=environment,
                cwd=place,
                capture_output=True,
                text=True,
            )
            if launched.returncode:
                raise ColdStartError(f"{job} could not be started: {launched.stderr.strip()[-300:]}")
            run = json.loads(launched.stdout)
            if run["code"] or not run["first"]:
                raise ColdStartError(f"{job} failed: {launched.stderr.strip()[-500:]}")
            runs.append(run)
    median = {key: statistics.median(run[key] for run in runs[1:]) for key in ("first", "total", "peak")}
    return ColdStart(job, median["first"], median["total"], median["peak"], done.stdout.strip() == "True")
