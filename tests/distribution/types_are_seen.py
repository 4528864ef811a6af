"""What type checkers say of programs that use boxcam:  ``python types_are_seen.py PYTHON``, where the programs lie.

Mypy and pyright find nothing in typed_use.py, and in typed_misuse.py every planted mistake and nothing else. PYTHON is
the interpreter of the environment that boxcam is installed in.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

TOOLS = Path(sys.executable).parent
USE, MISUSE = "typed_use.py", "typed_misuse.py"


def run(*command: str | Path) -> str:
    """What a checker prints, whether it finds something or not."""
    environment = {**os.environ, "PATH": f"{TOOLS}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False, env=environment)
    assert done.returncode in (0, 1), done.stdout + done.stderr
    return done.stdout


def by_mypy(file: str, python: str) -> dict[int, str]:
    """Its errors, by line."""
    said = run(TOOLS / "mypy", "--strict", "--no-incremental", "--python-executable", python, file)
    assert re.search(r"in 1 source file|checked 1 source file", said), said
    return {int(n): text for n, text in re.findall(r"^[\w.]+:(\d+): error: (.*)$", said, re.MULTILINE)}


def by_pyright(file: str, python: str) -> dict[int, str]:
    """Its errors, by line."""
    said = json.loads(run(TOOLS / "pyright", "--outputjson", "--pythonpath", python, file))
    assert said["summary"]["filesAnalyzed"] == 1, said
    errors = [one for one in said["generalDiagnostics"] if one["severity"] == "error"]
    return {one["range"]["start"]["line"] + 1: one["message"] for one in errors}


def main(python: str) -> None:
    lines = Path(MISUSE).read_text(encoding="utf-8").splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}
    for checker in (by_mypy, by_pyright):
        assert checker(USE, python) == {}, checker(USE, python)
        found = checker(MISUSE, python)
        assert found.keys() == wrong, f"{checker.__name__}, lines {sorted(found.keys() ^ wrong)} of {MISUSE}: {found}"
        sys.stdout.write(f"{checker.__name__}: nothing in {USE}, and the {len(wrong)} mistakes of {MISUSE}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
