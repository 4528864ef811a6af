"""How the program starts: Ctrl-C while it does is one line and the exit code of a shell, wherever it comes."""

from __future__ import annotations

import signal
import subprocess
import sys

import pytest

INTERRUPTED = """
import os, signal, sys
wanted = sys.argv[1]

class Interrupt:
    '''Presses Ctrl-C when a module is looked for.'''
    def find_spec(self, name, path=None, target=None):
        if name == wanted:
            os.kill(os.getpid(), signal.SIGINT)

sys.meta_path.insert(0, Interrupt())
from boxcam.__main__ import main
assert not {"click", "numpy"} & set(sys.modules)
if len(sys.argv) > 2:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
sys.argv[1:] = ["--version"]
main()
"""


@pytest.mark.parametrize(
    "module", ["boxcam.cli", "click", "boxcam.commands.explain", "numpy", "boxcam.runtime.sessions"]
)
def test_ctrl_c_while_it_starts_is_one_line(module: str) -> None:
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, module], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "boxcam: interrupted\n")


@pytest.mark.parametrize("arguments", [["none"], ["numpy", "ignored"]])
def test_otherwise_it_runs_and_ctrl_c_is_what_it_was(arguments: list[str]) -> None:
    """A shell starts what runs in its background with Ctrl-C ignored."""
    done = subprocess.run([sys.executable, "-c", INTERRUPTED, *arguments], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("boxcam, version")


def test_the_handler_is_pythons_own_when_commands_run() -> None:
    code = """
import signal, click, boxcam.cli
from boxcam.__main__ import main
boxcam.cli.main = lambda **options: print(signal.getsignal(signal.SIGINT) is signal.default_int_handler)
main()
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "True\n", "")
    assert signal.SIGINT + 128 == 130


def test_it_runs_as_a_module_of_python() -> None:
    done = subprocess.run([sys.executable, "-m", "boxcam", "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stdout.startswith("Usage: boxcam ")
