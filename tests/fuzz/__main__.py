"""Feed boxcam with broken files: ``make fuzz``, or ``python -m tests.fuzz --seconds 3600``.

Each kind of file has a process of its own, which makes one case after the other from the seeds beside this file. A case
is wrong if boxcam raises anything but its own errors, takes longer than ten seconds, more memory than it may, or writes
or removes a file outside of its folder, starts a process or opens a connection. What was wrong is kept in
``.build/fuzz/KIND-SEED-NUMBER``; ``--only NUMBER`` runs that case again.
"""

from __future__ import annotations

import argparse
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Iterable
from pathlib import Path

from tests.fuzz.kinds import KINDS
from tests.fuzz.shares import Shares

PATIENCE, START, BUSY = 10.0, 120.0, 12
"""Seconds for a case, and for a process to begin; how many times as long a process may take that gets no processor."""
KEPT = Path(".build/fuzz")


class Worker:
    """A process that works on the cases of one kind, and is begun anew after one that it did not survive."""

    def __init__(self, kind: str, seed: int) -> None:
        self.kind, self.seed, self.number, self.wrong = kind, seed, 0, 0
        self.peak = 0

    def run(self, until: float, most: int, only: int | None = None) -> None:
        """Work until a time is over, or so many cases are done."""
        while time.monotonic() < until and self.number < most:
            first = self.number if only is None else only
            last = most if only is None else only + 1
            command = [sys.executable, "-m", "tests.fuzz.worker", self.kind, str(self.seed), str(first), str(last)]
            seconds = max(until - time.monotonic(), 1)
            environment = {**os.environ, "OMP_NUM_THREADS": "1", "FUZZ_SECONDS": str(seconds)}
            with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
                self._watch(process)
            if only is not None:
                return
            if process.returncode == 0:
                break
            self.wrong += 1
            print(f"{self.kind} {self.seed} {self.number}: the process ended with {process.returncode}", flush=True)  # noqa: T201
            self.number += 1

    def _watch(self, process: subprocess.Popen[str]) -> None:
        lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        threading.Thread(target=_read, args=(process.stdout, lines), daemon=True).start()
        patience, worked = START, 0.0
        while True:
            line = _next(lines, process.pid, worked, patience)
            if line is None:
                print(f"{self.kind} {self.seed} {self.number}: no end after {patience:g} s", flush=True)  # noqa: T201
                process.kill()
                return
            patience, worked = PATIENCE, _worked(process.pid)
            if not line:
                return
            word, _, rest = line.strip().partition(" ")
            if word == "case":
                self.number = int(rest)
            elif word == "done":
                number, peak = rest.split()
                self.number, self.peak = int(number), int(peak)
            else:
                self.wrong += word == "wrong"
                print(f"{self.kind} {self.seed} {self.number}: {rest}", flush=True)  # noqa: T201


def _next(lines: queue.SimpleQueue[str], pid: int, worked: float, patience: float) -> str | None:
    """The next line; None if a process has worked so long without one, or waited much longer: a machine may be busy."""
    until = time.monotonic() + BUSY * patience
    while True:
        try:
            return lines.get(timeout=patience)
        except queue.Empty:
            if _worked(pid) - worked >= 0.9 * patience or time.monotonic() >= until:
                return None


def _worked(pid: int) -> float:
    """Seconds of the processor that a process has had; the time of day where the system does not tell."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return time.monotonic()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _read(stream: Iterable[str], lines: queue.SimpleQueue[str]) -> None:
    """Hand on the lines of a stream, and an empty one at its end."""
    for line in stream:
        lines.put(line)
    lines.put("")


def main() -> int:
    """Run all kinds, a share of the time for each."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz")
    parser.add_argument("--seconds", type=float, default=150, help="in all")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="kinds at once; one a core by default")
    parser.add_argument("--kinds", default=",".join(KINDS), help=f"some of: {', '.join(KINDS)}")
    parser.add_argument("--seed", type=int, default=int(time.time()), help="of the cases; the time by default")
    parser.add_argument("--cases", type=int, default=1 << 40, help="most of each kind")
    parser.add_argument("--only", type=int, help="the number of one case to run again")
    given = parser.parse_args()
    KEPT.mkdir(parents=True, exist_ok=True)
    workers = [Worker(kind, given.seed) for kind in given.kinds.split(",")]
    shares, done = Shares(workers, given.seconds, given.jobs), []

    def work() -> None:
        for worker, until in shares:
            began = time.monotonic()
            worker.run(until, given.cases, given.only)
            took = time.monotonic() - began
            print(  # noqa: T201
                f"{worker.kind}: {worker.number} cases in {took:.0f} s, {worker.wrong} wrong, at most {worker.peak} MiB"
                f" (seed {given.seed})",
                flush=True,
            )
            done.append(worker)

    threads = [threading.Thread(target=work, daemon=True) for _ in range(given.jobs)]  # which end with this process
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return 1 if len(done) < len(workers) or any(worker.wrong for worker in workers) else 0


if __name__ == "__main__":
    sys.exit(main())
