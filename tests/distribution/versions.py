"""Print the versions of Python that pyproject.toml says boxcam runs on, one a line."""

from __future__ import annotations

import re
import sys
import tomllib
from pathlib import Path


def versions(pyproject: Path = Path("pyproject.toml")) -> list[str]:
    """Those of the classifiers, such as ``3.11``."""
    classifiers = tomllib.loads(pyproject.read_text(encoding="utf-8"))["project"]["classifiers"]
    return [found[1] for c in classifiers if (found := re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", c))]


if __name__ == "__main__":
    sys.stdout.write("".join(f"{version}\n" for version in versions()))
