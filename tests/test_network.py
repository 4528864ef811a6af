"""boxcam opens no connection: in Python none is tried, and no library below needs one.

An export and its explanation run where there is no network: in a namespace of their own, if the system lets them. An
attempt of Python's to connect, or to ask for an address, ends them anywhere.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import onnx
import pytest

from tests.hostile.made import PICTURE, model

_USER, _NETWORK = 0x10000000, 0x40000000
_LEAVE = f"ctypes.CDLL(None).unshare({_USER | _NETWORK})"  # no interface is up in there
CODE = f"""
import ctypes, socket, sys
if sys.argv[1] == "apart":
    assert {_LEAVE} == 0
    try:
        socket.create_connection(("127.0.0.1", 9), timeout=1)
    except OSError as error:
        assert error.errno == 101, error  # the network is unreachable: it would be refused otherwise
asked = []
def hear(event, given):
    if event.startswith(("socket.connect", "socket.getaddrinfo", "socket.gethostby", "socket.sendto")):
        asked.append(event)
        raise OSError("there is no network")
sys.addaudithook(hear)
import boxcam
boxcam.export(sys.argv[2], output=sys.argv[3], preprocess="imagenet", engine="onnx")
for method in ("gradcam", "hirescam"):
    boxcam.load(sys.argv[3], threads=1).explain(sys.argv[4], method=method).save(sys.argv[5], method)
assert not asked, asked
"""


def leaves() -> bool:
    """Whether the system lets a process leave the network."""
    code = f"import ctypes, sys; sys.exit({_LEAVE} != 0)"
    return sys.platform == "linux" and subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("where", ["here", "apart"])
def test_export_and_explain_need_no_network(where: str, tmp_path: Path) -> None:
    if where == "apart" and not leaves():
        pytest.skip("this system lets no process leave the network")
    onnx.save(model(), str(tmp_path / "m.onnx"))
    given = (where, tmp_path / "m.onnx", tmp_path / "b", PICTURE, tmp_path / "out")
    command = [sys.executable, "-W", "ignore", "-c", CODE, *map(str, given)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "out").glob("*.json")} == {"gradcam.json", "hirescam.json"}
