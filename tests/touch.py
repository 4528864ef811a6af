"""An object that tells when it was unpickled."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any


class Touch:
    """Makes a file when it is unpickled by anything that trusts it."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self) -> Any:
        return os.system, (f"touch '{self.file}'",)
