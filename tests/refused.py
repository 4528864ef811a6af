"""What is refused: one clear line, exit code 1, and nothing half-written."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

from tests.messages import check_message

Cli = Callable[..., Result]


def everything(folder: Path) -> dict[str, bytes | None]:
    """All files and folders below a folder, with what the files hold."""
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in folder.rglob("*")}


def refused(done: Result, capfd: pytest.CaptureFixture[str]) -> str:
    """The message, after checking that it is one line, that it is all there is, and that nothing broke."""
    assert isinstance(done.exception, SystemExit), done.exception
    assert (done.exit_code, done.stdout) == (1, "")
    assert tuple(capfd.readouterr()) == ("", "")  # nor did a library write past Python's streams
    assert re.fullmatch(r"boxcam: [^\n\r\x1b]{20,900}\n", done.stderr), done.stderr
    assert "Traceback" not in done.stderr
    return check_message(done.stderr)
