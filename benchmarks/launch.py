"""Run a command and print, as JSON, its seconds to the first picture and to its end, and its peak memory.

A process of its own, without any import that is not needed: a process that is started inherits the peak memory of the
one that starts it, so that one has to be small.

    python launch.py FOLDER COMMAND ...     the pictures are what appears as *.png in FOLDER
"""

from __future__ import annotations

import json
import os
import sys
import time

_EVERY = 0.002  # seconds between two looks


def main(folder: str, command: list[str]) -> None:
    start = time.perf_counter()
    silent = os.open(os.devnull, os.O_WRONLY)
    process = os.posix_spawnp(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, silent, 1)])
    first = 0.0
    while True:
        ended, status, usage = os.wait4(process, os.WNOHANG)
        now = time.perf_counter() - start
        if not first and os.path.isdir(folder) and any(entry.name.endswith(".png") for entry in os.scandir(folder)):
            first = now
        if ended:
            break
        time.sleep(_EVERY)
    code = os.waitstatus_to_exitcode(status)
    print(json.dumps({"code": code, "first": first, "total": now, "peak": usage.ru_maxrss / 1024}))


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
