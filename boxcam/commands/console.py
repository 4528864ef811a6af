"""What the commands print: lines on the terminal, the progress of a run, errors."""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable, Iterator

import click

from boxcam.commands.flags import flags_of, with_flags
from boxcam.errors import BoxcamError

ARGUMENTS = "boxcam.arguments"
"""Where the root context keeps what the user typed."""


def say(text: str, err: bool = False, nl: bool = True) -> None:
    """Print, whatever the terminal can show: other characters, as of file names that are not UTF-8, are escaped."""
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    click.echo(text.encode(encoding, "backslashreplace").decode(encoding), err=err, nl=nl)


def error_line(error: BoxcamError) -> str:
    """One line, whatever the message was made of."""
    return f"boxcam: {message_line(str(error))}"


def message_line(message: str) -> str:
    """A message of the library as one line, with the flags of the running command line for names of parameters."""
    line, root = " ".join(message.splitlines()), click.get_current_context().find_root()
    return with_flags(line, flags_of(root.command), root.meta.get(ARGUMENTS, ()))


def report_steps(quiet: bool) -> Callable[[str], None]:
    """Report the steps of an export on a terminal, with the time that has passed."""
    shown = not quiet and sys.stderr.isatty()
    began = time.monotonic()

    def step(text: str) -> None:
        if shown:
            say(f"[{time.monotonic() - began:5.1f} s] {text}", err=True)

    return step


@contextlib.contextmanager
def progress_line(text: str, quiet: bool) -> Iterator[Callable[[int, int], None]]:
    """A line on a terminal that counts boxes, and is gone when the block ends."""
    shown = not quiet and sys.stderr.isatty()

    def show(line: str) -> None:
        if shown:
            say(f"\r\x1b[K{line}", err=True, nl=False)

    show(text)
    try:
        yield lambda done, total: show(f"{text}: box {done} of {total}")
    finally:
        show("")
