"""The process that works on the cases of one kind."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import shutil
import sys
import tempfile
import time
import traceback
import warnings
from pathlib import Path
from typing import Any

from boxcam.errors import BoxcamError
from tests.fuzz.kinds import KINDS

MEMORY = 8 << 30
"""Bytes that a process may ask for."""
KEPT = Path(".build/fuzz").resolve()
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_CHANGES = {
    "os.remove": 0,
    "os.rename": 1,
    "os.rmdir": 0,
    "os.mkdir": 0,
    "os.link": 1,
    "os.symlink": 1,
}
"""Of each event, which of its arguments is changed; the last tells that it is not relative to an open folder, by -1."""
_NEVER = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.posix_spawn", "socket.connect")


class Guard:
    """What a case may touch: watched where Python does it."""

    def __init__(self) -> None:
        self.allowed: tuple[str, ...] = ()
        self.broken: list[str] = []
        sys.addaudithook(self._hear)

    def _hear(self, event: str, given: tuple[Any, ...]) -> None:
        if not self.allowed:
            return
        if event in _NEVER:
            self.broken.append(f"{event} {given[:2]}")
        elif event == "open" and isinstance(given[0], str | bytes) and given[2] & _WRITING:
            self._check(event, given[0])
        elif event in _CHANGES and isinstance(given[_CHANGES[event]], str | bytes) and given[-1] == -1:
            self._check(event, given[_CHANGES[event]])

    def _check(self, event: str, path: str | bytes) -> None:
        place = os.path.abspath(os.fsdecode(path))
        if place != os.devnull and not place.startswith(self.allowed) and not place.endswith(".pyc"):
            self.broken.append(f"{event} {place}")


def main() -> None:
    """Make and use the cases ``first`` to ``last``; tell of each on standard output."""
    kind, seed, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
    until = time.monotonic() + float(os.environ.get("FUZZ_SECONDS", "600"))
    said = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    warnings.simplefilter("ignore")
    making = KINDS[kind]()
    resource.setrlimit(resource.RLIMIT_DATA, (MEMORY, resource.RLIM_INFINITY))
    guard = Guard()
    with tempfile.TemporaryDirectory(prefix="boxcam-fuzz-") as place:
        tempfile.tempdir = place
        os.environ["TMPDIR"] = place
        outside = Path(place, "canary")
        outside.write_text("canary")
        number = first
        for number in range(first, last):
            if time.monotonic() > until:
                break
            said.write(f"case {number}\n")
            folder = Path(place, "case")
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            rng = random.Random(f"{kind} {seed} {number}")
            making.make(rng, folder)
            wrong = ""
            guard.allowed, guard.broken = (f"{place}/",), []
            try:
                making.use(rng, folder)
            except BoxcamError as error:
                if not str(error).strip() or len(str(error)) > 3000:
                    wrong = f"an error of {len(str(error))} letters"
            except (Exception, SystemExit) as error:  # noqa: BLE001 - it is what is looked for
                last_place = traceback.extract_tb(error.__traceback__)[-1]
                ours = [frame for frame in traceback.extract_tb(error.__traceback__) if "/boxcam/" in frame.filename]
                where = ours[-1] if ours else last_place
                wrong = f"{type(error).__name__} at {where.filename}:{where.lineno}: {str(error)[:150]!r}"
            guard.allowed = ()
            if guard.broken or outside.read_text() != "canary":
                wrong = f"touched {guard.broken[:3]}"
            if wrong:
                said.write(f"wrong {wrong}\n".replace("\n", " ") + "\n")
                with contextlib.suppress(OSError):
                    shutil.copytree(folder, KEPT / f"{kind}-{seed}-{number}", dirs_exist_ok=True, symlinks=True)
        else:
            number = last
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    said.write(f"done {number} {peak}\n")
    said.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
