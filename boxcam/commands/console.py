"""What the commands print: lines on the terminal, and errors."""

from __future__ import annotations

import sys

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
