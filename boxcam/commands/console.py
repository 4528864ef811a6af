"""What the commands print: lines on the terminal, and errors."""

from __future__ import annotations

import codecs
import contextlib
import json
import os
import re
import sys
from typing import Any

import click

from boxcam.commands.flags import flags_of, with_flags
from boxcam.errors import BoxcamError, OutputError

ARGUMENTS = "boxcam.arguments"
"""Where the root context keeps what the user typed."""


_CONTROL = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""What makes a terminal do something: control characters, ends of lines among them, and turns of the writing direction.

A line feed and a tab are in what boxcam prints itself; `one_line` is for what comes from elsewhere."""


def say(text: str, err: bool = False, nl: bool = True) -> None:
    """Print, whatever the terminal can show, and nothing that it would obey.

    Other characters, as of file names that are not UTF-8, and control characters are escaped, as JSON does it.
    """
    put(_CONTROL.sub(lambda found: f"\\u{ord(found[0]):04x}", text), err, nl)


def one_line(text: str) -> str:
    """Words from elsewhere, such as a class name, without ends of lines."""
    return text.replace("\n", "\\n").replace("\t", "\\t")


def put(text: str, err: bool, nl: bool) -> None:
    """Print as it is, boxcam's own control characters too; what the terminal's encoding lacks is escaped as in JSON.

    Raises:
        OutputError: standard output cannot be written, as on a full disk. Of standard error nobody could be told.
    """
    encoding = getattr(sys.stderr if err else sys.stdout, "encoding", None) or "utf-8"
    try:
        click.echo(text.encode(encoding, _JSON).decode(encoding), err=err, nl=nl)
    except BrokenPipeError:  # who reads it has had enough
        raise
    except OSError as error:
        forget_output(err)
        if not err:
            raise OutputError(
                f"standard output cannot be written: {error.strerror or error}. Send it somewhere else."
            ) from error


def is_terminal() -> bool:
    """Whether standard error is a terminal; it may be closed."""
    return sys.stderr is not None and sys.stderr.isatty()


def forget_output(err: bool = False) -> None:
    """Let go of what an output that cannot be written still holds: Python would try again at its end, and fail."""
    stream: Any = sys.stderr if err else sys.stdout
    with contextlib.suppress(OSError, ValueError, AttributeError):
        stream.flush()
        return
    with contextlib.suppress(OSError, ValueError, AttributeError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _escaped(error: UnicodeError) -> tuple[str, int]:
    """Characters as JSON writes them in ASCII."""
    assert isinstance(error, UnicodeEncodeError)
    return json.dumps(error.object[error.start : error.end])[1:-1], error.end


_JSON = "boxcam.json"
codecs.register_error(_JSON, _escaped)


def error_line(error: BoxcamError) -> str:
    """One line, whatever the message was made of."""
    return f"boxcam: {message_line(str(error))}"


def message_line(message: str) -> str:
    """A message of the library as one line, with the flags of the running command line for names of parameters."""
    line, root = " ".join(message.splitlines()), click.get_current_context().find_root()
    return with_flags(line, flags_of(root.command), root.meta.get(ARGUMENTS, ()))
