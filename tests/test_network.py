"""boxcam opens no connection: neither Python's sockets, nor those of the libraries below, which the system refuses."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.hostile.made import model

_NAMESPACES = 0x10000000 | 0x40000000  # CLONE_NEWUSER, CLONE_NEWNET: a network of one's own, that has no interface up


def _may_leave() -> bool:
    """Whether the system lets a process leave the network."""
    code = f"import ctypes, sys; sys.exit(ctypes.CDLL(None).unshare({_NAMESPACES}) != 0)"
    return subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
