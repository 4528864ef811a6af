"""What several tests share: the demo detector's bundle, exported once by the command line, and ways to run commands."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import boxcam
from boxcam.cli import main

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell starts what runs in its background
    signal.signal(signal.SIGINT, signal.default_int_handler)  # what the tests start has to hear of it


SIGNS = Path(__file__).resolve().parents[1] / "examples" / "signs"


@dataclass(frozen=True)
class Exported:
    """A run of ``boxcam export``: the bundle, and what it printed."""

    path: Path
    stdout: str
    stderr: str


@pytest.fixture(scope="session")
def signs() -> Path:
    """The demo detector's folder: config.py, signs.pth, images/."""
    return SIGNS


@pytest.fixture(scope="session")
def cat(signs: Path) -> Path:
    """One of its pictures, on which it finds several boxes."""
    return signs / "images" / "cat.jpg"


@pytest.fixture(scope="session")
def signs_export(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Exported:
    """The demo detector, exported as a person would; once, in however many processes the tests run."""
    folder = tmp_path_factory.getbasetemp()
    if hasattr(request.config, "workerinput"):  # of several processes, each has a folder in the one of all
        folder = folder.parent
    path, said = folder / "signs" / "signs.boxcam", folder / "signs.json"
    given = [SIGNS / "config.py", SIGNS / "signs.pth", "-o", path, "--sample", SIGNS / "images" / "cat.jpg"]
    with (folder / "signs.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not said.exists():
            path.parent.mkdir(exist_ok=True)
            done = subprocess.run(
                [sys.executable, "-m", "boxcam.cli", "export", *map(str, given)],
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            said.write_text(json.dumps([done.stdout, done.stderr]), encoding="utf-8")
    return Exported(path, *json.loads(said.read_text(encoding="utf-8")))


@pytest.fixture(scope="session")
def signs_bundle(signs_export: Exported) -> Path:
    """The demo detector's bundle. Copy it before changing anything in it."""
    return signs_export.path


@pytest.fixture(scope="session")
def signs_model(signs_bundle: Path) -> boxcam.Model:
    """The demo detector at work."""
    return boxcam.load(signs_bundle, threads=1)


@pytest.fixture
def cli() -> Callable[..., Result]:
    """Run a boxcam command in this process; the result tells stdout from stderr."""

    def run(*arguments: str | os.PathLike[str]) -> Result:
        return CliRunner().invoke(main, [os.fspath(a) for a in arguments], prog_name="boxcam")

    return run


@pytest.fixture(scope="session")
def runtime_python() -> str:
    """The interpreter of an environment that has boxcam as users get it, and only what explaining needs."""
    python = os.environ.get("BOXCAM_RUNTIME_PYTHON")
    if not python:
        pytest.fail("BOXCAM_RUNTIME_PYTHON is not set. Run the tests by 'make test', which makes that environment.")
    return python


_SCHEDULE = pytest.StashKey[Any]()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Where several processes run tests: what stays in one of them."""
    if config.getvalue("dist") != "loadgroup":
        return None
    from tests.schedule import Schedule  # needs pytest-xdist, which is there if this is called

    config.stash[_SCHEDULE] = Schedule(config, log)
    return config.stash[_SCHEDULE]


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """How long groups took, so that `tests.schedule.FIRST` can be kept."""
    schedule = config.stash.get(_SCHEDULE, None)
    if schedule is not None and schedule.seconds:
        terminalreporter.section("groups that took longest")
        terminalreporter.write("\n".join(schedule.summary()) + "\n")
