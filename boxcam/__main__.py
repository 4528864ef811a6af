"""The program ``boxcam``: from its first import on, Ctrl-C is answered by one line and exit code 130.

Importing the commands takes half a second, in which Python would answer by a traceback. Nothing is at work then, so the
process may end at once; from then on the commands see to what they have begun.
"""

from __future__ import annotations

import os
import signal
from types import FrameType


def main() -> None:
    """Run the command line."""
    _open_what_is_closed()
    usual = signal.getsignal(signal.SIGINT)
    if usual is signal.default_int_handler:  # and not ignored, as in the background of a shell
        signal.signal(signal.SIGINT, _end)
    from boxcam.cli import main as run

    signal.signal(signal.SIGINT, usual)
    run(prog_name="boxcam")


def _open_what_is_closed() -> None:
    """Give closed standard streams a place that takes all: their numbers would go to the first files that are opened.

    What native code says to standard error would be written into these.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest number that is free


def _end(number: int, frame: FrameType | None) -> None:
    os.write(2, b"boxcam: interrupted\n")
    os._exit(128 + number)


if __name__ == "__main__":
    main()
